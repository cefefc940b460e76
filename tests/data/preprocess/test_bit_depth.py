"""Grayscale of 10, 12 and 14 bits in 16-bit files has the right brightness."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from vaegan.cli import main
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import open_dataset
from vaegan.data.image_files import derive_preprocess_settings, image_options, read_images
from vaegan.data.preprocess.bit_depth import find_gray_depth
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.tasks import run_task
from vaegan.events import ignore_event


def deep_image(index, peak):
    """Random gray values of which the largest is `peak`."""
    values = np.random.RandomState(index).randint(0, peak, (40, 40)).astype("uint16")
    values[20:, 20:] = peak
    return Image.fromarray(values)


def add_png_chunk(content, kind, data):
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return content[:33] + chunk + content[33:]  # behind the signature and IHDR


def png(image, significant_bits=None):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    if significant_bits is None:
        return buffer.getvalue()
    return add_png_chunk(buffer.getvalue(), b"sBIT", bytes([significant_bits]))


def tiff(image, **tags):
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", tiffinfo={int(name[1:]): value for name, value in tags.items()})
    return buffer.getvalue()


def white_value(content, task_bits=0, **options):
    """Return the last value of the prepared image, in the corner that is brightest."""
    path = FileLocation(str(options.pop("path")))
    settings = PreprocessSettings(**{"size": 32, "grayscale": True} | options)
    Path(path.path).write_bytes(content)
    result = run_task(Task(1, path, gray_bits=task_bits), settings)
    assert result.reason == "", result.detail
    return result.images[0].pixels[-1]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("encode", [png, tiff])
def test_the_largest_value_of_a_bit_depth_is_white(tmp_path, bits, encode):
    assert white_value(encode(deep_image(0, 2**bits - 1)), path=tmp_path / "a") == 255


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (tiff(deep_image(0, 2000), t281=2000), 255),
        (tiff(deep_image(0, 2000), t281=4000), 128),
        (tiff(deep_image(0, 2000), t280=1000, t281=3000), 128),
        (tiff(deep_image(0, 2000), t341=4000), 128),
        (tiff(deep_image(0, 2000), t281=65535), 8),
        (tiff(deep_image(0, 1023), t280=9, t281=3), 255),  # an empty range says nothing
        (png(deep_image(0, 1000), 12), 62),
        (png(deep_image(0, 60_000), 12), 233),  # scaled up to 16 bits, as the specification says
        (png(deep_image(0, 1023), 16), 255),
        (png(deep_image(0, 1023), 0), 255),
    ],
)
def test_tags_of_the_file_say_what_white_is(tmp_path, content, expected):
    assert abs(white_value(content, path=tmp_path / "a") - expected) <= 1


def packed_12_bit_tiff():
    """A TIFF of 12 bits per sample, two values in three bytes: 2047 everywhere."""
    entries = [(256, 4, 40), (257, 4, 40), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, 40), (279, 4, 2400)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in entries)
    return b"II*\0" + struct.pack("<I", 2408) + bytes([0x7F, 0xF7, 0xFF]) * 800 + directory + b"\0\0\0\0"


def test_packed_samples_of_12_bits(tmp_path):
    assert white_value(packed_12_bit_tiff(), path=tmp_path / "a") == 127


@pytest.mark.parametrize(("gray_bits", "expected"), [("auto", 255), ("10", 255), ("12", 64), ("16", 4)])
def test_the_option_decides(tmp_path, gray_bits, expected):
    content = tiff(deep_image(0, 1023), t281=1023)
    assert abs(white_value(content, path=tmp_path / "a", gray_bits=gray_bits) - expected) <= 1


def test_the_position_in_the_file_does_not_change():
    file = io.BytesIO(png(deep_image(0, 1023), 12))
    with Image.open(file) as image:
        image.load()
        position = file.tell()
        assert find_gray_depth(image, file, 0).tag_bits == 12
        assert file.tell() == position


def tiff_32_bit(values, sample_format=1):
    """A TIFF of 32-bit integers, unsigned by default; Pillow itself writes signed ones only."""
    height, width = values.shape
    data = values.astype("<u4").tobytes()
    entries = [(256, 4, width), (257, 4, height), (258, 3, 32), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, len(data)), (339, 3, sample_format)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0\0\0\0"


def ramp(peak):
    """Values from 0 to `peak`, int64 [40, 40]."""
    return np.linspace(0, peak, 1600).round().astype("int64").reshape(40, 40)


@pytest.mark.parametrize("sample_format", [1, 2])
@pytest.mark.parametrize("peak", [255, 4095, 65535, 10**6, 2**31 - 1])
def test_integers_of_32_bits_are_read_beside_those_of_16_bits(tmp_path, capsys, sample_format, peak):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(ramp(65535).astype("uint16")).save(folder / "0.tif")
    (folder / "1.tif").write_bytes(tiff_32_bit(ramp(peak), sample_format))
    images = prepare_deep(folder, tmp_path / "set", "--dedupe", "off").astype(int)
    assert np.abs(images[1] - images[0]).max() <= 1
    message = f"1 grayscale image of 32 bits uses only {peak.bit_length()}: {peak} is white"
    assert (message in capsys.readouterr().err) == (peak < 65535)
    gray_bits = json.loads((tmp_path / "set" / "set.json").read_text())["gray_bits"]
    assert gray_bits == (0 if peak < 65535 else 16)  # 0: later images are read by their own values


def test_images_of_32_bits_share_a_bit_depth(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, peak in enumerate((900, 4095)):
        (folder / f"{index}.tif").write_bytes(tiff_32_bit(ramp(peak)))
    images = prepare_deep(folder, tmp_path / "set")
    assert abs(images[0].max() - 56) <= 1 and images[1].max() >= 254
    assert json.loads((tmp_path / "set" / "set.json").read_text())["gray_bits"] == 12


@pytest.mark.parametrize("peak", [2**31, 2**32 - 1])
def test_unsigned_values_of_32_bits_are_not_read_as_negative_ones(tmp_path, peak):
    (tmp_path / "32.tif").write_bytes(tiff_32_bit(ramp(peak)))
    Image.fromarray(ramp(255).astype("uint8")).save(tmp_path / "8.tif")
    tasks = [Task(1, FileLocation(str(tmp_path / name))) for name in ("32.tif", "8.tif")]
    results = [run_task(task, PreprocessSettings(size=32, grayscale=True)) for task in tasks]
    deep, plain = (np.frombuffer(result.images[0].pixels, dtype="uint8").astype(int) for result in results)
    assert np.abs(deep - plain).max() <= 1


def prepare_deep(folder, out, *options):
    arguments = ["preprocess", str(folder), "--out", str(out), "--size", "32", "--val-fraction", "0"]
    assert main([*arguments, *options]) == 0
    return load_file(out / "images-00000.safetensors")["images"]


def test_all_images_are_read_with_the_bit_depth_that_the_brightest_needs(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for index, peak in enumerate((900, 3000, 4095, 200)):
        (folder / f"{index}.png").write_bytes(png(deep_image(index, peak)))
    images = prepare_deep(folder, tmp_path / "set")
    expected = [round(peak * 255 / 4095) for peak in (900, 3000, 4095, 200)]
    assert all(abs(int(image[0, -1, -1]) - value) <= 1 for image, value in zip(images, expected, strict=True))
    message = "4 grayscale images of 16 bits use only 12: 4095 is white; --gray-bits 16 makes 65535 white"
    assert message in capsys.readouterr().err
    assert json.loads((tmp_path / "set" / "set.json").read_text())["gray_bits"] == 12

    # images on the command line are read as the dataset's were
    settings = derive_preprocess_settings(32, 1, image_options(open_dataset(tmp_path / "set")))
    ((_, tensors),) = read_images([folder / "0.png"], settings, ignore_event)
    assert np.array_equal(tensors[0].numpy(), images[0])

    # the bytes are the same whatever the order, and --gray-bits 12 says the same
    assert np.array_equal(prepare_deep(folder, tmp_path / "again", "--gray-bits", "12"), images)
    dark = prepare_deep(folder, tmp_path / "dark", "--gray-bits", "16")
    assert dark[2, 0, -1, -1] == 16


def test_images_of_16_bits_are_not_told(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for index, peak in enumerate((900, 65535)):
        (tmp_path / "in" / f"{index}.png").write_bytes(png(deep_image(index, peak)))
    images = prepare_deep(tmp_path / "in", tmp_path / "set")
    assert (images[0, 0, -1, -1], images[1, 0, -1, -1]) == (4, 255)
    assert "16 bits" not in capsys.readouterr().err


def test_a_changed_folder_is_read_with_the_bit_depth_that_it_needs_now(tmp_path):
    """The result does not depend on what was prepared before."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "0.png").write_bytes(png(deep_image(0, 900)))
    assert prepare_deep(folder, tmp_path / "set")[0, 0, -1, -1] == 224
    (folder / "1.png").write_bytes(png(deep_image(1, 4095)))
    assert prepare_deep(folder, tmp_path / "set")[0, 0, -1, -1] == 56
    (folder / "1.png").unlink()
    assert prepare_deep(folder, tmp_path / "set")[0, 0, -1, -1] == 224
