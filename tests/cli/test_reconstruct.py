"""vaegan reconstruct, encode, decode and info --outliers."""

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
from vaegan.utils.files import file_sha256
from vaegan.utils.images import from_pil, save_png, to_float, to_pil


@pytest.fixture
def images(here, prepared):
    """The first training images of the dataset, also as files; odd.jpg is grayscale and not square."""
    train, _ = open_dataset(prepared).load()
    for index in range(3):
        save_png(train[index], Path(f"{index}.png"))
    to_pil(train[0]).convert("L").resize((50, 90)).save("odd.jpg")
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    return train[:3]


def test_reconstruct_writes_pairs_and_errors(capsys, images, vae_run):
    status, out, err = run(capsys, "reconstruct", vae_run, "2.png", "0.png", "odd.jpg", "broken.png", "--json")
    assert status == 0
    result = json.loads(out)
    assert result["grid"] == "samples/vae-reconstructions-2-0-odd-broken.png"
    assert [row["image"] for row in result["images"]] == ["2.png", "0.png", "odd.jpg"]
    assert "warning: broken.png: not an image" in err
    model = load(vae_run, "cpu")
    decoded = model.reconstruct(images[[2, 0]])
    expected = psnr(to_float(images[[2, 0]]), to_float(decoded))
    assert [row["psnr"] for row in result["images"]][:2] == pytest.approx(expected.tolist(), abs=1e-3)
    grid = from_pil(Image.open(result["grid"]))
    assert torch.equal(grid[:, 2:34, 2:34], images[2]) and torch.equal(grid[:, 2:34, 36:68], decoded[0])
    status, out, _ = run(capsys, "reconstruct", vae_run, "0.png", "-o", "one.png", "--scale", "2", "-q")
    assert status == 0 and out.splitlines()[0] == "one.png" and out.splitlines()[2].startswith("0.png ")
    assert Image.open("one.png").size == (140, 72)


def test_images_are_cropped_and_resized_like_the_dataset(capsys, here, drawn, tmp_path):
    """A grayscale dataset padded with black: a wide red image becomes grayscale, with black bars."""
    padding = ["--fit", "pad", "--pad-mode", "color", "--background", "black", "--grayscale", "--min-side", "40"]
    assert run(capsys, "preprocess", drawn, "--size", "32", *padding, "-o", "data/padded", "-q")[0] == 0
    tiny = ["--preset", "tiny", "--latent-dim", "4", "--batch-size", "4", "--steps", "1", "-q"]
    assert run(capsys, "train-vae", "data/padded", *tiny)[0] == 0
    Image.new("RGB", (20, 10), "red").save("wide.png")
    assert run(capsys, "reconstruct", "runs/vae", "wide.png", "-o", "grid.png", "-q")[0] == 0
    image = from_pil(Image.open("grid.png"))[:, 2:34, 2:34]
    assert image.shape[0] == 1
    assert (image[:, :7] == 0).all() and (image[:, -7:] == 0).all() and (image[:, 10:22] > 60).all()


def test_latents_are_written_and_decoded(capsys, images, vae_run, prepared):
    assert run(capsys, "encode", vae_run, "0.png", "1.png")[:2] == (0, "latents/vae-0-1.safetensors\n")
    stored = load_tensors(Path("latents/vae-0-1.safetensors"))
    model = load(vae_run, "cpu")
    assert torch.equal(stored["latents"], model.encode(images[:2]))
    assert json.loads(bytes(stored["names"].tolist())) == ["0.png", "1.png"]
    status, out, err = run(capsys, "decode", vae_run, "latents/vae-0-1.safetensors", "--separate")
    assert (status, out) == (0, "samples/vae-vae-0-1\n") and "other weights" not in err
    decoded = model.reconstruct(images[:2])
    for index in range(2):
        assert torch.equal(from_pil(Image.open(f"samples/vae-vae-0-1/latent-000000{index}.png")), decoded[index])
    assert run(capsys, "decode", vae_run, "latents/vae-0-1.safetensors", "-o", "grid.png")[:2] == (0, "grid.png\n")
    assert run(capsys, "encode", vae_run, prepared, "-o", "set.safetensors", "-q")[0] == 0
    train, val = open_dataset(prepared).load()
    expected = torch.cat([model.encode(val), model.encode(train)])
    torch.testing.assert_close(load_tensors(Path("set.safetensors"))["latents"], expected)


def test_info_describes_latents(capsys, images, vae_run):
    path = "latents/vae-0-1.safetensors"
    assert run(capsys, "encode", vae_run, "0.png", "1.png")[0] == 0
    status, out, _ = run(capsys, "info", path, "--json")
    facts = json.loads(out)
    assert (status, facts["kind"], facts["path"], facts["images"]) == (0, "latents", path, "0.png, 1.png")
    assert facts["shape"] == f"2 latents of {load(vae_run, 'cpu').latent_dim} dimensions, float32"
    weights_hash = file_sha256(vae_run / "model.safetensors")
    assert facts["encoded_by"].startswith("VAE weights at step ") and facts["encoded_by"].endswith(weights_hash[:16])
    assert facts["used_by"] == f"vaegan decode CKPT {path}; vaegan interpolate CKPT --latents {path}"
    assert f"used by     {facts['used_by']}" in run(capsys, "info", path)[1].splitlines()


