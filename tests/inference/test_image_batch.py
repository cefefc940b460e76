import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import vaegan
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.utils.image_batch import ImageBatch
from vaegan.utils.images import to_pil


@pytest.fixture(scope="module")
def model(vae_run):
    return vaegan.load(vae_run, "cpu")


@pytest.fixture(scope="module")
def images(model):
    return model.sample(5)


def test_samples_are_a_tensor_that_shows_itself_in_a_notebook(images):
    assert isinstance(images, torch.Tensor) and images.dtype == torch.uint8 and images.shape == (5, 3, 32, 32)
    with Image.open(io.BytesIO(images._repr_png_())) as sheet:
        assert sheet.width == 3 * 34 * 5 + 2 * 5 and sheet.height == 2 * 34 * 5 + 2 * 5
    assert repr(images) == "<ImageBatch: 5 images of 32x32 pixels, 3 channels, uint8>"
    assert repr(images[0]) == "<ImageBatch: 1 image of 32x32 pixels, 3 channels, uint8>"


def test_parts_are_image_batches_and_numbers_are_plain_tensors(images):
    assert isinstance(images[1:3], ImageBatch) and isinstance(torch.cat([images, images]), ImageBatch)
    assert images[1:3].to_pil().size == (70, 36)
    for other in (images.float(), images.float() / 255, images.sum(), images[0, 0], images[:0]):
        assert not isinstance(other, ImageBatch)
    assert images.numpy().shape == (5, 3, 32, 32)


def test_an_image_batch_saves_itself_and_spares_the_files_of_others(images, tmp_path):
    path = images.save(tmp_path / "sheet.png", columns=5, scale=2)
    with Image.open(path) as sheet:
        assert sheet.size == (2 * (5 * 34 + 2), 2 * 36)
    assert images[0].save(path) == path
    assert np.array_equal(np.asarray(images[0].to_pil()), images[0].permute(1, 2, 0).numpy())
    Image.new("RGB", (4, 4)).save(tmp_path / "mine.png")
    with pytest.raises(VaeganError, match="was not made by vaegan"):
        images.save(tmp_path / "mine.png")
    with pytest.raises(VaeganError, match=r"a sheet is a \.png file"):
        images.save(tmp_path / "sheet.jpg")


def test_all_kinds_of_images_give_the_same_latents(model, images, tmp_path):
    expected = model.encode(images[:2])
    pil = [to_pil(image) for image in images[:2]]
    for index, image in enumerate(pil):
        image.save(tmp_path / f"{index}.png")
    arrays = images[:2].permute(0, 2, 3, 1).numpy()
    paths = [tmp_path / "0.png", str(tmp_path / "1.png")]
    for inputs in (pil, paths, str(tmp_path), arrays, list(arrays), arrays / 255, images[:2] / 255.0, list(images[:2])):
        assert torch.equal(model.encode(inputs), expected)
    for single in (pil[0], paths[0], arrays[0], images[0], images[0] / 255.0):
        assert torch.equal(model.read_images(single), images[:1])
    assert torch.equal(model.reconstruct(pil), model.decode(expected))


def test_images_of_another_shape_are_squared_like_the_training_images(model, tmp_path):
    photo = Image.radial_gradient("L").resize((90, 60)).convert("RGBA")
    photo.save(tmp_path / "photo.png")
    assert torch.equal(model.read_images(photo), model.read_images(tmp_path / "photo.png"))
    assert model.read_images(np.zeros((60, 90), dtype=np.uint8)).shape == (1, 3, 32, 32)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.convert("RGB").save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as turned:
        assert torch.equal(model.read_images(turned), model.read_images(tmp_path / "turned.jpg"))
        assert turned.size == (90, 60)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (3, "int: expected a path"),
        (torch.zeros(2, 5, 7), r"images of shape \[2, 5, 7\]"),
        (torch.full((3, 8, 8), 2.0), "from 2 to 2: expected a path"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "torch.int64"),
        ([], "no images"),
        ("nowhere.png", "nowhere.png does not exist"),
    ],
)
def test_what_is_no_image_is_refused(model, inputs, message):
    with pytest.raises(VaeganError, match=message):
        model.encode(inputs)


def test_a_model_says_what_it_is(model, vae_run):
    assert repr(model).startswith(f"<Model: VAE of {vae_run}/model.safetensors at step 4, 32x32 pixels, 3 channels, 8")
    assert model.decoder(torch.zeros(1, 8)).shape == (1, 3, 32, 32)


def test_the_best_weights_of_a_run(gan_run, tmp_path):
    assert vaegan.load(gan_run, "cpu", best=True).info.path == gan_run / "best.safetensors"
    with pytest.raises(VaeganError, match=r"contains no best\.safetensors"):
        vaegan.load(tmp_path, "cpu", best=True)


def test_public_names_can_be_completed():
    names = dir(vaegan)
    assert {"load", "train_gan", "Model", "ImageBatch", "VaeganError"} <= set(names)
    assert all(getattr(vaegan, name) is not None for name in names)


def test_calls_from_a_script_log_warnings_only(drawn, tmp_path, capsys, caplog):
    (tmp_path / "faces").mkdir()
    for path in sorted(drawn.glob("*.png"))[:8]:
        (tmp_path / "faces" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "faces" / "bad.png").write_bytes(b"no image")
    with caplog.at_level(logging.INFO, logger="vaegan"):
        vaegan.prepare(tmp_path / "faces", tmp_path / "set", size=32)
    assert [record.getMessage() for record in caplog.records] == ["1 file skipped (1 not an image); see manifest.jsonl"]
    assert capsys.readouterr().out == ""


def test_calls_in_a_notebook_print_progress(drawn, tmp_path, capsys, monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    dataset = vaegan.prepare(drawn, tmp_path / "set", size=32)
    out = capsys.readouterr().out
    assert "48 images: " in out and f"Wrote {dataset}" in out
    vaegan.prepare(drawn, Path(dataset), size=32, on_event=vaegan.ignore_event)
    assert capsys.readouterr().out == ""
    assert open_dataset(dataset).size == 32
