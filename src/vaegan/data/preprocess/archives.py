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

from vaegan.data.preprocess.file_reader import MAX_FILE_BYTES
from vaegan.data.preprocess.records import FileLocation, SourceFile
from vaegan.data.preprocess.skip_reasons import BROKEN_ARCHIVE, TOO_LARGE, UNREADABLE, UNSAFE_NAME
from vaegan.errors import VaeganError, error_text

ZIP_SUFFIXES = (".zip", ".cbz")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".cbt")
ARCHIVE_SUFFIXES = ZIP_SUFFIXES + TAR_SUFFIXES
_EOCD = struct.Struct("<4s4H2IH")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_ZIP64_EOCD = struct.Struct("<4sQ2H2I4Q")
_CENTRAL_HEADER = struct.Struct("<4s6H3I5H2I")
_COMPRESSION_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
_SUPPORTED_METHODS = (0, 8, 12)
_TAR_METADATA_TYPES = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
"""Types of headers that tell of the member after them."""
MAX_TAR_METADATA_BYTES = 2**20
_ARCHIVE_ERRORS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, OverflowError)


def is_archive(path: Path) -> bool:
    """Say whether a file that was given as a source is an archive, by its content or its name."""
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:
        return False
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or head[257:262] == b"ustar"


def iter_members(path: Path, stamp: str, make_spool_path: Callable[[Path], Path]) -> Iterator[SourceFile]:
    """Yield the members of an archive but for folders and hidden ones; a nameless one tells what is wrong with it.

    unpack: where the pictures of a compressed tar may be laid out. Raises VaeganError for a missing extra.
    """
    whole = FileLocation(str(path))
    try:
        with path.open("rb") as file:
            head = file.read(6)
            kind = next((name for magic, name in _COMPRESSION_MAGIC.items() if head.startswith(magic)), None)
            if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or path.name.lower().endswith(ZIP_SUFFIXES):
                yield from _iter_zip(file, path, stamp)
            elif kind is None:
                yield from _iter_tar(file, path, stamp)
            else:
                yield from _iter_compressed_tar(file, kind, stamp, make_spool_path(path))
    except OSError as error:
        # gzip and bz2 say OSError of damaged data, without a number of the system's
        yield SourceFile("", whole, stamp, UNREADABLE if error.errno else BROKEN_ARCHIVE, error_text(error))
    except _ARCHIVE_ERRORS as error:
        yield SourceFile("", whole, stamp, BROKEN_ARCHIVE, error_text(error))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in name.split("/"))