@pytest.mark.parametrize("names", [torch.zeros(3), torch.zeros(4, dtype=torch.uint8), "[1]", '"a"', "["])
def test_info_describes_latents_of_any_program(capsys, here, names):
    if isinstance(names, str):
        names = torch.frombuffer(bytearray(names.encode()), dtype=torch.uint8)
    save_file({"latents": torch.zeros(1, 8, dtype=torch.bfloat16), "names": names}, "z.safetensors")
    status, out, _ = run(capsys, "info", "z.safetensors", "--json")
    facts = json.loads(out)
    assert (status, facts["shape"]) == (0, "1 latent of 8 dimensions, bfloat16")
    assert not {"images", "encoded_by"} & set(facts)
    for latents in (torch.zeros(8), torch.zeros(1, 8, dtype=torch.int64)):  # which decode refuses
        save_file({"latents": latents}, "z.safetensors")
        assert "z.safetensors is not a model of vaegan" in failing(capsys, "info", "z.safetensors")


def test_latents_of_another_encoder_give_a_warning(capsys, images, vae_run, gan_run, prepared):
    assert run(capsys, "encode", vae_run, "0.png")[0] == 0
    status, _, err = run(capsys, "decode", gan_run, "latents/vae-0.safetensors")
    assert status == 0 and "other weights" not in err  # a GAN contains the encoder of its VAE
    tiny = ("--preset", "tiny", "--latent-dim", "8", "--batch-size", "8", "--steps", "1", "--seed", "9", "-q")
    assert run(capsys, "train-vae", prepared, "--run", "other", *tiny)[0] == 0
    status, _, err = run(capsys, "decode", "other", "latents/vae-0.safetensors")
    assert status == 0 and "warning: latents/vae-0.safetensors was encoded by other weights" in err
    save_file({"latents": torch.randn(3, 8).half()}, "other.safetensors")
    assert run(capsys, "decode", gan_run, "other.safetensors", "-q")[0] == 0


def test_outliers_are_the_images_with_the_lowest_psnr(capsys, here, vae_run, prepared):
    status, out, _ = run(capsys, "info", vae_run, "--outliers", "-n", "5", "--json")
    result = json.loads(out)
    assert status == 0 and result["grid"] == "samples/vae-outliers.png" and result["dataset"] == str(prepared)
    dataset, model = open_dataset(prepared), load(vae_run, "cpu")
    images, names = torch.cat(dataset.load()), dataset.image_names()
    psnr_values = psnr(to_float(images), to_float(model.reconstruct(images)))
    labels = [f"{name} ({split})" for part, split in zip(names, ("train", "val"), strict=True) for name in part]
    worst = [labels[row] for row in psnr_values.argsort()[:5].tolist()]
    assert [row["image"] for row in result["images"]] == worst
    status, out, _ = run(capsys, "info", vae_run, "--outliers", "-n", "2", "-o", "two.png", "-q")
    assert status == 0 and out.splitlines()[0] == "two.png" and out.splitlines()[2].startswith(worst[0])


def test_names_of_a_dataset_without_a_manifest(copy, prepared):
    path = copy(prepared)
    train, val = open_dataset(path).image_names()
    assert all(name.endswith(".png") for name in train + val)
    (path / "manifest.jsonl").write_text('{"row": 3}\nnonsense\n')
    counts = open_dataset(path).counts
    assert open_dataset(path).image_names()[1] == [f"val {row}" for row in range(counts["val"])]


def test_bad_input(capsys, images, here, vae_run, prepared, drawn):
    save_file({"latents": torch.full((1, 8), float("nan"))}, "nan.safetensors")
    save_file({"latents": torch.zeros(2, 9)}, "wide.safetensors")
    assert run(capsys, "preprocess", drawn, "--size", "64", "-o", "big", "-q")[0] == 0
    scratch = ["train-gan", prepared, "--run", "scratch", "--preset", "tiny", "--steps", "1", "--batch-size", "4", "-q"]
    assert run(capsys, *scratch)[0] == 0
    for arguments, status, message in (
        (["reconstruct", vae_run, "none.png"], 1, "none.png does not exist: give images"),
        (["reconstruct", vae_run, "broken.png"], 1, "broken.png: not an image"),
        (["reconstruct", vae_run, "big"], 1, "big holds 64x64 images of 3 channels, the model takes 32x32"),
        (["reconstruct", vae_run, "0.png", "-o", "x.jpg"], 2, "a grid is a .png file"),
        (["reconstruct", "scratch", "0.png"], 1, "holds no encoder"),
        (["encode", vae_run, "0.png", "-o", "x.png"], 1, "name a .safetensors file, such as x.safetensors"),
        (["encode", vae_run, "0.png", "-o", vae_run / "model.safetensors"], 1, "holds no latents of vaegan"),
        (["decode", vae_run, "none.safetensors"], 1, "make it with vaegan encode"),
        (["decode", vae_run, vae_run / "model.safetensors"], 1, "holds no tensor 'latents'"),
        (["decode", vae_run, "nan.safetensors"], 1, "not finite"),
        (["decode", vae_run, "wide.safetensors"], 1, "shape [2, 9]"),
        (["decode", vae_run, "0.png"], 1, "0.png is damaged, truncated or not a safetensors file"),
        (["info", prepared, "--outliers"], 1, "is a dataset, not a checkpoint"),
        (["info", prepared, "--out", "x.png"], 2, "--out x.png goes with --outliers"),
    ):
        assert message in failing(capsys, *arguments, status=status), arguments
