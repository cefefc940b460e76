"""vaegan.export and vaegan.timelapse: the same as the commands, from Python."""

from pathlib import Path

import pytest
import torch

import vaegan
from vaegan.cli import main
from vaegan.errors import UsageError, VaeganError
from vaegan.events import FileWritten


def test_a_hub_folder_is_that_of_the_command(gan_run, here):
    events = []
    assert vaegan.export(gan_run, hub="faces", on_event=events.append) == {"hub": Path("faces")}
    assert any(isinstance(event, FileWritten) and event.kind == "hub" for event in events)
    Path("command").mkdir()
    assert main(["export", str(gan_run), "--hub", "command/faces", "-q"]) == 0
    for path in Path("faces").iterdir():
        assert path.read_bytes() == Path("command/faces", path.name).read_bytes(), path.name
    assert torch.equal(vaegan.load("faces", "cpu").sample(2), vaegan.load(gan_run, "cpu").sample(2))


def test_onnx_files_have_the_same_default_place_as_those_of_the_command(vae_run, here):
    pytest.importorskip("onnxscript")
    paths = vaegan.export(vae_run, onnx=True, hub="faces")
    assert paths == {
        "decoder": Path("exports/vae-decoder.onnx"),
        "encoder": Path("exports/vae-encoder.onnx"),
        "hub": Path("faces"),
    }
    assert all(path.exists() for path in paths.values())


def test_the_best_weights_are_exported(gan_run, here):
    vaegan.export(gan_run, hub="faces", best=True)
    assert Path("faces/model.safetensors").read_bytes() == (gan_run / "best.safetensors").read_bytes()


def test_contradictions_and_missing_runs_are_refused(gan_run, here):
    with pytest.raises(UsageError, match="--push ann/faces goes with --hub"):
        vaegan.export(gan_run, push="ann/faces")
    with pytest.raises(UsageError, match="names ONNX files"):
        vaegan.export(gan_run, "exports/x", hub="faces")
    with pytest.raises(VaeganError, match="nowhere"):
        vaegan.export("nowhere", hub="faces")
    assert not any(here.iterdir())


def test_a_timelapse_is_that_of_the_command(gan_run, here):
    path = vaegan.timelapse(gan_run, scale=2, captions=False)
    assert path == Path("samples/gan-timelapse.gif")
    content = path.read_bytes()
    assert main(["timelapse", str(gan_run), "--scale", "2", "--no-captions", "-q"]) == 0
    assert path.read_bytes() == content
    assert vaegan.timelapse(gan_run, "mine", format="webp") == Path("mine.webp")
    with pytest.raises(UsageError, match="--fps"):
        vaegan.timelapse(gan_run, fps=1000)