def _unsafe_name_reason(name: str) -> str | None:
    """Why a member's name cannot be trusted, or None. Nothing is written under it; it would mislead all the same."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root:
        return "an absolute path"
    if ".." in PurePosixPath(name).parts or ".." in windows.parts:
        return "a path that leads out of the archive"
    return "a name with a NUL" if "\0" in name else None


def _make_source_file(
    name: str, location: FileLocation, stamp: str, skip_reason: tuple[str, str] | None = None
) -> SourceFile:
    unsafe = _unsafe_name_reason(name)
    name = name.removeprefix("./")
    if unsafe is not None:
        return SourceFile(name, location, stamp, UNSAFE_NAME, unsafe)
    return SourceFile(name, location, stamp, *skip_reason) if skip_reason else SourceFile(name, location, stamp)


def _iter_zip(file: BinaryIO, path: Path, stamp: str) -> Iterator[SourceFile]:
    """Walk the central directory (PKWARE's APPNOTE, 4.3.12), with the 64-bit fields where they are used."""
    start, count, shift = _find_central_directory(file)
    at = start
    for _ in range(count):
        file.seek(at)
        fixed = file.read(_CENTRAL_HEADER.size)
        if len(fixed) < _CENTRAL_HEADER.size or fixed[:4] != b"PK\x01\x02":
            raise ValueError("the archive's list is damaged")
        entry = _CENTRAL_HEADER.unpack(fixed)
        flags, method, crc, stored, size = entry[3], entry[4], entry[7], entry[8], entry[9]
        raw, extra = file.read(entry[10]), file.read(entry[11])
        at += _CENTRAL_HEADER.size + entry[10] + entry[11] + entry[12]
        stored, size, offset = _apply_zip64_sizes(extra, size, stored, entry[16])
        name = _decode_zip_name(raw)
        if name.endswith("/") or _is_hidden(name):
            continue
        refusal = None
        if (entry[1] >> 8) == 3 and (entry[15] >> 16) & 0o170000 not in (0, 0o100000):
            refusal = (UNREADABLE, "no regular file")
        elif flags & 1:
            refusal = (UNREADABLE, "encrypted")
        elif method not in _SUPPORTED_METHODS:
            refusal = (UNREADABLE, f"compression method {method}")
        yield _make_source_file(
            name, FileLocation(str(path), offset + shift, stored, method, size, crc), f"{stamp}:{crc}", refusal
        )


def _find_central_directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where a zip's list starts, how many entries it has, and how far all is shifted by what stands before the zip."""
    length = file.seek(0, os.SEEK_END)
    tail_at = max(0, length - 65_557)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _EOCD.size:
        raise ValueError("not a whole zip: its list is missing")
    *_, count, size, offset, _ = _EOCD.unpack_from(tail, at)
    end = tail_at + at
    if end >= _ZIP64_LOCATOR.size:
        file.seek(end - _ZIP64_LOCATOR.size)
        magic, _, at64, _ = _ZIP64_LOCATOR.unpack(file.read(_ZIP64_LOCATOR.size))
        if magic == b"PK\x06\x07":
            file.seek(at64)
            record = _ZIP64_EOCD.unpack(file.read(_ZIP64_EOCD.size))
            count, size, offset = record[7], record[8], record[9]
            end = at64
    shift = end - size - offset
    if shift < 0 or count * _CENTRAL_HEADER.size > size:
        raise ValueError("not a whole zip: its list does not fit")
    return offset + shift, count, shift


def _decode_zip_name(raw_name: bytes) -> str:
    """A member's name: UTF-8 where it can be (many tools forget to say so), else the zip's own code page 437."""
    try:
        name = raw_name.decode("utf-8")
    except UnicodeDecodeError:
        name = raw_name.decode("cp437")
    return name.replace("\\", "/")


def _apply_zip64_sizes(extra: bytes, size: int, compressed_size: int, offset: int) -> tuple[int, int, int]:
    """Stored bytes, size and offset, from the extra field of entries beyond 4 GiB."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            size = next(values, size) if size == 0xFFFFFFFF else size
            compressed_size = next(values, compressed_size) if compressed_size == 0xFFFFFFFF else compressed_size
            offset = next(values, offset) if offset == 0xFFFFFFFF else offset
        at += 4 + length
    return compressed_size, size, offset


CheckedTarMember = tuple[tarfile.TarInfo, tuple[str, str] | None]


def _iter_tar_members(tar: tarfile.TarFile) -> Iterator[CheckedTarMember]:
    """The files of a tar one after the other, none of them remembered; what is no plain file with its reason."""
    for entry in tar:
        tar.members = []  # type: ignore[attr-defined]
        if not entry.isdir() and not _is_hidden(entry.name):
            yield entry, None if entry.isreg() and not entry.issparse() else (UNREADABLE, "no regular file")


class _BoundedTarInfo(tarfile.TarInfo):
    """A member whose name is of a sane length: tarfile reads what a header says of names into memory, however long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header. Raises tarfile.ReadError."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _TAR_METADATA_TYPES and entry.size > MAX_TAR_METADATA_BYTES:
            raise tarfile.ReadError(f"{entry.size:,} bytes about one member's name")
        return entry


def _iter_tar(file: BinaryIO, path: Path, stamp: str) -> Iterator[SourceFile]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_BoundedTarInfo) as tar:
        for entry, refusal in _iter_tar_members(tar):
            place = FileLocation(str(path), entry.offset_data, entry.size)
            yield _make_source_file(entry.name, place, f"{stamp}:{entry.size}", refusal)


def _iter_compressed_tar(file: BinaryIO, compression: str, stamp: str, spool: Path) -> Iterator[SourceFile]:
    """Copy what may be pictures into `spool`, and say where in it they lie."""
    with (
        spool.open("wb") as out,
        _open_decompressed(file, compression) as plain,
        tarfile.open(fileobj=plain, mode="r|", tarinfo=_BoundedTarInfo) as tar,
    ):
        for entry, refusal in _iter_tar_members(tar):
            at = out.tell()
            if refusal is None and _unsafe_name_reason(entry.name) is None:
                if entry.size > MAX_FILE_BYTES:
                    refusal = (TOO_LARGE, f"a member of {entry.size:,} bytes")
                else:
                    member = tar.extractfile(entry)
                    shutil.copyfileobj(member or io.BytesIO(), out)
                    if out.tell() - at != entry.size:
                        raise EOFError("cut short")
            yield _make_source_file(
                entry.name, FileLocation(str(spool), at, entry.size), f"{stamp}:{entry.size}", refusal
            )


@contextlib.contextmanager
def _open_decompressed(file: BinaryIO, compression: str) -> Iterator[IO[bytes]]:
    file.seek(0)
    if compression == "zst":
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
    with openers[compression](file, "rb") as plain:
        yield plain
