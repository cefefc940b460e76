"""Locks of run directories."""

import json
import os
import platform
import subprocess
import sys
import time

import filelock
import pytest

from vaegan.cli import main
from vaegan.errors import VaeganError
from vaegan.events import Note, ignore_event
from vaegan.utils import lock
from vaegan.utils.lock import HOLDER_FILE, LEASE_SECONDS, LOCK_FILE, run_lock


def leave_lock(directory, **holder):
    """Leave the files of a killed process."""
    (directory / LOCK_FILE).touch()
    (directory / HOLDER_FILE).write_text(json.dumps(holder))


def test_a_second_process_is_refused_and_the_first_leaves_no_trace(tmp_path):
    run = tmp_path / "runs" / "gan"
    with run_lock(run, ignore_event):
        holder = json.loads((run / HOLDER_FILE).read_text())
        assert holder == {"pid": os.getpid(), "host": platform.node()}
        message = rf"gan is in use by process {os.getpid()}: wait for it, stop it, or"
        with pytest.raises(VaeganError, match=message) as caught, run_lock(run, ignore_event):
            pass
        assert "\n" not in str(caught.value)
        assert (run / LOCK_FILE).exists() and (run / HOLDER_FILE).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_cannot_be_read_is_not_named(tmp_path):
    with run_lock(tmp_path, ignore_event):
        (tmp_path / HOLDER_FILE).unlink()
        with pytest.raises(VaeganError, match="is in use by another process"), run_lock(tmp_path, ignore_event):
            pass


def test_files_written_under_the_lock_stay(tmp_path):
    with run_lock(tmp_path / "run", ignore_event):
        (tmp_path / "run" / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.parametrize("pid", [2**22 + 1, 1])
def test_the_lock_of_a_killed_process_is_taken_over_with_a_note(tmp_path, pid):
    """Process 1 lives, but does not hold the lock: after a restart, numbers belong to other processes."""
    leave_lock(tmp_path, pid=pid, host=platform.node())
    events = []
    with run_lock(tmp_path, events.append):
        assert json.loads((tmp_path / HOLDER_FILE).read_text())["pid"] == os.getpid()
    assert events == [Note(f"Took over {tmp_path} from process {pid}, which is gone")]


def test_the_lock_of_another_machine_is_respected_and_the_way_out_named(tmp_path):
    leave_lock(tmp_path, pid=12, host="node-7")
    message = rf"process 12 on node-7.*if it was killed, wait 5 minutes or remove {tmp_path / HOLDER_FILE}"
    with pytest.raises(VaeganError, match=message), run_lock(tmp_path, ignore_event):
        pass
    assert json.loads((tmp_path / HOLDER_FILE).read_text())["host"] == "node-7"


def test_the_lock_of_another_machine_is_taken_over_when_it_shows_no_sign_of_life(tmp_path):
    """Also that of this machine under a former name."""
    leave_lock(tmp_path, pid=12, host="node-7")
    past = (tmp_path / HOLDER_FILE).stat().st_mtime - LEASE_SECONDS - 5
    os.utime(tmp_path / HOLDER_FILE, (past, past))
    events = []
    with run_lock(tmp_path, events.append):
        assert json.loads((tmp_path / HOLDER_FILE).read_text())["pid"] == os.getpid()
    assert events == [Note(f"Took over {tmp_path} from process 12 on node-7, which is gone")]
    assert list(tmp_path.iterdir()) == []


def test_a_holder_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    with run_lock(tmp_path, ignore_event):
        os.utime(tmp_path / HOLDER_FILE, (0, 0))
        while (tmp_path / HOLDER_FILE).stat().st_mtime == 0:
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b"{", b'{"pid": "' + b"x" * 9999])
@pytest.mark.parametrize("name", [LOCK_FILE, HOLDER_FILE])
def test_broken_lock_files_are_taken_over(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with run_lock(tmp_path, ignore_event):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_is_used_where_the_file_system_has_no_locks(tmp_path, monkeypatch):
    """Some network folders: filelock's SoftFileLock takes over, and a second process is still refused."""
    monkeypatch.setattr("vaegan.utils.lock.FileLock", filelock.SoftFileLock)
    with run_lock(tmp_path, ignore_event):
        message = f"in use by process {os.getpid()}"
        with pytest.raises(VaeganError, match=message), run_lock(tmp_path, ignore_event):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    message = r"cannot lock .*choose another --run"
    with pytest.raises(VaeganError, match=message), run_lock(tmp_path / "file" / "run", ignore_event):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(VaeganError, match=r"cannot lock .*Permission denied"), run_lock(tmp_path, ignore_event):
        pass


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(37, "No locks available")])
def test_errors_of_the_file_system_become_one_line(tmp_path, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("vaegan.utils.lock.FileLock.acquire", fail)
    message = rf"cannot lock .*{LOCK_FILE}: {error.strerror}; choose another --run"
    with pytest.raises(VaeganError, match=message), run_lock(tmp_path, ignore_event):
        pass


def test_a_running_process_keeps_training_out_until_it_is_killed(prepared, vae_run, copy, capsys):
    run = copy(vae_run)
    code = (
        "import sys, time; from pathlib import Path; from vaegan.utils.lock import run_lock\n"
        "with run_lock(Path(sys.argv[1]), print): print('locked', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "5"]) == 1
        assert f"error: {run} is in use by process {holder.pid}: wait for it" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.wait()
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "5", "--device", "cpu"]) == 0
    assert f"Took over {run} from process {holder.pid}, which is gone" in capsys.readouterr().err
    assert not (run / LOCK_FILE).exists() and not (run / HOLDER_FILE).exists()
