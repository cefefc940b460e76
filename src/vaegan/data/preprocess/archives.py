"""List where in a zip or tar archive the bytes of each member lie, without extracting them.

Workers read members lazily, straight from these offsets. A compressed tar has no usable offsets, so its members are
copied one after the other into one spool file in the preprocessing's own directory. No name from an archive ever
becomes a name on disk.

The list of a zip is read by the standard `zipfile`, which holds it in memory while the archive is searched, and which
refuses an archive as a whole where a name is marked as UTF-8 but is not. Names without that mark may hold any bytes.

A few kilobytes can unpack to terabytes. `UnpackBudget` limits what is read, per archive and per run.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO, Self, cast

from vaegan.data.preprocess.database import cannot_write_error
from vaegan.data.preprocess.file_reader import MAX_MEMBER_BYTES
from vaegan.data.preprocess.records import FileLocation, SourceFile
from vaegan.data.preprocess.skip_reasons import BROKEN_ARCHIVE, TOO_LARGE, UNREADABLE, UNSAFE_NAME
from vaegan.errors import VaeganError, error_text
from vaegan.utils.files import open_regular

SpoolPathFactory = Callable[[Path], Path]
"""From the path of a compressed tar to the path of a new spool file for its members."""
SkipReason = tuple[str, str]
"""A key of SKIP_REASONS and a detail."""

ZIP_SUFFIXES = (".zip", ".cbz")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".cbt")
ARCHIVE_SUFFIXES = ZIP_SUFFIXES + TAR_SUFFIXES
MAX_TAR_METADATA_BYTES = 2**20
MAX_ZIP_LIST_BYTES = 2**26
MAX_UNPACK_RATIO = 200
FREE_ARCHIVE_BYTES = 2**28
FREE_RUN_BYTES = 2**30
_COPY_BYTES = 2**16

_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ZIP_FLAG_ENCRYPTED = 0x1
_ZIP_FLAG_UTF8 = 0x800
_ZIP_FROM_UNIX = 3
_SUPPORTED_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_COMPRESSION_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst"}
# Tar headers that describe the member after them.
_TAR_METADATA_TYPES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error,
    ValueError, OverflowError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Check whether a file is an archive, by its name or its content.

    Args:
        path: the file.

    Returns:
        whether it is a zip or tar archive.
    """
    if path.name.lower().endswith(ARCHIVE_SUFFIXES):
        return True
    try:
        with open_regular(path) as file:
            head = file.read(512)
    except OSError:
        return False
    return head.startswith(_ZIP_MAGIC) or head[257:262] == b"ustar"


class UnpackBudgetExceeded(Exception):
    """An archive unpacks to more than its budget."""


class UnpackBudget:
    """Limits the bytes that archives unpack to.

    An archive may unpack to 256 MiB, or to 200 times its size if that is more. All archives of a run may unpack to
    1 GiB and 200 times their sizes.
    """

    def __init__(self) -> None:
        self.archive_bytes, self.run_bytes = 0, FREE_RUN_BYTES

    def start_archive(self, file: BinaryIO) -> None:
        """Begin to count the bytes of another archive.

        Args:
            file: the open archive, whose size sets its budget.
        """
        allowed = MAX_UNPACK_RATIO * os.fstat(file.fileno()).st_size
        self.archive_bytes, self.run_bytes = max(FREE_ARCHIVE_BYTES, allowed), self.run_bytes + allowed

    def take(self, num_bytes: int) -> None:
        """Count unpacked bytes.

        Args:
            num_bytes: number of bytes that will be unpacked next.

        Raises:
            UnpackBudgetExceeded: The archive, or all archives of the run together, unpack to too many bytes.
        """
        if num_bytes > min(self.archive_bytes, self.run_bytes):
            raise UnpackBudgetExceeded("the archive unpacks to too many bytes for its size")
        self.archive_bytes, self.run_bytes = self.archive_bytes - num_bytes, self.run_bytes - num_bytes


def iter_members(
    path: Path, stamp: str, make_spool_path: SpoolPathFactory, budget: UnpackBudget
) -> Iterator[SourceFile]:
    """List the members of an archive, without its folders and hidden files.

    A damaged archive, or one beyond `budget`, yields the members before the damage, and then a SourceFile with the
    name "" and a reason.

    Args:
        path: the archive.
        stamp: what changes when the archive does; see `size_and_mtime`.
        make_spool_path: returns a path for the uncompressed content of a compressed tar.
        budget: bytes that may still be unpacked; this archive is counted in it.

    Yields:
        one file per member.

    Raises:
        VaeganError: The archive needs a package that is not installed, or the spool file cannot be written.
    """
    location = FileLocation(str(path))
    try:
        with open_regular(path) as file:
            budget.start_archive(file)
            head = file.read(6)
            compression = next((name for magic, name in _COMPRESSION_MAGIC.items() if head.startswith(magic)), None)
            if head.startswith(_ZIP_MAGIC) or path.name.lower().endswith(ZIP_SUFFIXES):
                yield from _iter_zip(file, path, stamp, budget)
            elif compression is None:
                yield from _iter_tar(file, path, stamp)
            else:
                yield from _iter_compressed_tar(file, compression, stamp, make_spool_path(path), budget)
    except UnpackBudgetExceeded as error:
        yield SourceFile("", location, stamp, TOO_LARGE, error_text(error))
    except OSError as error:
        # gzip and bz2 raise an OSError without an errno for damaged data
        yield SourceFile("", location, stamp, UNREADABLE if error.errno else BROKEN_ARCHIVE, error_text(error))
    except _ARCHIVE_ERRORS as error:
        yield SourceFile("", location, stamp, BROKEN_ARCHIVE, error_text(error))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in name.split("/"))


