"""Where results go: names that tell settings apart, folders without stale images, checks before the work."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from command_line import run
from vaegan.errors import UsageError
from vaegan.inference.model import load
from vaegan.utils.images import GRID_PADDING, make_grid

posix = pytest.mark.skipif(os.name != "posix", reason="needs directories that cannot be written")


def test_samples_of_other_settings_get_another_name(vae_run, here, capsys):
    names = set()
    for options in ([], ["--truncation", "0.5"], ["--scale", "2"], ["--seed", "9"], ["--reencode", "2"]):
        status, out, err = run(capsys, "sample", vae_run, "-n", 4, *options)
        assert status == 0 and "Replacing" not in err
        names.add(out.strip())
    assert "samples/vae-seeds-0-3-truncation-0.5.png" in names and len(names) == 5
    assert "samples/vae-seeds-0-3-reencode-2.png" in names
    plain, reencoded = (Image.open(f"samples/vae-seeds-0-3{name}.png") for name in ("", "-reencode-2"))
    expected = make_grid(load(vae_run, "cpu").sample(4, reencode=2), None, GRID_PADDING)
    assert torch.equal(pil_to_tensor(reencoded), expected) and not torch.equal(pil_to_tensor(plain), expected)
    status, _, err = run(capsys, "sample", vae_run, "-n", 4)
    assert status == 0 and "Replacing the older samples/vae-seeds-0-3.png" in err.splitlines()


def test_latents_and_reconstructions_of_other_images_get_another_name(vae_run, drawn, here, capsys):
    images = sorted(drawn.glob("*.png"))[:9]
    for command in ("encode", "reconstruct"):
        names = set()
        for sources in ([images[0]], [images[1]], images[:2], images[:6], images[:5] + images[6:7], [drawn]):
            status, out, err = run(capsys, command, vae_run, *sources)
            assert status == 0 and "Replacing" not in err
            names.add(out.splitlines()[0])
        assert len(names) == 6 and any(images[0].stem in name for name in names)
        assert "Replacing" in run(capsys, command, vae_run, images[0])[2]


def test_images_of_other_weights_do_not_stay_in_a_folder(vae_run, gan_run, here, capsys):
    assert run(capsys, "sample", vae_run, "-n", 6, "--separate", "-o", "faces")[0] == 0
    assert run(capsys, "sample", vae_run, "--seeds", "8-9", "--separate", "-o", "faces")[0] == 0
    assert len(list(Path("faces").iterdir())) == 8  # of the same weights: they stay
    before = {path.name: path.read_bytes() for path in Path("faces").iterdir()}
    status, _, err = run(capsys, "sample", gan_run, "-n", 2, "--separate", "-o", "faces")
    assert status == 1 and "faces holds 6 images of other weights: choose another --out, or add --force" in err
    assert before == {path.name: path.read_bytes() for path in Path("faces").iterdir()}
    status, _, err = run(capsys, "sample", gan_run, "-n", 2, "--separate", "-o", "faces", "--force")
    assert status == 0 and "Removed faces/seed-0000008.png, of other weights" in err.splitlines()
    assert sorted(path.name for path in Path("faces").iterdir()) == ["seed-0000000.png", "seed-0000001.png"]
    assert run(capsys, "sample", vae_run, "-n", 2, "--separate", "-o", "faces")[0] == 0  # all are replaced
    Image.new("RGB", (4, 4)).save("faces/mine.png")
    assert run(capsys, "sample", gan_run, "-n", 2, "--separate", "-o", "faces")[0] == 1
    assert run(capsys, "sample", gan_run, "-n", 1, "--separate", "-o", "faces", "--force")[0] == 0
    assert sorted(path.name for path in Path("faces").iterdir()) == ["mine.png", "seed-0000000.png"]


def test_a_grid_of_too_many_pixels_is_refused_before_anything_is_drawn(vae_run, here, capsys, monkeypatch):
    monkeypatch.setattr("vaegan.inference.model.Model.decode", None)
    for command in (["-n", 1_000_000], ["-n", 1000, "--scale", 16], ["--pick", 8000, "--scale", 8]):
        status, out, err = run(capsys, "sample", vae_run, *command)
        assert (status, out) == (2, "") and "do not fit in one grid" in err and len(err.splitlines()) == 1
    assert run(capsys, "info", vae_run, "--outliers", "-n", 8192, "--scale", 16)[0] == 2
    assert not list(here.iterdir())


OUT_COMMANDS = {
    "sample": ["sample", "VAE", "-o", "OUT.png"],
    "sample --pick": ["sample", "VAE", "--pick", "4", "-o", "OUT.png"],
    "sample --separate": ["sample", "VAE", "--separate", "-o", "OUT"],
    "interpolate": ["interpolate", "VAE", "-o", "OUT"],
    "reconstruct": ["reconstruct", "VAE", "IMAGES", "-o", "OUT.png"],
    "encode": ["encode", "VAE", "IMAGES", "-o", "OUT.safetensors"],
    "evaluate": ["evaluate", "VAE", "-o", "OUT"],
    "compare": ["compare", "VAE", "GAN", "-o", "OUT"],
    "report": ["report", "VAE", "-o", "OUT.html"],
    "timelapse": ["timelapse", "VAE", "-o", "OUT.gif"],
    "outliers": ["info", "VAE", "--outliers", "-o", "OUT.png"],
    "preprocess": ["preprocess", "IMAGES", "-o", "OUT"],
}


@posix
@pytest.mark.parametrize("command", OUT_COMMANDS)
@pytest.mark.parametrize("place", ["a file", "a long name", "/proc"])
def test_an_unwritable_out_is_refused_before_the_work(
    command, place, vae_run, gan_run, drawn, here, capsys, monkeypatch
):
    for work in (
        "vaegan.inference.model.Model.decode",
        "vaegan.inference.model.Model.encode",
        "vaegan.evaluation.evaluate.Evaluator.__init__",
        "vaegan.data.preprocess.preprocess.run_pipeline",
        "vaegan.evaluation.pick.pick_seeds",
    ):
        monkeypatch.setattr(work, None)
    (here / "file").write_text("mine")
    out = {"a file": "file/x/out", "a long name": "z" * 300, "/proc": "/proc/nothing/out"}[place]
    names = {"VAE": str(vae_run), "GAN": str(gan_run), "IMAGES": str(drawn)}
    status, printed, err = run(capsys, *(names.get(part, part.replace("OUT", out)) for part in OUT_COMMANDS[command]))
    (line,) = err.splitlines()
    assert (status, printed) == (1, "") and line.startswith("error: ") and ("--out" in line or "too long" in line)
    assert [path.name for path in here.iterdir()] == ["file"]


def test_the_demo_refuses_a_folder_of_the_users_images(drawn, copy, capsys):
    mine = copy(drawn)
    shutil.move(mine / "face-00000.png", mine / "holiday.png")
    before = sorted(mine.rglob("*"))
    status, out, err = run(capsys, "demo", mine, "--minutes", 1)
    assert (status, out) == (1, "") and "which is not of the demo: choose another folder, or add --force" in err
    assert f"to train on your own images: vaegan preprocess {mine}" in err and sorted(mine.rglob("*")) == before


def test_no_samples_are_no_images(vae_run):
    model = load(vae_run, "cpu")
    assert model.sample(0).shape == (0, 3, 32, 32)
    assert model.sample(2).shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="n=-1: expected 0 or more images"):
        model.sample(-1)
