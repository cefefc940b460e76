"""Write files so that a kill at any moment leaves the old content or the new, never a mixture.

Everything is written under a temporary name in the same directory, flushed to disk, then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import UsageError, VaeganError, error_text, printable

PARTIAL_PREFIX = ".partial-"
REPLACED_PREFIX = ".replaced-"
MAX_JSON_BYTES = 16 * 2**20


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
    return VaeganError(f"cannot write {path}: {error_text(error)}; no existing file was changed")


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


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.

    Returns:
        the object.

    Raises:
        VaeganError: if the file is missing, not valid JSON, no object, or longer than MAX_JSON_BYTES.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise VaeganError(f"{path} is damaged: longer than {MAX_JSON_BYTES} bytes, the limit for such a file")
        value = json.loads(content.decode("utf-8"))
    except OSError as error:
        raise VaeganError(f"cannot read {path}: {error_text(error)}") from error
    except (ValueError, RecursionError) as error:
        raise VaeganError(f"{path} is damaged: not valid JSON ({printable(error_text(error), 200)})") from error
    if not isinstance(value, dict):
        raise VaeganError(f"{path} is damaged: expected a JSON object, found {type(value).__name__}")
    return value


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
    path = path.resolve() if path.is_symlink() else path
    restore_replaced(path)
    partial, replaced = _partial_path(path), _replaced_path(path)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                _fsync_file(file)
        _fsync_directory(partial)
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            path.replace(replaced)
        partial.replace(path)
        _fsync_directory(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
            shutil.rmtree(replaced, ignore_errors=True)
    for partial in directory.glob(f"{PARTIAL_PREFIX}*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
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


def check_has_file_name(out: Path) -> None:
    """Check that the value of --out has a file name.

    Args:
        out: the value.

    Raises:
        UsageError: if it is ".", ".." or the root of a disk.
    """
    if out.name in ("", ".."):
        raise UsageError(f"--out {out} is a directory: give a name in it")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content.

    Args:
        path: the file.

    Returns:
        in hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
