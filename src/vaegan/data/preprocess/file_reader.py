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

from vaegan.data.preprocess.records import Place
from vaegan.data.preprocess.skip_reasons import ARCHIVE, CHANGED, TOO_LARGE, UNREADABLE

MAX_BYTES = 2**30
IN_MEMORY = 2**26
TRIES = 3
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class Skipped(Exception):
    """A file that cannot be part of the set; carries the reason for the manifest and what exactly was wrong."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep both."""
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def stamp_of(status: os.stat_result) -> str:
    """What changes when a file's bytes do: its length and the time of its last change."""
    return f"{status.st_size}:{status.st_mtime_ns}"


@contextlib.contextmanager
def opened(place: Place) -> Iterator[tuple[BinaryIO, str, str]]:
    """Yield (bytes as a seekable file, their SHA-256, stamp). Raises Skipped, or OSError from the system.

    Small files are read at once, so that what is hashed is what is decoded. Raises Skipped when a file's bytes were
    changed by others at every one of a few tries.
    """
    path = Path(place.path)
    if not path.is_file():  # a pipe would be waited for without end
        raise Skipped(UNREADABLE, _what(path))
    if place.length >= 0:
        content = _member(path, place)
        yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), ""
        return
    for _ in range(TRIES):
        with path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            stamp = stamp_of(status)
            if status.st_size > MAX_BYTES:
                raise Skipped(TOO_LARGE, f"a file of {status.st_size:,} bytes")
            if status.st_size > IN_MEMORY:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                yield io.BufferedReader(file), digest, stamp
                if stamp_of(os.fstat(file.fileno())) != stamp:
                    raise Skipped(CHANGED)
                return
            content = file.read(status.st_size + 1)
            if len(content) == status.st_size and stamp_of(os.fstat(file.fileno())) == stamp:
                yield io.BytesIO(content), hashlib.sha256(content).hexdigest(), stamp
                return
    raise Skipped(CHANGED)


def _what(path: Path) -> str:
    """Why a path is no file to read. Raises the system's own words where there is nothing."""
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return "a folder now" if stat.S_ISDIR(path.stat().st_mode) else "no regular file"


def _member(path: Path, place: Place) -> bytes:
    """The bytes of a member of an archive. Raises Skipped when the archive does not hold what it says."""
    if max(place.size, place.length) > MAX_BYTES:
        raise Skipped(TOO_LARGE, f"a member of {max(place.size, place.length):,} bytes")
    with path.open("rb") as file:
        file.seek(place.offset)
        if place.method >= 0:
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
                raise Skipped(ARCHIVE, "no member where the archive's list says")
            *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
            file.seek(name_length + extra_length, os.SEEK_CUR)
        stored = file.read(place.length)
    if len(stored) != place.length:
        raise Skipped(ARCHIVE, "cut short")
    return stored if place.method < 0 else _inflated(stored, place)


def _inflated(stored: bytes, place: Place) -> bytes:
    """Decompress a zip's member, never beyond the size that it declares."""
    try:
        if place.method == 0:
            content = stored
        elif place.method == 8:
            content = zlib.decompressobj(-15).decompress(stored, place.size + 1)
        else:
            content = bz2.BZ2Decompressor().decompress(stored, place.size + 1)
    except (zlib.error, OSError) as error:
        raise Skipped(ARCHIVE, f"a damaged member ({error})") from error
    if len(content) != place.size or zlib.crc32(content) != place.crc:
        raise Skipped(ARCHIVE, "a member that does not match its checksum")
    return content
