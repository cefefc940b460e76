"""The members of zip and tar archives, found without extracting them: where each one's bytes lie in the archive.

A zip's list is read entry by entry and a tar's headers one after the other, so that memory does not grow with their
number. A compressed tar has no places in it: its pictures are copied, one after the other, into one file in the
preparation's own directory; no name of the archive ever becomes a name on the disk.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO, Self

from vaegan.data.preprocess.file_reader import MAX_BYTES
from vaegan.data.preprocess.records import Found, Place
from vaegan.data.preprocess.skip_reasons import ARCHIVE, TOO_LARGE, UNREADABLE, UNSAFE
from vaegan.errors import VaeganError, reason

ZIP_SUFFIXES = (".zip", ".cbz")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".cbt")
SUFFIXES = ZIP_SUFFIXES + TAR_SUFFIXES
_END = struct.Struct("<4s4H2IH")
_END64_AT = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_METHODS = (0, 8, 12)
_ABOUT = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Types of headers that tell of the member after them."""
MAX_ABOUT = 2**20
_FAULTS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, OverflowError)


def is_archive(path: Path) -> bool:
    """Say whether a file that was given as a source is an archive, by its content or its name."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head[257:262] == b"ustar"


def members(path: Path, stamp: str, unpack: Callable[[Path], Path]) -> Iterator[Found]:
    """Yield the members of an archive but for folders and hidden ones; a nameless one tells what is wrong with it.

    unpack: where the pictures of a compressed tar may be laid out. Raises VaeganError for a missing extra.
    """
    whole = Place(str(path))
    try:
        with path.open("rb") as file:
            head = file.read(6)
            kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
            if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or path.name.lower().endswith(ZIP_SUFFIXES):
                yield from _zip(file, path, stamp)
            elif kind is None:
                yield from _tar(file, path, stamp)
            else:
                yield from _packed_tar(file, kind, stamp, unpack(path))
    except OSError as error:
        # gzip and bz2 say OSError of damaged data, without a number of the system's
        yield Found("", whole, stamp, UNREADABLE if error.errno else ARCHIVE, reason(error))
    except _FAULTS as error:
        yield Found("", whole, stamp, ARCHIVE, reason(error))


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in name.split("/"))


def _unsafe(name: str) -> str | None:
    """Why a member's name cannot be trusted, or None. Nothing is written under it; it would mislead all the same."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        return "an absolute path"
    if ".." in PurePosixPath(name).parts or ".." in windows.parts:
        return "a path that leads out of the archive"
    return "a name with a NUL" if "\0" in name else None


def _found(name: str, place: Place, stamp: str, refusal: tuple[str, str] | None = None) -> Found:
    unsafe = _unsafe(name)
    name = name.removeprefix("./")
    if unsafe is not None:
        return Found(name, place, stamp, UNSAFE, unsafe)
    return Found(name, place, stamp, *refusal) if refusal else Found(name, place, stamp)


def _zip(file: BinaryIO, path: Path, stamp: str) -> Iterator[Found]:
    """Walk the central directory (PKWARE's APPNOTE, 4.3.12), with the 64-bit fields where they are used."""
    start, count, shift = _directory(file)
    at = start
    for _ in range(count):
        file.seek(at)
        fixed = file.read(_ENTRY.size)
        if len(fixed) < _ENTRY.size or fixed[:4] != b"PK\x01\x02":
            raise ValueError("the archive's list is damaged")
        entry = _ENTRY.unpack(fixed)
        flags, method, crc, stored, size = entry[3], entry[4], entry[7], entry[8], entry[9]
        raw, extra = file.read(entry[10]), file.read(entry[11])
        at += _ENTRY.size + entry[10] + entry[11] + entry[12]
        stored, size, offset = _long(extra, size, stored, entry[16])
        name = _decoded(raw)
        if name.endswith("/") or _hidden(name):
            continue
        refusal = None
        if (entry[1] >> 8) == 3 and (entry[15] >> 16) & 0o170000 not in (0, 0o100000):
            refusal = (UNREADABLE, "no regular file")
        elif flags & 1:
            refusal = (UNREADABLE, "encrypted")
        elif method not in _METHODS:
            refusal = (UNREADABLE, f"compression method {method}")
        yield _found(name, Place(str(path), offset + shift, stored, method, size, crc), f"{stamp}:{crc}", refusal)


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where a zip's list starts, how many entries it has, and how far all is shifted by what stands before the zip."""
    length = file.seek(0, os.SEEK_END)
    tail_at = max(0, length - 65_557)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise ValueError("not a whole zip: its list is missing")
    *_, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_at + at
    if end >= _END64_AT.size:
        file.seek(end - _END64_AT.size)
        magic, _, at64, _ = _END64_AT.unpack(file.read(_END64_AT.size))
        if magic == b"PK\x06\x07":
            file.seek(at64)
            record = _END64.unpack(file.read(_END64.size))
            count, size, offset = record[7], record[8], record[9]
            end = at64
    shift = end - size - offset
    if shift < 0 or count * _ENTRY.size > size:
        raise ValueError("not a whole zip: its list does not fit")
    return offset + shift, count, shift


