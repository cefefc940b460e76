"""Read files that may come from a stranger, and write files atomically.

Every path that a user or a stranger's directory names is opened by `open_regular`. A pipe, a socket or a device would
otherwise block for ever or never end.

Everything is written under a temporary name in the same directory, flushed to disk, then renamed. So a kill at any
moment leaves the old content or the new, never a mixture.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import UsageError, VaeganError, disk_hint, error_text, printable
from vaegan.events import EventHandler, Note

PARTIAL_PREFIX = ".partial-"
REPLACED_PREFIX = ".replaced-"
MAX_NAME_BYTES = 220
"""File systems allow 255 bytes, also for the names of partial and replaced files."""
MAX_JSON_BYTES = 16 * 2**20
_FILE_TYPES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


# ---- Reading --------------------------------------------------------------------------------------------------------


def _check_regular(mode: int, path: Path | str) -> None:
    """Raise OSError unless `mode`, of a stat result, is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = _FILE_TYPES.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a regular file", str(path))


def _open_nonblocking(path: str, flags: int) -> int:
    """Open a path as `open_regular` does; the opener of `open`."""
    # before the open, because opening a device can have effects, such as rewinding a tape
    try:
        _check_regular(Path(path).stat().st_mode, path)
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link to nothing", path) from None
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)  # it may have been replaced in between
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _RegularFileIO(io.FileIO):
    """A file whose reads never return None, which a non-blocking read of the system's log does."""

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        if count is None:
            raise self._would_block()
        return count

    def readall(self) -> bytes:
        content: bytes | None = super().readall()
        if content is None:
            raise self._would_block()
        return content

    def _would_block(self) -> OSError:
        return OSError(errno.EAGAIN, "a file that waits for data, not a regular file", str(self.name))


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a regular file for reading bytes, without ever blocking. Links are followed.

    Args:
        path: the file.

    Returns:
        the open file.

    Raises:
        OSError: If the file cannot be opened, or is a directory, a named pipe, a socket or a device.
    """
    return io.BufferedReader(_RegularFileIO(str(path), "r", opener=_open_nonblocking))


def append_regular(path: Path | str) -> io.BufferedRandom:
    """Open a regular file, created if needed, for reading bytes and appending some.

    Args:
        path: the file.

    Returns:
        the open file.

    Raises:
        OSError: As `open_regular`.
    """
    return io.BufferedRandom(_RegularFileIO(str(path), "a+", opener=_open_nonblocking))


def check_regular(path: Path) -> None:
    """Check that `path` is a regular file that can be opened, for a library that opens paths by itself.

    Args:
        path: the file.

    Raises:
        OSError: As `open_regular`.
    """
    open_regular(path).close()


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a whole regular file of at most `max_bytes`.

    Args:
        path: the file.
        max_bytes: longest allowed content in bytes.

    Returns:
        the content.

    Raises:
        VaeganError: If it cannot be opened, is no regular file, or is longer.
    """
    try:
        with open_regular(path) as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise VaeganError(f"cannot read {path}: {error_text(error)}") from error
    if len(content) > max_bytes:
        raise VaeganError(f"{path} is damaged: longer than {max_bytes} bytes, the limit for such a file")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: the file.

    Returns:
        the object.

    Raises:
        VaeganError: If the file is missing, not valid JSON, no object, or longer than MAX_JSON_BYTES.
    """
    try:
        value = json.loads(read_bytes(path, MAX_JSON_BYTES).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise VaeganError(f"{path} is damaged: not valid JSON ({printable(error_text(error), 200)})") from error
    if not isinstance(value, dict):
        raise VaeganError(f"{path} is damaged: expected a JSON object, found {type(value).__name__}")
    return value


def read_json_lines(path: Path, max_line_bytes: int) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file with one on each line, in order.

    Args:
        path: the file.
        max_line_bytes: longest allowed line in bytes; a longer one is damaged.

    Yields:
        one object each; lines that are damaged are left out.

    Raises:
        VaeganError: If the file cannot be opened or read, or is no regular file.
    """
    try:
        with open_regular(path) as file:
            while line := file.readline(max_line_bytes):
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line.decode("utf-8", "replace"))
                    if isinstance(record, dict):
                        yield record
    except OSError as error:
        raise VaeganError(f"cannot read {path}: {error_text(error)}") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file's content.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        OSError: As `open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_unicode(path: Path) -> None:
    """Check that a path is valid Unicode: the library for safetensors files cannot open others.

    Args:
        path: the path.

    Raises:
        VaeganError: If it is not.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise VaeganError(
            f"{printable(path, 300)} is not valid Unicode, which names of datasets, runs and weights must be: rename it"
        ) from None


# ---- Writing --------------------------------------------------------------------------------------------------------


def _fsync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _fsync_directory(path: Path) -> None:
    # Windows cannot open directories, and does not need to: there, a rename is durable by itself.
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _partial_path(path: Path) -> Path:
    return path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{path.name}")


def _replaced_path(path: Path) -> Path:
    return path.with_name(f"{REPLACED_PREFIX}{path.name}")


def _write_error(path: Path, error: OSError) -> VaeganError:
    return VaeganError(f"cannot write {path}: {error_text(error)}; no existing file was changed{disk_hint(error)}")


def atomic_write(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` fill a temporary file, flush it, then rename it to `path`.

    The directory of the file is created if needed.

    Args:
        path: file to replace.
        write: writes the content to the path that it is given.
        durable: wait until the data is on disk. False is faster, and suits files that can be generated again.

    Raises:
        VaeganError: if the disk is full or read-only, or permission is missing; `path` is unchanged then.
    """
    partial = _partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        if durable:
            _fsync_file(partial)
        partial.replace(path)
        if durable:
            _fsync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _write_error(path, error) from error
        raise


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file atomically; see `atomic_write`.

    Args:
        path: file to replace.
        content: its bytes.
        durable: as in `atomic_write`.

    Raises:
        VaeganError: as in `atomic_write`.
    """
    atomic_write(path, lambda partial: partial.write_bytes(content), durable)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON in UTF-8, atomically.

    Args:
        path: file to replace.
        value: what to write.

    Raises:
        VaeganError: as in `atomic_write`.
    """
    try:
        content = json.dumps(value, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a file name that is not valid Unicode: escape everything
        content = json.dumps(value, indent=2).encode()
    write_bytes(path, content + b"\n")


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Write a directory that takes its place when the block ends without an error.

    An existing directory is renamed to .replaced-NAME first, and deleted last. If the process is killed between the two
    renames, `restore_replaced` brings it back. If the block raises, the temporary directory is deleted. Where `path` is
    a symbolic link, its target is replaced.

    Args:
        path: the directory.

    Yields:
        a temporary directory to write into.

    Raises:
        VaeganError: if the disk is full or read-only, or permission is missing; `path` is unchanged then.
    """
    path = real_path(path) if path.is_symlink() else path
    restore_replaced(path)
    partial, replaced = _partial_path(path), _replaced_path(path)
    try:
        remove_tree(partial)
        partial.mkdir(parents=True)
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _fsync_file(file)
        _fsync_directory(partial)
        if path.exists():
            remove_tree(replaced)
            path.replace(replaced)
        partial.replace(path)
        _fsync_directory(path.parent)
        remove_tree(replaced)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        remove_tree(partial)


def remove_tree(path: Path) -> None:
    """Delete a directory, if there is one; what cannot be deleted stays. Links are not followed.

    Args:
        path: the directory.
    """
    if path.is_dir():  # rmtree opens whatever it is given, and would wait for a pipe
        shutil.rmtree(path, ignore_errors=True)


def real_path(path: Path) -> Path:
    """Return the absolute path without links.

    Args:
        path: the path; unlike in `Path.resolve`, links in circles are no error.

    Returns:
        the absolute path.
    """
    return Path(os.path.realpath(path))


def restore_replaced(path: Path) -> None:
    """Bring back the directory that a killed `atomic_directory` had renamed, if there is no new one.

    Args:
        path: the directory's place.
    """
    if not path.exists() and _replaced_path(path).is_dir():
        with contextlib.suppress(OSError):
            _replaced_path(path).rename(path)


def clean_partial_files(directory: Path) -> None:
    """Delete the temporary files of a killed process, and bring back what it had renamed.

    Args:
        directory: where to look.
    """
    for replaced in directory.glob(f"{REPLACED_PREFIX}*"):
        path = directory / replaced.name.removeprefix(REPLACED_PREFIX)
        restore_replaced(path)
        if path.exists():  # if restoring failed, this is the only copy
            remove_tree(replaced)
    for partial in directory.glob(f"{PARTIAL_PREFIX}*"):
        if partial.is_dir():
            remove_tree(partial)
        else:
            partial.unlink(missing_ok=True)


def ensure_within(path: Path, root: Path) -> Path:
    """Check that a file found under a directory lies in it.

    A directory may come from a stranger, so links to other places are neither read nor written.

    Args:
        path: the file.
        root: the directory.

    Returns:
        `path`.

    Raises:
        VaeganError: if a symbolic link leads out of `root` or in circles.
    """
    try:
        target = path.resolve()
        is_within = target.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise VaeganError(f"cannot follow {path}: {error_text(error)}") from error
    if not is_within:
        raise VaeganError(f"{path} is a link out of {root}, to {target}: put the file itself there, or name {target}")
    return path


def check_writable(out: Path, flag: str = "--out") -> None:
    """Check that a file or directory can be made; nothing stays on disk.

    Args:
        out: its path; parent directories need not exist.
        flag: option that named it, for the message.

    Raises:
        VaeganError: if it cannot be made, or its name is longer than MAX_NAME_BYTES.
    """
    num_bytes = len(os.fsencode(out.name))
    if num_bytes > MAX_NAME_BYTES:
        raise VaeganError(f"{flag}: a name of {num_bytes} bytes is too long (at most {MAX_NAME_BYTES}): choose another")
    try:
        parent = out.parent
        while not parent.exists() and not parent.is_symlink():
            parent = parent.parent
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise VaeganError(f"cannot write {flag} {out}: {parent}: {error_text(error)}{disk_hint(error)}") from error


def note_replaced(paths: Iterable[Path], emit: EventHandler) -> None:
    """Emit a note for each file that is about to be replaced.

    Args:
        paths: files that will be written.
        emit: receives a note for each one that exists.
    """
    for path in paths:
        if path.exists():
            emit(Note(f"Replacing the older {path}"))


def check_has_file_name(out: Path) -> None:
    """Check that the value of --out has a file name.

    Args:
        out: the value.

    Raises:
        UsageError: if it is ".", ".." or the root of a disk.
    """
    if out.name in ("", ".."):
        raise UsageError(f"--out {out} is a directory: give a name in it")
