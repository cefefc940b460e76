"""What older versions wrote opens for ever: info, sample, encode, going on, and a GAN from the VAE."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import vaegan
from vaegan.checkpoint import WEIGHTS_FORMAT_VERSION
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.utils.images import from_pil, make_grid

HERE = Path(__file__).parent
FORMATS = sorted(path.name for path in HERE.glob("format-*"))


@pytest.fixture(params=FORMATS)
def golden(request, here):
    """A copy of a version's files, in the working directory, as their paths are relative."""
    shutil.copytree(HERE / request.param, here, dirs_exist_ok=True)
    return request.param


def test_every_format_has_its_golden_files():
    assert [f"format-{version}" for version in range(2, WEIGHTS_FORMAT_VERSION + 1)] == FORMATS


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_golden_weights_draw_what_they_drew(golden, kind):
    drawn = make_grid(vaegan.load(kind, "cpu").sample(4))
    stored = from_pil(Image.open(f"{kind}.png"))
    assert (drawn.int() - stored.int()).abs().max() <= 1  # processors round differently


def test_golden_pictures_are_read_and_encoded(golden):
    train, held_out = open_dataset(Path("set")).load()
    assert (len(train), len(held_out)) == (3, 1)
    assert vaegan.load("gan", "cpu").encode(train).isfinite().all()


@pytest.mark.parametrize("what", ["set", "vae", "gan", "gan/checkpoints/step-0000002", "vae/model.safetensors"])
def test_golden_files_are_explained(golden, what, capsys):
    assert main(["info", what]) == 0
    assert "made by" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_golden_runs_go_on(golden, kind):
    before = vaegan.load(kind, "cpu").sample(2)
    assert main([f"train-{kind}", "--run", kind, "--steps", "3", "-q"]) == 0
    assert Path(kind, "checkpoints", "step-0000003", "state.json").is_file()
    assert not torch.equal(vaegan.load(kind, "cpu").sample(2), before)


def test_a_gan_starts_from_a_golden_vae(golden):
    assert main(["train-gan", "--from-vae", "vae", "--run", "new", "--steps", "1", "--batch-size", "2", "-q"]) == 0
