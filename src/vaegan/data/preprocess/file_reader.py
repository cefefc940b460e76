"""Read and hash the bytes of one image: a whole file, a member of a tar, or a member of a zip."""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vaegan.data.preprocess.records import FileLocation
from vaegan.data.preprocess.skip_reasons import BROKEN_ARCHIVE, CHANGED_WHILE_READ, TOO_LARGE, SkipFile
from vaegan.utils.files import open_regular

MAX_FILE_BYTES = 2**30
MAX_MEMBER_BYTES = 2**28  # of an archive: members are read into memory
MAX_IN_MEMORY_BYTES = 2**26
MAX_READ_ATTEMPTS = 3
_ZIP_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def size_and_mtime(stat_result: os.stat_result) -> str:
    """Return a stamp that changes when a file's bytes do: its size and its modification time.

    Args:
        stat_result: what the operating system says about the file.

    Returns:
        the stamp.
    """
    return f"{stat_result.st_size}:{stat_result.st_mtime_ns}"


@contextlib.contextmanager
def open_hashed(location: FileLocation) -> Iterator[tuple[BinaryIO, str, str]]:
    """Open a file or an archive member, and hash it.

    Files of up to MAX_IN_MEMORY_BYTES are read at once, so that the hashed bytes are the decoded bytes.

    Args:
        location: where its bytes are.

    Yields:
        The bytes as a seekable file, their SHA-256, and the file's stamp ("" for a member of an archive).

    Raises:
        SkipFile: It is too large, the archive is broken, or another process keeps changing it.
        OSError: It is no regular file, or the operating system refuses.
    """
    path = Path(location.path)
    if location.stored_length >= 0:
        content = _read_member(path, location)
        yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), ""
        return

    for _ in range(MAX_READ_ATTEMPTS):
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            stamp = size_and_mtime(status)
            if status.st_size > MAX_FILE_BYTES:
                raise SkipFile(TOO_LARGE, f"a file of {status.st_size:,} bytes")
            if status.st_size > MAX_IN_MEMORY_BYTES:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                yield file, sha256, stamp
                if size_and_mtime(os.fstat(file.fileno())) != stamp:
                    raise SkipFile(CHANGED_WHILE_READ)
                return
            content = file.read(status.st_size + 1)
            if len(content) == status.st_size and size_and_mtime(os.fstat(file.fileno())) == stamp:
                yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), stamp
                return
    raise SkipFile(CHANGED_WHILE_READ)


def _read_member(path: Path, location: FileLocation) -> bytes:
    """Read a member of an archive, without the archive's list of members.

    zipfile cannot do this: it reads the whole list first, which would be read again for every member.
    """
    largest = max(location.uncompressed_size, location.stored_length)
    if largest > MAX_MEMBER_BYTES:
        raise SkipFile(TOO_LARGE, f"a member of {largest:,} bytes")
    with open_regular(path) as file:
        try:
            file.seek(location.offset)
        except (ValueError, OverflowError):  # a zip may declare any offset below 2**64
            raise SkipFile(BROKEN_ARCHIVE, "a member beyond the end of the archive") from None
        if location.zip_method >= 0:
            header = file.read(_ZIP_LOCAL_HEADER.size)
            if len(header) < _ZIP_LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise SkipFile(BROKEN_ARCHIVE, "no member where the archive's list says")
            *_, name_length, extra_length = _ZIP_LOCAL_HEADER.unpack(header)
            file.seek(name_length + extra_length, os.SEEK_CUR)
        stored = file.read(location.stored_length)
    if len(stored) != location.stored_length:
        raise SkipFile(BROKEN_ARCHIVE, "cut short")
    return stored if location.zip_method < 0 else _decompress_member(stored, location)


def _decompress_member(stored: bytes, location: FileLocation) -> bytes:
    """Decompress a member of a zip, at most one byte beyond its declared size: a zip bomb ends there."""
    max_length = location.uncompressed_size + 1
    try:
        if location.zip_method == zipfile.ZIP_STORED:
            content = stored
        elif location.zip_method == zipfile.ZIP_DEFLATED:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, max_length)
        else:
            content = bz2.BZ2Decompressor().decompress(stored, max_length)
    except (zlib.error, OSError) as error:
        raise SkipFile(BROKEN_ARCHIVE, f"a damaged member ({error})") from error
    if len(content) != location.uncompressed_size or zlib.crc32(content) != location.crc32:
        raise SkipFile(BROKEN_ARCHIVE, "a member that does not match its checksum")
    return content