def _describe_unsafe_name(name: str) -> str | None:
    """Say why a member's name is unsafe, or return None.

    Nothing is written under a member's name, but manifest.jsonl lists it, and other programs may trust that.
    """
    windows_path = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows_path.drive or windows_path.root:
        return "an absolute path"
    if ".." in PurePosixPath(name).parts or ".." in windows_path.parts:
        return "a path that leads out of the archive"
    return "a name with a NUL" if "\0" in name else None


def _make_source_file(name: str, location: FileLocation, stamp: str, skip_reason: SkipReason | None) -> SourceFile:
    unsafe = _describe_unsafe_name(name)
    if unsafe is not None:
        skip_reason = (UNSAFE_NAME, unsafe)
    return SourceFile(name.removeprefix("./"), location, stamp, *(skip_reason or ("", "")))


class _ZipListLimit:
    """A file whose reads are bounded: zipfile reads the list of members at once, however long it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_ZIP_LIST_BYTES:
            raise zipfile.BadZipFile(f"a list of members of {size:,} bytes")
        return self._file.read(size)


def _iter_zip(file: BinaryIO, path: Path, stamp: str, budget: UnpackBudget) -> Iterator[SourceFile]:
    stored_bytes = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(cast(IO[bytes], _ZipListLimit(file))) as archive:
        for info in archive.infolist():
            name = _decode_zip_name(info)
            if name.endswith("/") or _is_hidden(name):
                continue
            stored_bytes -= info.compress_size
            if stored_bytes < 0:
                raise zipfile.BadZipFile("members that overlap")
            skip_reason = None
            if info.create_system == _ZIP_FROM_UNIX and stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                skip_reason = (UNREADABLE, "not a regular file")
            elif info.flag_bits & _ZIP_FLAG_ENCRYPTED:
                skip_reason = (UNREADABLE, "encrypted")
            elif info.compress_type not in _SUPPORTED_ZIP_METHODS:
                skip_reason = (UNREADABLE, f"compression method {info.compress_type}")
            elif info.file_size <= MAX_MEMBER_BYTES:  # larger ones are not read
                budget.take(info.file_size)
            member = (info.header_offset, info.compress_size, info.compress_type, info.file_size, info.CRC)
            yield _make_source_file(name, FileLocation(str(path), *member), f"{stamp}:{info.CRC}", skip_reason)


def _decode_zip_name(info: zipfile.ZipInfo) -> str:
    """Decode a member's name: as UTF-8 where it can be (many tools do not set the flag for it), else as cp437."""
    name = info.orig_filename
    if not info.flag_bits & _ZIP_FLAG_UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


class _BoundedTarInfo(tarfile.TarInfo):
    """A tar header whose metadata has a bounded size: tarfile reads long names into memory, however long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _TAR_METADATA_TYPES and member.size > MAX_TAR_METADATA_BYTES:
            raise tarfile.ReadError(f"{member.size:,} bytes about one member's name")
        return member


def _iter_tar_members(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, SkipReason | None]]:
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # tarfile would hold all of them in memory
        if not member.isdir() and not _is_hidden(member.name):
            is_plain_file = member.isreg() and not member.issparse()
            yield member, None if is_plain_file else (UNREADABLE, "not a regular file")


def _iter_tar(file: BinaryIO, path: Path, stamp: str) -> Iterator[SourceFile]:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:", tarinfo=_BoundedTarInfo) as tar:
        for member, skip_reason in _iter_tar_members(tar):
            location = FileLocation(str(path), member.offset_data, member.size)
            yield _make_source_file(member.name, location, f"{stamp}:{member.size}", skip_reason)


class _Spool:
    """A file to which the members of a compressed tar are appended. Raises VaeganError if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        try:
            self.file = self.open(path)
        except OSError as error:
            raise self._write_error(error) from error

    def open(self, path: Path) -> io.RawIOBase:
        return path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def append(self, source: IO[bytes]) -> None:
        while chunk := memoryview(source.read(_COPY_BYTES)):
            while chunk:
                try:
                    num_written = self.file.write(chunk)
                except OSError as error:
                    raise self._write_error(error) from error
                self.size, chunk = self.size + num_written, chunk[num_written:]

    def _write_error(self, error: OSError) -> VaeganError:
        return cannot_write_error(self.path.parent, error)


class _BudgetStream:
    """A decompressed stream whose bytes are counted as they are read."""

    def __init__(self, stream: IO[bytes], budget: UnpackBudget) -> None:
        self.stream, self.budget = stream, budget

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.budget.take(len(content))
        return content


def _iter_compressed_tar(
    file: BinaryIO, compression: str, stamp: str, spool_path: Path, budget: UnpackBudget
) -> Iterator[SourceFile]:
    """Copy the members into one spool file, and yield where in it they lie."""
    with (
        _Spool(spool_path) as spool,
        _open_decompressed(file, compression) as plain,
        tarfile.open(fileobj=cast(IO[bytes], _BudgetStream(plain, budget)), mode="r|", tarinfo=_BoundedTarInfo) as tar,
    ):
        for member, skip_reason in _iter_tar_members(tar):
            offset = spool.size
            if skip_reason is None and _describe_unsafe_name(member.name) is None:
                if member.size > MAX_MEMBER_BYTES:
                    skip_reason = (TOO_LARGE, f"a member of {member.size:,} bytes")
                else:
                    spool.append(tar.extractfile(member) or io.BytesIO())
                    if spool.size - offset != member.size:
                        raise EOFError("cut short")
            location = FileLocation(str(spool_path), offset, member.size)
            yield _make_source_file(member.name, location, f"{stamp}:{member.size}", skip_reason)


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
    with openers[compression](file, "rb") as stream:
        yield stream
