"""Writing files so that a kill at any instant leaves the old state or the new one, never half of one.

Everything is written beside its place under a temporary name, flushed to the disk, then renamed.
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
    """Force a file's bytes to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _fsync_directory(path: Path) -> None:
    """Force a directory's entries to the disk, where the system can (Windows cannot and need not)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def atomic_write(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, flush it, then rename it into place.

    durable: wait for the disk; False for the many small files that a power cut may cost, since they can be drawn again.

    Raises VaeganError when the disk refuses (full, read-only, no permission); `path` is then as it was.
    """
    temporary = path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{path.name}")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if durable:
            _fsync_file(temporary)
        temporary.replace(path)
        if durable:
            _fsync_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise VaeganError(f"cannot write {path}: {error_text(error)}; nothing that was there is lost") from error


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write `content` to `path` atomically; `durable` as in `write_atomically`."""
    atomic_write(path, lambda place: place.write_bytes(content), durable)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; a name that is no Unicode is escaped, and so is all else then."""
    try:
        content = json.dumps(value, indent=2, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        content = json.dumps(value, indent=2).encode()
    write_bytes(path, content + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises VaeganError when it is missing, broken, too long to be ours, or not an object."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise VaeganError(f"{path} is damaged: longer than the {MAX_JSON_BYTES} bytes that such a file can have")
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
    """Yield a temporary directory beside `path`; when the block ends well it becomes `path`.

    A directory that is there is replaced whole: it is set aside first, and `recover` brings it back should the
    process be killed between the two renames. When the block raises, the temporary directory is removed. Where `path`
    is a link, what it leads to is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
    restore_replaced(path)
    temporary = path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-{path.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _fsync_file(file)
        _fsync_directory(temporary)
        old = _replaced_path(path)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        temporary.replace(path)
        _fsync_directory(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise VaeganError(f"cannot write {path}: {error_text(error)}; nothing that was there is lost") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replaced_path(path: Path) -> Path:
    return path.with_name(f"{REPLACED_PREFIX}{path.name}")


def restore_replaced(path: Path) -> None:
    """Bring back a directory that was set aside by a process that was killed before its successor was there."""
    if not path.exists() and _replaced_path(path).is_dir():
        with contextlib.suppress(OSError):
            _replaced_path(path).rename(path)


def clean_partial_files(directory: Path) -> None:
    """Remove what an earlier, killed process left half-written in `directory`; bring back what it had set aside."""
    for aside in directory.glob(f"{REPLACED_PREFIX}*"):
        successor = directory / aside.name.removeprefix(REPLACED_PREFIX)
        restore_replaced(successor)
        if successor.exists():  # never the only copy, should bringing it back have failed
            shutil.rmtree(aside, ignore_errors=True)
    for leftover in directory.glob(f"{PARTIAL_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def ensure_within(path: Path, root: Path) -> Path:
    """Return `path`, which was found under `root`. Raises VaeganError when a link leads out of it.

    A directory may come from a stranger: what it leads to elsewhere is neither read nor written.
    """
    try:
        place = path.resolve()
        out = not place.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a ring of links
        raise VaeganError(f"cannot follow {path}: {error_text(error)}") from error
    if out:
        raise VaeganError(f"{path} is a link out of {root}, to {place}: put the file itself there, or name {place}")
    return path


def check_has_file_name(out: Path) -> None:
    """Raise UsageError where --out names no file: ".", "..", or a disk's root."""
    if out.name in ("", ".."):
        raise UsageError(f"--out {out} is a directory: give a name in it")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
