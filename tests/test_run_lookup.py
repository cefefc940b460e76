"""Datasets and VAEs that have moved are found again, and images are cropped as in training wherever the dataset is."""

import json
import shutil

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from vaegan.checkpoint import read_weights_info
from vaegan.cli import main
from vaegan.inference.model import load
from vaegan.run_lookup import source_vae_for

TINY = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--precision", "fp32")


@pytest.fixture
def project(here, prepared, vae_run, gan_run):
    """A project folder with a dataset, a VAE run and a GAN run that record each other by their former place."""
    project = here / "project"
    shutil.copytree(prepared, project / "data" / "faces-32")
    shutil.copytree(vae_run, project / "runs" / "vae")
    shutil.copytree(gan_run, project / "runs" / "gan")
    for kind in ("vae", "gan"):
        path = project / "runs" / kind / "config.json"
        config = json.loads(path.read_text())
        config["data"] |= {"path": "/gone/data/faces-32", "relative_path": "../../data/faces-32"}
        if kind == "gan":
            config["from_vae"] |= {
                "path": "/gone/runs/vae/model.safetensors",
                "relative_path": "../vae/model.safetensors",
            }
        path.write_text(json.dumps(config))
    return project


def test_paths_are_recorded_relative_to_the_run_too(here, prepared, copy):
    data, run = copy(prepared), here / "runs" / "vae"
    assert main(["train-vae", str(data), "--run", str(run), "--steps", "1", *TINY, "-q"]) == 0
    record = json.loads((run / "config.json").read_text())["data"]
    assert record["path"] == str(data) and (run / record["relative_path"]).resolve() == data


@pytest.mark.parametrize("renamed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_moved_project_goes_on(project, monkeypatch, capsys, renamed):
    monkeypatch.chdir(project)
    if renamed:
        (project / "data" / "faces-32").rename(project / "data" / "other-name")
        (project / "runs" / "vae").rename(project / "runs" / "first")
    for kind, run in (("vae", "first" if renamed else "vae"), ("gan", "gan")):
        assert main([f"train-{kind}", "--run", f"runs/{run}", "--steps", "5"]) == 0
        assert "by its fingerprint: /gone/data/faces-32 does not exist" in capsys.readouterr().err
    assert (
        main(["train-gan", "--from-vae", "runs/first" if renamed else "runs/vae", "--run", "new", "--steps", "1"]) == 0
    )
    capsys.readouterr()


def test_a_copied_project_uses_its_own_dataset_and_calls_no_other_changed(here, project, prepared, capsys):
    config_path = project / "runs" / "vae" / "config.json"
    config = json.loads(config_path.read_text())
    config["data"]["path"] = str(prepared)
    config_path.write_text(json.dumps(config))
    assert main(["train-vae", "--run", "project/runs/vae", "--steps", "5"]) == 0
    err = capsys.readouterr().err
    assert "by its fingerprint" not in err and "has changed since" not in err
    (here / "elsewhere").mkdir()
    config["data"]["path"] = str(here / "elsewhere")  # no longer the dataset
    config_path.write_text(json.dumps(config))
    assert main(["train-vae", "--run", "project/runs/vae", "--steps", "6"]) == 0
    assert "Using project/data/faces-32, the dataset of project/runs/vae by its fingerprint" in capsys.readouterr().err


def test_the_vae_of_a_moved_gan_is_found_by_its_hash_even_if_it_was_trained_further(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    (project / "runs" / "vae").rename(project / "runs" / "first")
    notes = []
    found = source_vae_for(read_weights_info(project / "runs" / "gan"), notes.append)
    assert found == project / "runs" / "first" / "model.safetensors" and not notes
    assert main(["train-vae", "--run", "runs/first", "--steps", "5", "-q"]) == 0
    found = source_vae_for(read_weights_info(project / "runs" / "gan"), notes.append)
    assert found == project / "runs" / "first" / "checkpoints" / "step-0000004" / "model.safetensors" and not notes
    shutil.rmtree(project / "runs" / "first")
    assert source_vae_for(read_weights_info(project / "runs" / "gan"), notes.append) is None
    assert "is missing: its samples are not shown" in notes[0].text


def test_a_dataset_that_has_changed_is_not_called_the_models_own(here, drawn, capsys):
    faces = here / "faces"
    shutil.copytree(drawn, faces)
    assert main(["preprocess", str(faces), "--size", "32", "-q"]) == 0
    assert main(["train-vae", "--run", "vae", "--steps", "1", *TINY, "-q"]) == 0
    shutil.copy(next(faces.glob("*.png")), faces / "z.png")
    Image.new("RGB", (64, 64), "red").save(faces / "z.png")
    assert main(["preprocess", str(faces), "--size", "32", "-q"]) == 0
    capsys.readouterr()
    assert main(["train-gan", "--from-vae", "vae", "--run", "gan", "--steps", "1", "--batch-size", "8"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "warning: data/faces-32 has changed since vae was trained on it" in lines
    assert not any("which the VAE was trained on" in line for line in lines)
    assert main(["train-vae", "--run", "vae", "--steps", "2"]) == 1
    assert "is not the dataset that vae was trained on" in capsys.readouterr().err


@pytest.fixture
def padded(here):
    """A VAE of rectangles that were padded, not cropped, and a rectangle."""
    (here / "wide").mkdir()
    for index in range(8):
        image = Image.new("RGB", (128, 64), (20 * index, 90, 90))
        ImageDraw.Draw(image).ellipse((0, 10, 40, 50), fill=(240, 220, 60))
        image.save(here / "wide" / f"{index}.png")
    assert main(["preprocess", "wide", "--size", "32", "--fit", "pad", "--pad-mode", "color", "-q"]) == 0
    assert main(["train-vae", "--run", "vae", "--steps", "1", *TINY, "-q"]) == 0
    return here


def test_images_are_cropped_as_in_training_without_the_dataset(padded, capsys):
    assert main(["encode", "vae", "wide/3.png", "-o", "with.safetensors", "-q"]) == 0
    (padded / "data" / "wide-32").rename(padded / "elsewhere")
    (padded / "vae" / "model.safetensors").rename(padded / "alone.safetensors")
    assert main(["encode", "alone.safetensors", "wide/3.png", "-o", "without.safetensors"]) == 0
    assert "warning" not in capsys.readouterr().err
    latents = [load_file(padded / f"{name}.safetensors")["latents"] for name in ("with", "without")]
    assert torch.equal(*latents)
    assert load("alone.safetensors", "cpu").info.image_options["fit"] == "pad"


def test_weights_that_do_not_say_how_images_are_cropped_warn(padded, capsys, monkeypatch):
    monkeypatch.setattr("vaegan.training.train.image_options", lambda dataset: None)
    assert main(["train-vae", "--run", "old", "--steps", "1", *TINY, "-q"]) == 0
    monkeypatch.undo()
    monkeypatch.chdir(padded)
    assert main(["encode", "old", "wide/3.png", "-o", "a.safetensors"]) == 0  # the dataset says it
    assert "warning" not in capsys.readouterr().err
    shutil.rmtree(padded / "data")
    assert main(["encode", "old", "wide/3.png", "-o", "b.safetensors"]) == 0
    assert "does not say how its training images were cropped, and its dataset is missing" in capsys.readouterr().err
