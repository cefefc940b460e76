"""Lock a run directory, so that only one process at a time trains in it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vaegan.errors import VaeganError, disk_hint, error_text, printable
from vaegan.events import EventHandler, Note
from vaegan.utils.files import PARTIAL_PREFIX, check_regular, read_json

LOCK_FILE = "run.lock"
HOLDER_FILE = "run.lock.json"
"""Process and machine that hold the lock. A file of its own, because a locked file cannot be read on Windows."""
HEARTBEAT_SECONDS, LEASE_SECONDS = 20, 300


@contextlib.contextmanager
def run_lock(directory: Path, emit: EventHandler) -> Iterator[None]:
    """Lock a run directory for this process; create it if needed, and remove it again if it stays empty.

    The lock of a killed process is released by the operating system; taking over such a lock emits a note. On a network
    folder the lock may not reach other machines, so a holder file from another machine is respected as well. Its
    process touches it every HEARTBEAT_SECONDS; after LEASE_SECONDS without that, the lock is taken over.

    Args:
        directory: the run directory.
        emit: receives a note when the lock of a killed process is taken over.

    Yields:
        nothing, while the lock is held.

    Raises:
        VaeganError: if another process holds the lock, or the directory cannot be written.
    """
    new_directories = [path for path in (directory, *directory.parents) if not path.exists()]
    lock = FileLock(directory / LOCK_FILE)
    previous_holder = _acquire(lock, directory)
    heartbeat_end = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(directory / HOLDER_FILE, heartbeat_end), daemon=True)
    heartbeat.start()
    try:
        if previous_holder:
            pid, host = printable(previous_holder.get("pid")), ""
            if _is_on_another_machine(previous_holder):
                host = f" on {printable(previous_holder['host'])}"
            emit(Note(f"Took over {directory} from process {pid}{host}, which is gone"))
        yield
    finally:
        heartbeat_end.set()
        heartbeat.join()
        # Remove the files before the release: afterwards they may belong to the next holder.
        for name in (HOLDER_FILE, LOCK_FILE):
            with contextlib.suppress(OSError):
                (directory / name).unlink()
        lock.release()
        with contextlib.suppress(OSError):
            for path in new_directories:
                path.rmdir()


def _acquire(lock: FileLock, directory: Path) -> dict[str, Any]:
    """Acquire the lock without waiting and write the holder file; return the holder that a killed process left."""
    holder_path = directory / HOLDER_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            check_regular(directory / LOCK_FILE)
        lock.acquire(timeout=0)
        previous_holder = _read_holder(holder_path)
        if _is_on_another_machine(previous_holder) and _seconds_since_heartbeat(holder_path) < LEASE_SECONDS:
            lock.release()
            raise _in_use_error(directory, previous_holder)
        holder_path.unlink(missing_ok=True)  # writing into a pipe would block
        holder_path.write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}), encoding="utf-8")
    except Timeout:
        raise _in_use_error(directory, _read_holder(holder_path)) from None
    except OSError as error:
        lock.release()
        raise VaeganError(
            f"cannot lock {directory / LOCK_FILE}: {error_text(error)}; choose another --run{disk_hint(error)}"
        ) from error
    return previous_holder


def _beat(holder_path: Path, end: threading.Event) -> None:
    """Touch the holder file regularly, as a sign of life for other machines."""
    while not end.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(holder_path)


def _seconds_since_heartbeat(holder_path: Path) -> float:
    """Return the age of the holder file by the clock of its file system: those of the machines may differ."""
    probe = holder_path.with_name(f"{PARTIAL_PREFIX}{os.getpid()}-clock")
    try:
        probe.touch()
        return probe.stat().st_mtime - holder_path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _read_holder(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except VaeganError:
        return {}


def _is_on_another_machine(holder: dict[str, Any]) -> bool:
    return holder.get("host") not in (None, platform.node())


def _in_use_error(directory: Path, holder: dict[str, Any]) -> VaeganError:
    process = f"process {printable(holder['pid'])}" if "pid" in holder else "another process"
    if _is_on_another_machine(holder):
        return VaeganError(
            f"{directory} is in use by {process} on {printable(holder['host'])}: stop it there, or choose another"
            f" --run; if it was killed, wait {LEASE_SECONDS // 60} minutes or remove {directory / HOLDER_FILE}"
        )
    return VaeganError(f"{directory} is in use by {process}: wait for it, stop it, or choose another --run")
