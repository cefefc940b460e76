"""Pictures to latents and back by the command line: reconstruct, encode, decode and info --outliers."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_pipeline import failing, run

from vaegan.checkpoint import load_tensors
from vaegan.data.dataset import open_dataset
from vaegan.inference.model import load
from vaegan.metrics.image_quality import psnr
from vaegan.utils.images import from_pil, save_png, to_float, to_pil


@pytest.fixture
def pictures(here, prepared):
    """The first training pictures of the set as files, one of another mode and size."""
    train, _ = open_dataset(prepared).load()
    for index in range(3):
        save_png(train[index], Path(f"{index}.png"))
    to_pil(train[0]).convert("L").resize((50, 90)).save("odd.jpg")
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    return train[:3]


def test_reconstruct_shows_pairs_and_errors(capsys, pictures, vae_run):
    status, out, err = run(capsys, "reconstruct", vae_run, "2.png", "0.png", "odd.jpg", "broken.png", "--json")
    assert status == 0
    said = json.loads(out)
    assert said["grid"] == "samples/vae-reconstructions.png"
    assert [row["picture"] for row in said["images"]] == ["2.png", "0.png", "odd.jpg"]
    assert "warning: broken.png: not a picture" in err
    model = load(vae_run, "cpu")
    decoded = model.reconstruct(pictures[[2, 0]])
    expected = psnr(to_float(pictures[[2, 0]]), to_float(decoded))
    assert [row["psnr"] for row in said["images"]][:2] == pytest.approx(expected.tolist(), abs=1e-3)
    sheet = from_pil(Image.open(said["grid"]))
    assert torch.equal(sheet[:, 2:34, 2:34], pictures[2]) and torch.equal(sheet[:, 2:34, 36:68], decoded[0])
    status, out, _ = run(capsys, "reconstruct", vae_run, "0.png", "-o", "one.png", "--scale", "2", "-q")
    assert status == 0 and out.splitlines()[0] == "one.png" and out.splitlines()[2].startswith("0.png ")
    assert Image.open("one.png").size == (140, 72)


def test_pictures_are_squared_as_the_set_was(capsys, here, drawn, tmp_path):
    """A grey set that was padded with black, and a model of it: a wide red picture gets black bars, one channel."""
    assert run(capsys, "preprocess", drawn, "--size", "32", "--fit", "pad", "--pad-mode", "color", "--background", "black",
               "--grayscale", "--min-side", "40", "-o", "data/padded", "-q")[0] == 0  # fmt: skip
    tiny = ["--preset", "tiny", "--latent-dim", "4", "--batch-size", "4", "--steps", "1", "-q"]
    assert run(capsys, "train-vae", "data/padded", *tiny)[0] == 0
    Image.new("RGB", (20, 10), "red").save("wide.png")
    assert run(capsys, "reconstruct", "runs/vae", "wide.png", "-o", "sheet.png", "-q")[0] == 0
    shown = from_pil(Image.open("sheet.png"))[:, 2:34, 2:34]
    assert shown.shape[0] == 1
    assert (shown[:, :7] == 0).all() and (shown[:, -7:] == 0).all() and (shown[:, 10:22] > 60).all()


def test_latents_go_to_a_file_and_back(capsys, pictures, vae_run, prepared):
    assert run(capsys, "encode", vae_run, "0.png", "1.png")[:2] == (0, "latents/vae.safetensors\n")
    stored = load_tensors(Path("latents/vae.safetensors"))
    model = load(vae_run, "cpu")
    assert torch.equal(stored["latents"], model.encode(pictures[:2]))
    assert json.loads(bytes(stored["names"].tolist())) == ["0.png", "1.png"]
    status, out, err = run(capsys, "decode", vae_run, "latents/vae.safetensors", "--separate")
    assert (status, out) == (0, "samples/vae-vae\n") and "other weights" not in err
    decoded = model.reconstruct(pictures[:2])
    for index in range(2):
        assert torch.equal(from_pil(Image.open(f"samples/vae-vae/latent-000000{index}.png")), decoded[index])
    assert run(capsys, "decode", vae_run, "latents/vae.safetensors", "-o", "sheet.png")[:2] == (0, "sheet.png\n")
    assert run(capsys, "encode", vae_run, prepared, "-o", "set.safetensors", "-q")[0] == 0
    train, held_out = open_dataset(prepared).load()
    expected = torch.cat([model.encode(held_out), model.encode(train)])
    torch.testing.assert_close(load_tensors(Path("set.safetensors"))["latents"], expected)


def test_latents_of_another_encoder_are_told(capsys, pictures, vae_run, gan_run, prepared):
    assert run(capsys, "encode", vae_run, "0.png")[0] == 0
    status, _, err = run(capsys, "decode", gan_run, "latents/vae.safetensors")
    assert status == 0 and "other weights" not in err  # a GAN has the encoder that it came with
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "1", "--seed", "9", "-q")
    assert run(capsys, "train-vae", prepared, "--run", "theirs", *tiny)[0] == 0
    status, _, err = run(capsys, "decode", "theirs", "latents/vae.safetensors")
    assert status == 0 and "warning: latents/vae.safetensors was encoded by other weights" in err
    save_file({"latents": torch.randn(3, 8).half()}, "theirs.safetensors")
    assert run(capsys, "decode", gan_run, "theirs.safetensors", "-q")[0] == 0


def test_outliers_are_the_pictures_that_are_reconstructed_worst(capsys, here, vae_run, prepared):
    status, out, _ = run(capsys, "info", vae_run, "--outliers", "-n", "5", "--json")
    said = json.loads(out)
    assert status == 0 and said["grid"] == "samples/vae-outliers.png" and said["dataset"] == str(prepared)
    model, (train, held_out), names = (
        load(vae_run, "cpu"),
        open_dataset(prepared).load(),
        open_dataset(prepared).image_names(),
    )
    both = torch.cat([train, held_out])
    errors = psnr(to_float(both), to_float(model.reconstruct(both)))
    labels = [f"{name} ({split})" for part, split in zip(names, ("train", "val"), strict=True) for name in part]
    worst = [labels[row] for row in errors.argsort()[:5].tolist()]
    assert [row["picture"] for row in said["images"]] == worst
    status, out, _ = run(capsys, "info", vae_run, "--outliers", "-n", "2", "-o", "two.png", "-q")
    assert status == 0 and out.splitlines()[0] == "two.png" and out.splitlines()[2].startswith(worst[0])


def test_names_of_a_set_without_a_manifest(copy, prepared):
    place = copy(prepared)
    train, held_out = open_dataset(place).image_names()
    assert all(name.endswith(".png") for name in train + held_out)
    (place / "manifest.jsonl").write_text('{"row": 3}\nnonsense\n')
    counts = open_dataset(place).counts
    assert open_dataset(place).image_names()[1] == [f"held-out {row}" for row in range(counts["val"])]


def test_bad_input(capsys, pictures, here, vae_run, prepared, drawn):
    save_file({"latents": torch.full((1, 8), float("nan"))}, "nan.safetensors")
    save_file({"latents": torch.zeros(2, 9)}, "wide.safetensors")
    assert run(capsys, "preprocess", drawn, "--size", "64", "-o", "big", "-q")[0] == 0
    scratch = ["train-gan", prepared, "--run", "scratch", "--preset", "tiny", "--steps", "1", "--batch-size", "4", "-q"]
    assert run(capsys, *scratch)[0] == 0
    for arguments, status, words in (
        (["reconstruct", vae_run, "none.png"], 1, "none.png does not exist: give pictures"),
        (["reconstruct", vae_run, "broken.png"], 1, "broken.png: not a picture"),
        (["reconstruct", vae_run, "big"], 1, "big holds 64x64 pictures of 3 channels, the model takes 32x32"),
        (["reconstruct", vae_run, "0.png", "-o", "x.jpg"], 2, "a sheet is a .png file"),
        (["reconstruct", "scratch", "0.png"], 1, "holds no encoder"),
        (["encode", vae_run, "0.png", "-o", "x.png"], 1, "name a .safetensors file, such as x.safetensors"),
        (["encode", vae_run, "0.png", "-o", vae_run / "model.safetensors"], 1, "holds no latents of vaegan"),
        (["decode", vae_run, "none.safetensors"], 1, "make it with vaegan encode"),
        (["decode", vae_run, vae_run / "model.safetensors"], 1, "holds no tensor 'latents'"),
        (["decode", vae_run, "nan.safetensors"], 1, "not finite"),
        (["decode", vae_run, "wide.safetensors"], 1, "shape [2, 9]"),
        (["decode", vae_run, "0.png"], 1, "0.png is damaged, cut short or no safetensors file"),
        (["info", prepared, "--outliers"], 1, "is a prepared set, not a checkpoint"),
        (["info", prepared, "--out", "x.png"], 2, "--out x.png goes with --outliers"),
    ):
        assert words in failing(capsys, *arguments, status=status), arguments