def _decoded(raw: bytes) -> str:
    """A member's name: UTF-8 where it can be (many tools forget to say so), else the zip's own code page 437."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("cp437")
    return name.replace("\\", "/")


def _long(extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
    """Stored bytes, size and offset, from the extra field of entries beyond 4 GiB."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            size = next(values, size) if size == 0xFFFFFFFF else size
            stored = next(values, stored) if stored == 0xFFFFFFFF else stored
            offset = next(values, offset) if offset == 0xFFFFFFFF else offset
        at += 4 + length
    return stored, size, offset


Entry = tuple[tarfile.TarInfo, tuple[str, str] | None]


def _entries(tar: tarfile.TarFile) -> Iterator[Entry]:
    """The files of a tar one after the other, none of them remembered; what is no plain file with its reason."""
    for entry in tar:
        tar.members = []  # type: ignore[attr-defined]
        if not entry.isdir() and not _hidden(entry.name):
            yield entry, None if entry.isreg() and not entry.issparse() else (UNREADABLE, "no regular file")


class _Entry(tarfile.TarInfo):
    """A member whose name is of a sane length: tarfile reads what a header says of names into memory, however long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header. Raises tarfile.ReadError."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _ABOUT and entry.size > MAX_ABOUT:
            raise tarfile.ReadError(f"{entry.size:,} bytes about one member's name")
        return entry


def _tar(file: BinaryIO, path: Path, stamp: str) -> Iterator[Found]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_Entry) as tar:
        for entry, refusal in _entries(tar):
            place = Place(str(path), entry.offset_data, entry.size)
            yield _found(entry.name, place, f"{stamp}:{entry.size}", refusal)


def _packed_tar(file: BinaryIO, kind: str, stamp: str, spool: Path) -> Iterator[Found]:
    """Copy what may be pictures into `spool`, and say where in it they lie."""
    with (
        spool.open("wb") as out,
        _unpacked(file, kind) as plain,
        tarfile.open(fileobj=plain, mode="r|", tarinfo=_Entry) as tar,
    ):
        for entry, refusal in _entries(tar):
            at = out.tell()
            if refusal is None and _unsafe(entry.name) is None:
                if entry.size > MAX_BYTES:
                    refusal = (TOO_LARGE, f"a member of {entry.size:,} bytes")
                else:
                    member = tar.extractfile(entry)
                    shutil.copyfileobj(member or io.BytesIO(), out)
                    if out.tell() - at != entry.size:
                        raise EOFError("cut short")
            yield _found(entry.name, Place(str(spool), at, entry.size), f"{stamp}:{entry.size}", refusal)


@contextlib.contextmanager
def _unpacked(file: BinaryIO, kind: str) -> Iterator[IO[bytes]]:
    file.seek(0)
    if kind == "zst":
        try:
            import zstandard
        except ImportError:
            raise VaeganError(f"{getattr(file, 'name', 'a .zst')} needs zstandard: pip install 'vaegan[zst]'") from None
        try:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
                yield stream
        except zstandard.ZstdError as error:
            raise EOFError(str(error)) from error
        return
    openers: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    with openers[kind](file, "rb") as plain:
        yield plain
