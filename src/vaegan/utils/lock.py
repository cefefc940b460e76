"""One process per run: a lock file that names its holder and goes with it, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import EventHandler, Note

LOCK_FILE = "run.lock"
LOCKED_BYTE = 2**30  # Windows locks bytes against reading too: one that no lock file reaches


def _try_lock(descriptor: int) -> bool:
    """Take the system's lock on an open file, which ends with the process; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8")[:4096])
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _in_use_error(path: Path, holder: dict[str, Any]) -> VaeganError:
    host, who = holder.get("host"), f"process {printable(holder.get('pid', '?'))}"
    if host in (None, platform.node()):
        return VaeganError(f"{path.parent} is in use by {who}: wait for it, stop it, or choose another --run")
    return VaeganError(
        f"{path.parent} is in use by {who} on {printable(host)}: stop it there, or choose another --run; if it is gone,"
        f" remove {path}"
    )


def _open_locked(path: Path) -> int:
    """Open and hold the lock file at `path`. Raises VaeganError where another process has it, OSError from the disk."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        said = _read_holder(path)
        held = _try_lock(descriptor)
        elsewhere = said.get("host") not in (None, platform.node())
        if not held or elsewhere:  # a lock does not always reach other machines that share the disk
            os.close(descriptor)
            raise _in_use_error(path, said)
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # its last holder removed it meanwhile: this one is on no path


@contextlib.contextmanager
def run_lock(directory: Path, emit: EventHandler) -> Iterator[None]:
    """Keep other processes out of `directory`, which is made if need be and removed again if it stays empty.

    Raises VaeganError naming the process that has it; a lock whose process died is taken over, and told.
    """
    path = directory / LOCK_FILE
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = _open_locked(path)
    except OSError as error:
        raise VaeganError(f"cannot write {path}: {error_text(error)}; choose another --run") from error
    try:
        said = _read_holder(path)
        if said:
            emit(Note(f"Took over {directory} from process {printable(said.get('pid'))}, which is gone"))
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        yield
    finally:
        if sys.platform == "win32":  # where an open file cannot be removed
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
