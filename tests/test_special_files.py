"""Pipes, sockets, devices, directories and broken links in place of a file end a command in one line."""

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from vaegan.cli import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="such files are POSIX only")
MAX_SECONDS = 600  # a command that waits for a pipe would never end

TRAIN_TINY = "--preset tiny --latent-dim 8 --batch-size 8 --steps 5 --evaluate-every 0"
# Files of a copied dataset, run and folder of images, and the commands that read them.
FILES = {
    "set/set.json": (
        *("info {set}", "train-vae {set} --run new " + TRAIN_TINY, "encode {vae} {set}", "evaluate {vae} {set} -n 16"),
        *("preprocess {faces} --out {set} --size 32 --val-fraction 0.2", "preprocess {set} --size 32"),
    ),
    "set/images-00000.safetensors": (
        *("train-vae {set} --run new " + TRAIN_TINY, "reconstruct {vae} {set}", "evaluate {vae} {set} -n 16"),
        *("preprocess {faces} --out {set} --size 32 --val-fraction 0.2", "interpolate {vae} --from {set} --to {set}"),
    ),
    "set/manifest.jsonl": ("encode {vae} {set}", "info {set}", "preprocess {faces} --out {set} --size 32"),
    "set/features.safetensors": ("evaluate {vae} {set} -n 16",),
    "vae/config.json": ("info {vae}", "report {vae}", "train-vae {set} --run {vae} --steps 6", "timelapse {vae}"),
    "vae/metrics.jsonl": ("info {vae}", "report {vae}", "train-vae {set} --run {vae} --steps 6"),
    "vae/model.safetensors": (
        *("info {vae}", "sample {vae} -n 1", "train-vae {set} --run {vae} --steps 6", "report {vae}"),
        *("train-gan {set} --from-vae {vae} --run new --steps 1 --batch-size 8", "info {vae}/model.safetensors"),
    ),
    "vae/run.lock": ("train-vae {set} --run {vae} --steps 6",),
    "vae/run.lock.json": ("train-vae {set} --run {vae} --steps 6",),
    "vae/previews/step-0000004.png": ("timelapse {vae}", "report {vae}"),
    "vae/checkpoints/step-0000004/state.json": ("train-vae {set} --run {vae} --steps 6",),
    "vae/checkpoints/step-0000004/training.safetensors": ("train-vae {set} --run {vae} --steps 6",),
    "latents.safetensors": ("decode {vae} {path}", "encode {vae} {faces} --out {path}"),
    **{
        f"faces/{name}": (
            *("preprocess {faces} --out new --size 32", "preprocess {path} --out new --size 32"),
            *("encode {vae} {faces}", "reconstruct {vae} {path}", "interpolate {vae} --from {path} --to {face}"),
        )
        for name in ("x.png", "x.zip", "x.cbz", "x.tar", "x.tar.gz")
    },
}
PAIRS = [(name, command) for name, commands in FILES.items() for command in commands]


def make_socket(path):
    folder = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most about 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(folder)


SPECIAL_FILES = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "directory": lambda path: path.mkdir(),
    "dangling link": lambda path: path.symlink_to(path.parent / "nothing"),
    "cyclic link": lambda path: path.symlink_to(path),
}


@pytest.fixture(scope="module")
def originals(prepared, vae_run, drawn, tmp_path_factory):
    """A dataset with features, a run, and a folder with a few faces."""
    folder = tmp_path_factory.mktemp("special") / "originals"
    shutil.copytree(prepared, folder / "set")
    shutil.copytree(vae_run, folder / "vae")
    (folder / "faces").mkdir()
    for path in sorted(drawn.glob("*.png"))[:3]:
        shutil.copy(path, folder / "faces")
    return folder


@pytest.fixture
def no_endless_wait():
    def give_up(number, frame):
        raise AssertionError("the command does not end")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MAX_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def check_command(originals, folder, name, command, kind, capsys):
    """Run a command on copies of which one file is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(originals, folder)
    path = folder / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    SPECIAL_FILES[kind](path)
    os.chdir(folder)
    places = {place: folder / place for place in ("set", "vae", "faces")}
    arguments = command.format(path=path, face=next((folder / "faces").glob("face*.png"), ""), **places).split()
    status = main([*arguments, "-q"] if arguments[0] != "info" else arguments)
    err = capsys.readouterr().err
    assert status in (0, 1, 2), err
    assert "a bug in vaegan" not in err and "Traceback" not in err, err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == (status != 0), err
    assert not errors or len(errors[0]) < 1000


@pytest.mark.usefixtures("no_endless_wait")
@pytest.mark.parametrize(("name", "command"), PAIRS)
def test_a_pipe_in_place_of_a_file(originals, here, capsys, name, command):
    check_command(originals, here / "copy", name, command, "pipe", capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("no_endless_wait")
@pytest.mark.parametrize("kind", [kind for kind in SPECIAL_FILES if kind != "pipe"])
@pytest.mark.parametrize(("name", "command"), PAIRS)
def test_any_special_file_in_place_of_a_file(originals, here, capsys, name, command, kind):
    check_command(originals, here / "copy", name, command, kind, capsys)
