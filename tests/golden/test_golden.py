"""Files of every format version since 2 can be described, sampled, encoded, resumed, and used to start a GAN."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import vaegan
from vaegan.checkpoint import WEIGHTS_FORMAT_VERSION
from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.run_dir import RunDir
from vaegan.utils.images import from_pil, make_grid

GOLDEN_DIR = Path(__file__).parent
FORMATS = sorted(path.name for path in GOLDEN_DIR.glob("format-*"))


@pytest.fixture(params=FORMATS)
def golden(request, here):
    """A copy of a version's files in the working directory, because their paths are relative."""
    shutil.copytree(GOLDEN_DIR / request.param, here, dirs_exist_ok=True)
    return request.param


def test_every_format_has_golden_files():
    assert [f"format-{version}" for version in range(2, WEIGHTS_FORMAT_VERSION + 1)] == FORMATS


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_golden_weights_give_the_stored_images(golden, kind):
    images = make_grid(vaegan.load(kind, "cpu").sample(4))
    stored = from_pil(Image.open(f"{kind}.png"))
    assert (images.int() - stored.int()).abs().max() <= 1  # processors round differently


def test_golden_datasets_are_read_and_encoded(golden):
    train, val = open_dataset(Path("set")).load()
    assert (len(train), len(val)) == (3, 1)
    assert vaegan.load("gan", "cpu").encode(train).isfinite().all()


@pytest.mark.parametrize("path", ["set", "vae", "gan", "gan/checkpoints/step-0000002", "vae/model.safetensors"])
def test_golden_files_are_described(golden, path, capsys):
    assert main(["info", path]) == 0
    assert "version" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_golden_runs_are_resumed(golden, kind):
    before = vaegan.load(kind, "cpu").sample(2)
    assert main([f"train-{kind}", "--run", kind, "--steps", "3", "-q"]) == 0
    assert Path(kind, "checkpoints", "step-0000003", "state.json").is_file()
    assert not torch.equal(vaegan.load(kind, "cpu").sample(2), before)
    if kind == "gan":  # it was started before the option
        assert RunDir(Path(kind)).read_config()["options"]["d_recon_weight"] == 0


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_options_of_golden_runs_are_taken_over(golden, kind):
    assert main([f"train-{kind}", "set", "--config", f"{kind}/config.json", "--run", "new", "--steps", "1", "-q"]) == 0
    options = [RunDir(Path(run)).read_config()["options"] for run in (kind, "new")]
    changed = {name for name in options[0] if options[0][name] != options[1].get(name)}
    assert not changed & {"d_recon_weight", "patch_weight", "batch_size", "preset", "log"}


def test_a_gan_starts_from_a_golden_vae(golden):
    assert main(["train-gan", "--from-vae", "vae", "--run", "new", "--steps", "1", "--batch-size", "2", "-q"]) == 0
