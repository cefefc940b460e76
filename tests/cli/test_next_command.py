"""The command after "next" works as it is printed, also where the default run or the newest dataset is another."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from command_line import failing, run

TINY = ["--preset", "tiny", "--latent-dim", "8", "--batch-size", "8"]


def next_command(err):
    (line,) = re.findall(r"^ *next +vaegan (.*)$", err, flags=re.MULTILINE)
    return line


def dataset_of(run_dir):
    return Path(json.loads((run_dir / "config.json").read_text())["data"]["path"]).name


@pytest.fixture
def first_run(here, drawn, capsys):
    """A folder with the dataset data/first and its VAE, runs/vae."""
    assert run(capsys, "preprocess", drawn, "--size", "32", "--out", "data/first")[0] == 0
    assert run(capsys, "train-vae", "--steps", "1", *TINY)[0] == 0
    return here


@pytest.fixture
def second_dataset(first_run, drawn, capsys):
    """What is printed for data/second, a newer dataset."""
    status, _, err = run(capsys, "preprocess", drawn, "--size", "32", "--out", "data/second", "--val-fraction", "0.3")
    assert status == 0
    return err


def test_another_dataset_gets_another_run(capsys, second_dataset):
    command = next_command(second_dataset)
    assert command == "train-vae --run runs/vae-2"
    status, out, err = run(capsys, *shlex.split(command), "--steps", "1", *TINY)
    assert (status, out) == (0, "runs/vae-2\n") and dataset_of(Path("runs/vae-2")) == "second"
    assert next_command(err) == "train-gan --from-vae runs/vae-2"


def test_a_dataset_that_is_not_the_newest_is_named(capsys, second_dataset, drawn):
    os.utime("data/second/set.json", (2**31, 2**31))
    again = run(capsys, "preprocess", drawn, "--size", "32", "--out", "data/first")[2]
    assert next_command(again) == "train-vae data/first"
    status, out, _ = run(capsys, "train-vae", "data/first")
    assert (status, out) == (0, "runs/vae\n")


def test_a_finished_run_says_how_to_train_on_the_newest_dataset(capsys, second_dataset):
    status, out, err = run(capsys, "train-vae")
    assert (status, out) == (0, "runs/vae\n") and "runs/vae is finished" in err
    (line,) = [line for line in err.splitlines() if "the newest dataset" in line]
    assert line == (
        "runs/vae was started on data/first, not on data/second, the newest dataset. To train on that: vaegan"
        " train-vae data/second --run runs/vae-2"
    )
    assert "the newest dataset" not in run(capsys, "train-vae", "data/first")[2]  # asked for by name
    assert failing(capsys, "train-vae", "data/second").endswith("choose another --run, such as runs/vae-2")


def test_a_vae_whose_gan_would_be_another_run_gets_another_run(capsys, first_run):
    gan = ["--steps", "1", "--batch-size", "8"]
    assert run(capsys, "train-gan", "--from-vae", "runs/vae", *gan)[0] == 0
    assert next_command(run(capsys, "train-vae")[2]) == "train-gan --from-vae runs/vae"  # which resumes runs/gan
    status, _, err = run(capsys, "train-vae", "--run", "runs/my vae", "--steps", "1", "--seed", "1", *TINY)
    assert status == 0
    command = next_command(err)
    assert command == "train-gan --from-vae 'runs/my vae' --run runs/gan-2"
    status, out, _ = run(capsys, *shlex.split(command), *gan)
    assert (status, out) == (0, "runs/gan-2\n")


@pytest.mark.parametrize("is_run", [False, True])
def test_a_default_run_that_cannot_be_used_is_not_proposed(capsys, here, drawn, is_run):
    Path("runs/vae").mkdir(parents=True)
    Path("runs/vae-2").mkdir()
    Path("runs/vae", "config.json" if is_run else "notes.txt").write_text("{}")
    err = run(capsys, "preprocess", drawn, "--size", "32", "--out", "data/first")[2]
    assert next_command(err) == "train-vae --run runs/vae-3"
