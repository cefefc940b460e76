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

from vaegan.errors import UsageError, VaeganError, reason, shown

TEMPORARY = ".partial-"
ASIDE = ".replaced-"
MAX_JSON = 16 * 2**20


def _flush(path: Path) -> None:
    """Force a file's bytes to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_directory(path: Path) -> None:
    """Force a directory's entries to the disk, where the system can (Windows cannot and need not)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, write: Callable[[Path], object], durable: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, flush it, then rename it into place.

    durable: wait for the disk; False for the many small files that a power cut may cost, since they can be drawn again.

    Raises VaeganError when the disk refuses (full, read-only, no permission); `path` is then as it was.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise VaeganError(f"cannot write {path}: {reason(error)}; nothing that was there is lost") from error


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Write `content` to `path` atomically; `durable` as in `write_atomically`."""
    write_atomically(path, lambda place: place.write_bytes(content), durable)


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
            content = file.read(MAX_JSON + 1)
        if len(content) > MAX_JSON:
            raise VaeganError(f"{path} is damaged: longer than the {MAX_JSON} bytes that such a file can have")
        value = json.loads(content.decode("utf-8"))
    except OSError as error:
        raise VaeganError(f"cannot read {path}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise VaeganError(f"{path} is damaged: not valid JSON ({shown(reason(error), 200)})") from error
    if not isinstance(value, dict):
        raise VaeganError(f"{path} is damaged: expected a JSON object, found {type(value).__name__}")
    return value


@contextlib.contextmanager
def directory_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside `path`; when the block ends well it becomes `path`.

    A directory that is there is replaced whole: it is set aside first, and `recover` brings it back should the
    process be killed between the two renames. When the block raises, the temporary directory is removed. Where `path`
    is a link, what it leads to is replaced.
    """
    path = path.resolve() if path.is_symlink() else path
    recover(path)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        _flush_directory(temporary)
        old = _set_aside(path)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        temporary.replace(path)
        _flush_directory(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise VaeganError(f"cannot write {path}: {reason(error)}; nothing that was there is lost") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _set_aside(path: Path) -> Path:
    return path.with_name(f"{ASIDE}{path.name}")


def recover(path: Path) -> None:
    """Bring back a directory that was set aside by a process that was killed before its successor was there."""
    if not path.exists() and _set_aside(path).is_dir():
        with contextlib.suppress(OSError):
            _set_aside(path).rename(path)


def sweep(directory: Path) -> None:
    """Remove what an earlier, killed process left half-written in `directory`; bring back what it had set aside."""
    for aside in directory.glob(f"{ASIDE}*"):
        successor = directory / aside.name.removeprefix(ASIDE)
        recover(successor)
        if successor.exists():  # never the only copy, should bringing it back have failed
            shutil.rmtree(aside, ignore_errors=True)
    for leftover in directory.glob(f"{TEMPORARY}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def inside(path: Path, root: Path) -> Path:
    """Return `path`, which was found under `root`. Raises VaeganError when a link leads out of it.

    A directory may come from a stranger: what it leads to elsewhere is neither read nor written.
    """
    try:
        place = path.resolve()
        out = not place.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a ring of links
        raise VaeganError(f"cannot follow {path}: {reason(error)}") from error
    if out:
        raise VaeganError(f"{path} is a link out of {root}, to {place}: put the file itself there, or name {place}")
    return path


def refuse_nameless(out: Path) -> None:
    """Raise UsageError where --out names no file: ".", "..", or a disk's root."""
    if out.name in ("", ".."):
        raise UsageError(f"--out {out} is a directory: give a name in it")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
