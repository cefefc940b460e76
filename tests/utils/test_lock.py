"""One process per run."""

import json
import os
import platform
import subprocess
import sys

import pytest

from vaegan.cli import main
from vaegan.errors import VaeganError
from vaegan.events import Note, ignore_event
from vaegan.utils.lock import LOCK_FILE, run_lock


def leave(directory, **said):
    directory.mkdir(exist_ok=True)
    (directory / LOCK_FILE).write_text(json.dumps(said))


def test_a_second_process_is_refused_and_the_first_leaves_no_trace(tmp_path):
    run = tmp_path / "runs" / "gan"
    with run_lock(run, ignore_event):
        said = json.loads((run / LOCK_FILE).read_text())
        assert said == {"pid": os.getpid(), "host": platform.node()}
        words = rf"gan is in use by process {os.getpid()}: wait for it, stop it, or"
        with pytest.raises(VaeganError, match=words) as caught, run_lock(run, ignore_event):
            pass
        assert "\n" not in str(caught.value)
        assert (run / LOCK_FILE).exists()
    assert list(tmp_path.iterdir()) == []


def test_what_the_work_wrote_stays(tmp_path):
    with run_lock(tmp_path / "run", ignore_event):
        (tmp_path / "run" / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.parametrize("pid", [2**22 + 1, 1])
def test_the_lock_of_a_process_that_is_gone_is_taken_over_and_told(tmp_path, pid):
    """Number 1 lives, but does not hold the file: the number went to another process, as after a restart."""
    leave(tmp_path, pid=pid, host=platform.node())
    told = []
    with run_lock(tmp_path, told.append):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert told == [Note(f"Took over {tmp_path} from process {pid}, which is gone")]


def test_the_lock_of_another_machine_is_respected_and_the_way_out_told(tmp_path):
    leave(tmp_path, pid=12, host="node-7")
    words = rf"process 12 on node-7.*if it is gone, remove {tmp_path / LOCK_FILE}"
    with pytest.raises(VaeganError, match=words), run_lock(tmp_path, ignore_event):
        pass
    assert json.loads((tmp_path / LOCK_FILE).read_text())["host"] == "node-7"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b"{", b'{"pid": "' + b"x" * 9999])
def test_a_lock_file_that_says_nothing_is_taken_over(tmp_path, content):
    (tmp_path / LOCK_FILE).write_bytes(content)
    with run_lock(tmp_path, ignore_event):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    words = r"cannot write .*choose another --run"
    with pytest.raises(VaeganError, match=words), run_lock(tmp_path / "file" / "run", ignore_event):
        pass


def test_a_running_process_keeps_training_out_and_its_death_lets_it_in(prepared, vae_run, copy, capsys):
    run = copy(vae_run)
    code = (
        "import sys, time; from pathlib import Path; from vaegan.utils.lock import locked\n"
        "with locked(Path(sys.argv[1]), print): print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "5"]) == 1
        assert f"error: {run} is in use by process {holder.pid}: wait for it" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.wait()
    assert main(["train-vae", str(prepared), "--run", str(run), "--steps", "5", "--device", "cpu"]) == 0
    assert f"Took over {run} from process {holder.pid}, which is gone" in capsys.readouterr().err
    assert not (run / LOCK_FILE).exists()
