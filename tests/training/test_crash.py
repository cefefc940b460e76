"""Whatever ends a life of a run, the next goes on to the same files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import child_environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to load PyTorch once for many lives")

DRIVER = Path(__file__).with_name("crashing.py")


def crash(*arguments):
    done = subprocess.run(
        [sys.executable, str(DRIVER), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=child_environment(OMP_NUM_THREADS="1"),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def crashed(prepared, tmp_path_factory):
    return crash("all", prepared, tmp_path_factory.mktemp("crashed"))


def test_killed_ten_times_at_random_instants_it_ends_in_the_same_files(crashed):
    assert crashed["random"]["kills"] == 10 and crashed["random"]["steps"] >= 2


@pytest.mark.parametrize("scenario", ["renames", "replacing"])
def test_killed_between_renames_it_ends_in_the_same_files(crashed, scenario):
    """A checkpoint that replaces a damaged one takes two renames; a kill comes between them too (all: slow test)."""
    assert crashed[scenario]["beyond the last"] > 10


def test_killed_while_it_goes_back_from_a_collapse_it_ends_in_the_same_files(crashed):
    assert crashed["collapse"]["kills"] == 7


def test_a_disk_that_is_full_while_saving(crashed):
    found = crashed["full"]
    assert found["status"] == 1 and found["left"] == ["step-0000002"] and found["same"]
    assert found["line"].startswith("error: cannot save checkpoint") and "too large" in found["line"]
    assert "step-0000002 is intact: free disk space or make it writable, then run the same command" in found["line"]


def test_a_directory_made_read_only_while_it_trains(crashed):
    found = crashed["readonly"]
    assert found["status"] == 3 and found["left"] == ["step-0000001", "step-0000002"]
    assert found["line"].startswith("cannot save checkpoint") and "step-0000003: Permission denied" in found["line"]
    assert "step-0000002 is intact: free disk space or make it writable" in found["line"]


@pytest.mark.slow
def test_killed_before_every_single_rename(prepared, tmp_path):
    crash("renames", prepared, tmp_path)


@pytest.mark.slow
def test_killed_before_everything_that_a_run_does_after_a_collapse(prepared, tmp_path):
    assert crash("collapse", prepared, tmp_path)["collapse"]["beyond the last"] > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_killed_a_hundred_times_it_ends_in_the_same_files(kind, prepared, vae_run, tmp_path):
    started = [vae_run] if kind == "gan" else []
    assert crash("random", prepared, tmp_path, 100, *started)["random"]["kills"] == 100
