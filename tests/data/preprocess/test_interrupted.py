"""A preparation that is killed, interrupted or damaged gives the same bytes as an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from preprocess_helpers import FLAGS, OPTIONS, Killed, kill, read_files

from vaegan.data.preprocess import pipeline, writer
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.preprocess import prepare
from vaegan.errors import Interrupted
from vaegan.events import TaskProgress


def start_process(source, out, **popen_options):
    command = [sys.executable, "-m", "vaegan", "preprocess", str(source), "--out", str(out), *FLAGS]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **popen_options)


def kill_and_rerun(source, expected_files, out, rng, max_seconds):
    """Kill the command a few times at random moments, then let it finish. Returns the number of kills."""
    kills = 0
    for _ in range(rng.randint(1, 3)):
        process = start_process(source, out)
        try:
            process.wait(rng.uniform(0.1, max_seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
        if out.exists():  # a dataset that exists is complete
            assert read_files(out) == expected_files
    process = start_process(source, out)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert read_files(out) == expected_files
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return kills


def kill_repeatedly(source, expected_files, tmp_path, times):
    start_time = time.monotonic()
    process = start_process(source, tmp_path / "first" / "set")
    process.communicate()
    max_seconds = time.monotonic() - start_time
    rng = random.Random(times)
    kills = [
        kill_and_rerun(source, expected_files, tmp_path / str(index) / "set", rng, max_seconds)
        for index in range(times)
    ]
    assert sum(kills) > 0


def test_a_killed_preparation_resumes_to_the_same_bytes(mixed_sources, expected_files, tmp_path):
    kill_repeatedly(mixed_sources, expected_files, tmp_path, 2)


@pytest.mark.slow
def test_killed_twenty_times(mixed_sources, expected_files, tmp_path):
    kill_repeatedly(mixed_sources, expected_files, tmp_path, 20)


@pytest.mark.parametrize("save_count", [1, 2, 30, 70, 96])
def test_a_kill_while_saving_costs_one_file(mixed_sources, expected_files, tmp_path, monkeypatch, save_count):
    saved, save_result = [], PreprocessDB.save_result

    def save_until_killed(self, result):
        saved.append(result.file_id)
        if len(saved) == save_count:
            raise Killed
        save_result(self, result)
        self.commit()

    out = tmp_path / "sets" / "set"
    monkeypatch.setattr(PreprocessDB, "save_result", save_until_killed)
    with pytest.raises(Killed):
        prepare([mixed_sources], out, **OPTIONS)
    assert prepare([mixed_sources], out, **OPTIONS) == out
    assert read_files(out) == expected_files
    assert len(saved) <= 97 + 2  # one file is processed again, not all


@pytest.mark.parametrize("function", ["write_dataset", "write_bytes", "write_manifest", "draw_dataset_preview"])
def test_a_kill_while_writing_the_dataset_resumes(mixed_sources, expected_files, tmp_path, monkeypatch, function):
    monkeypatch.setattr(writer, function, kill)
    with pytest.raises(Killed):
        prepare([mixed_sources], tmp_path / "sets" / "set", **OPTIONS)
    assert not (tmp_path / "sets" / "set").exists()
    monkeypatch.undo()
    events = []
    out = prepare([mixed_sources], tmp_path / "sets" / "set", on_event=events.append, **OPTIONS)
    assert read_files(out) == expected_files
    assert not [event for event in events if isinstance(event, TaskProgress)]  # no file is processed again


def test_a_kill_before_the_state_is_removed_is_cleaned_up(mixed_sources, expected_files, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    monkeypatch.setattr(pipeline, "remove_tree", lambda path: None)
    prepare([mixed_sources], out, **OPTIONS)
    monkeypatch.undo()
    assert len(list(out.parent.iterdir())) == 2
    prepare([mixed_sources], out, **OPTIONS)
    assert read_files(out) == expected_files and len(list(out.parent.iterdir())) == 1


def test_damaged_pixels_are_prepared_again(mixed_sources, expected_files, tmp_path, monkeypatch):
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writer, "write_dataset", kill)
        prepare([mixed_sources], out, **OPTIONS)
    with (out.parent / ".preparing-set" / "images.bin").open("rb+") as file:
        file.seek(5000)
        file.write(b"damaged")
    prepare([mixed_sources], out, **OPTIONS)
    assert read_files(out) == expected_files


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_saves_the_state(mixed_sources, expected_files, tmp_path):
    out = tmp_path / "sets" / "set"
    process = start_process(mixed_sources, out, start_new_session=True)
    while not (out.parent / ".preparing-set" / "images.bin").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: also to the workers
    _, err = process.communicate()
    if process.returncode != 0:  # it may have finished before
        assert process.returncode == 130 and "run the same command again to resume" in err, err
    assert start_process(mixed_sources, out).wait() == 0
    assert read_files(out) == expected_files


def test_ctrl_c_while_the_state_is_opened_says_how_to_resume(mixed_sources, expected_files, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise Interrupted("interrupted")

    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="run the same command again to resume"):
        patch.setattr(pipeline, "PreprocessDB", interrupt)
        prepare([mixed_sources], out, **OPTIONS)
    prepare([mixed_sources], out, **OPTIONS)
    assert read_files(out) == expected_files
