"""A preparation that is killed, interrupted or damaged on the way comes to the bytes of one calm run."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from preparing import FLAGS, OPTIONS, Stop, contents

from vaegan.data.preprocess import pipeline, writer
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.preprocess import prepare
from vaegan.errors import Interrupted
from vaegan.events import TaskProgress


def start(zoo, out, *flags, **more):
    command = [sys.executable, "-m", "vaegan", "preprocess", str(zoo), "--out", str(out), *(flags or FLAGS)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)


def killed_and_rerun(zoo, calm, out, rng, span):
    """Kill the command a few times at random moments, then let it end; nothing else may lie about."""
    kills = 0
    for _ in range(rng.randint(1, 3)):
        process = start(zoo, out)
        try:
            process.wait(rng.uniform(0.1, span))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
        if out.exists():  # whatever is there is whole
            assert contents(out) == calm
    process = start(zoo, out)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert contents(out) == calm
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return kills


def repeat(zoo, calm, tmp_path, times):
    began = time.monotonic()
    process = start(zoo, tmp_path / "first" / "set")
    process.communicate()
    span = time.monotonic() - began
    rng = random.Random(times)
    kills = [killed_and_rerun(zoo, calm, tmp_path / str(n) / "set", rng, span) for n in range(times)]
    assert sum(kills) > 0


def test_killed_at_any_instant_it_goes_on_to_the_same_bytes(zoo, calm, tmp_path):
    repeat(zoo, calm, tmp_path, 2)


@pytest.mark.slow
def test_killed_twenty_times(zoo, calm, tmp_path):
    repeat(zoo, calm, tmp_path, 20)


@pytest.mark.parametrize("at", [1, 2, 30, 70, 96])
def test_stopped_while_saving_it_loses_little(zoo, calm, tmp_path, monkeypatch, at):
    saves, save = [], PreprocessDB.save_result

    def stopping(self, outcome, spots=None):
        saves.append(outcome.file_id)
        if len(saves) == at:
            raise Stop
        save(self, outcome, spots)
        self.commit()

    out = tmp_path / "sets" / "set"
    monkeypatch.setattr(PreprocessDB, "save_result", stopping)
    with pytest.raises(Stop):
        prepare([zoo], out, **OPTIONS)
    before = len(saves)
    assert prepare([zoo], out, **OPTIONS) == out
    assert contents(out) == calm
    assert before + len(saves[before:]) <= 97 + 2  # one file is done again, not all


@pytest.mark.parametrize("where", ["write_set", "write_sheet", "write_manifest", "draw_sheet"])
def test_stopped_while_publishing_it_goes_on(zoo, calm, tmp_path, monkeypatch, where):
    def stop(*arguments, **more):
        raise Stop

    monkeypatch.setattr(writer, where, stop)
    with pytest.raises(Stop):
        prepare([zoo], tmp_path / "sets" / "set", **OPTIONS)
    assert not (tmp_path / "sets" / "set").exists()
    monkeypatch.undo()
    seen = []
    out = prepare([zoo], tmp_path / "sets" / "set", on_event=seen.append, **OPTIONS)
    assert contents(out) == calm
    assert not [event for event in seen if isinstance(event, TaskProgress)]  # every file was done before


def test_stopped_after_publishing_it_tidies_up(zoo, calm, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    monkeypatch.setattr(pipeline.shutil, "rmtree", lambda *arguments, **more: None)
    prepare([zoo], out, **OPTIONS)
    monkeypatch.undo()
    assert len(list(out.parent.iterdir())) == 2
    prepare([zoo], out, **OPTIONS)
    assert contents(out) == calm and len(list(out.parent.iterdir())) == 1


def test_damaged_squares_are_made_again(zoo, calm, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(writer, "write_dataset", lambda *arguments: (_ for _ in ()).throw(Stop()))
        prepare([zoo], out, **OPTIONS)
    with (out.parent / ".preparing-set" / "squares.bin").open("rb+") as file:
        file.seek(5000)
        file.write(b"spoiled")
    prepare([zoo], out, **OPTIONS)
    assert contents(out) == calm


@pytest.mark.skipif(os.name != "posix", reason="signals are a POSIX matter")
def test_ctrl_c_leaves_a_state_to_go_on_from(zoo, calm, tmp_path):
    out = tmp_path / "sets" / "set"
    process = start(zoo, out, start_new_session=True)
    while not (out.parent / ".preparing-set" / "squares.bin").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = process.communicate(timeout=30)
    if process.returncode != 0:  # it may have been done by then
        assert process.returncode == 130 and "run the same command again to go on" in err, err
    assert start(zoo, out).wait(60) == 0
    assert contents(out) == calm


def test_ctrl_c_as_the_state_is_opened_says_how_to_go_on(zoo, calm, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise Interrupted("interrupted")

    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="run the same command again to go on"):
        patch.setattr(pipeline, "PreprocessDB", interrupted)
        prepare([zoo], out, **OPTIONS)
    prepare([zoo], out, **OPTIONS)
    assert contents(out) == calm
