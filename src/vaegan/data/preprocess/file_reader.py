"""Reading the bytes of one picture, from a file, a stretch of a tar or a member of a zip, and hashing them."""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vaegan.data.preprocess.records import FileLocation
from vaegan.data.preprocess.skip_reasons import BROKEN_ARCHIVE, CHANGED_WHILE_READ, TOO_LARGE, UNREADABLE

MAX_FILE_BYTES = 2**30
MAX_IN_MEMORY_BYTES = 2**26
MAX_READ_ATTEMPTS = 3
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class SkipFile(Exception):
    """A file that cannot be part of the set; carries the reason for the manifest and what exactly was wrong."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep both."""
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def size_and_mtime(stat_result: os.stat_result) -> str:
    """What changes when a file's bytes do: its length and the time of its last change."""
    return f"{stat_result.st_size}:{stat_result.st_mtime_ns}"


@contextlib.contextmanager
def open_hashed(location: FileLocation) -> Iterator[tuple[BinaryIO, str, str]]:
    """Yield (bytes as a seekable file, their SHA-256, stamp). Raises Skipped, or OSError from the system.

    Small files are read at once, so that what is hashed is what is decoded. Raises Skipped when a file's bytes were
    changed by others at every one of a few tries.
    """
    path = Path(location.path)
    if not path.is_file():  # a pipe would be waited for without end
        raise SkipFile(UNREADABLE, _describe_non_file(path))
    if location.stored_length >= 0:
        content = _read_member(path, location)
        yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), ""
        return
    for _ in range(MAX_READ_ATTEMPTS):
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            stamp = size_and_mtime(status)
            if status.st_size > MAX_FILE_BYTES:
                raise SkipFile(TOO_LARGE, f"a file of {status.st_size:,} bytes")
            if status.st_size > MAX_IN_MEMORY_BYTES:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                yield io.BufferedReader(file), digest, stamp
                if size_and_mtime(os.fstat(file.fileno())) != stamp:
                    raise SkipFile(CHANGED_WHILE_READ)
                return
            content = file.read(status.st_size + 1)
            if len(content) == status.st_size and size_and_mtime(os.fstat(file.fileno())) == stamp:
                yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), stamp
                return
    raise SkipFile(CHANGED_WHILE_READ)


def _describe_non_file(path: Path) -> str:
    """Why a path is no file to read. Raises the system's own words where there is nothing."""
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return "a folder now" if stat.S_ISDIR(path.stat().st_mode) else "no regular file"


def _read_member(path: Path, location: FileLocation) -> bytes:
    """The bytes of a member of an archive. Raises Skipped when the archive does not hold what it says."""
    if max(location.uncompressed_size, location.stored_length) > MAX_FILE_BYTES:
        raise SkipFile(TOO_LARGE, f"a member of {max(location.uncompressed_size, location.stored_length):,} bytes")
    with path.open("rb") as file:
        file.seek(location.offset)
        if location.zip_method >= 0:
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
                raise SkipFile(BROKEN_ARCHIVE, "no member where the archive's list says")
            *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            file.seek(name_length + extra_length, os.SEEK_CUR)
        stored = file.read(location.stored_length)
    if len(stored) != location.stored_length:
        raise SkipFile(BROKEN_ARCHIVE, "cut short")
    return stored if location.zip_method < 0 else _decompress_member(stored, location)


def _decompress_member(compressed: bytes, location: FileLocation) -> bytes:
    """Decompress a zip's member, never beyond the size that it declares."""
    try:
        if location.zip_method == 0:
            content = compressed
        elif location.zip_method == 8:
            content = zlib.decompressobj(-15).decompress(compressed, location.uncompressed_size + 1)
        else:
            content = bz2.BZ2Decompressor().decompress(compressed, location.uncompressed_size + 1)
    except (zlib.error, OSError) as error:
        raise SkipFile(BROKEN_ARCHIVE, f"a damaged member ({error})") from error
    if len(content) != location.uncompressed_size or zlib.crc32(content) != location.crc32:
        raise SkipFile(BROKEN_ARCHIVE, "a member that does not match its checksum")
    return content
