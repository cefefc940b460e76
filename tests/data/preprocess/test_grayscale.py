"""One channel is stored if all images are gray and no option says otherwise."""

import json
import zlib

import numpy as np
import pytest
from PIL import Image
from preprocess_helpers import Killed, kill, read_files, save_faces
from safetensors.numpy import load_file

from vaegan.cli import main
from vaegan.data.dataset import open_dataset
from vaegan.data.image_files import derive_preprocess_settings, image_options, read_images
from vaegan.data.preprocess import writer
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.image_ops import gray_plane
from vaegan.data.preprocess.preprocess import prepare
from vaegan.demo.faces import draw_face, random_face
from vaegan.events import Note, TaskProgress, ignore_event

GRAY_NOTE = "All images are gray: one channel is stored (--no-grayscale stores three)"


def gray_face(index, mode="L", size=(48, 40)):
    return draw_face(random_face(2, index)).resize(size).convert("L").convert(mode)


@pytest.fixture
def gray_faces(tmp_path):
    """A folder of twelve gray faces in files of mode L."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(12):
        gray_face(index).save(folder / f"{index:02d}.png")
    return folder


def preprocess(folder, out, *options):
    assert main(["preprocess", str(folder), "--out", str(out), "--size", "32", *options]) == 0
    return load_file(out / "images-00000.safetensors")["images"]


def manifest_checksums(out):
    entries = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    return {entry["row"]: entry["crc32"] for entry in entries if "row" in entry}


def test_files_of_one_channel_give_one_channel(gray_faces, tmp_path, capsys):
    images = preprocess(gray_faces, tmp_path / "set")
    assert images.shape == (12, 1, 32, 32)
    assert capsys.readouterr().err.count(GRAY_NOTE) == 1
    dataset = open_dataset(tmp_path / "set")
    assert dataset.channels == 1 and dataset.is_intact()
    assert manifest_checksums(tmp_path / "set") == {row: zlib.crc32(image) for row, image in enumerate(images)}
    with Image.open(tmp_path / "set" / "preview.png") as preview:
        assert preview.width > 32

    # except for the option itself, the files are those of --grayscale
    preprocess(gray_faces, tmp_path / "explicit", "--grayscale")
    assert GRAY_NOTE not in capsys.readouterr().err
    automatic, explicit = read_files(tmp_path / "set"), read_files(tmp_path / "explicit")
    infos = [json.loads(files.pop("set.json")) for files in (automatic, explicit)]
    assert [info["options"].pop("grayscale") for info in infos] == [None, True]
    assert automatic == explicit and infos[0] == infos[1]

    # images on the command line are read as the dataset's were
    settings = derive_preprocess_settings(32, 1, image_options(dataset))
    ((_, tensors),) = read_images([gray_faces / "00.png"], settings, ignore_event)
    assert np.array_equal(tensors[0].numpy(), images[0])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_files_of_three_equal_channels_give_one_channel(tmp_path, suffix):
    (tmp_path / "in").mkdir()
    for index in range(6):
        gray_face(index, "RGB").save(tmp_path / "in" / f"{index}{suffix}")
    images = preprocess(tmp_path / "in", tmp_path / "set")
    assert images.shape == (6, 1, 32, 32)
    assert len(np.unique(images)) > 9


@pytest.mark.parametrize("pad", [["--background", "black"], ["--background", "#fffffe"]])
def test_the_stored_pixels_decide(gray_faces, tmp_path, pad):
    """A border that is not quite white is a color."""
    images = preprocess(gray_faces, tmp_path / "set", "--fit", "pad", "--pad-mode", "color", *pad)
    assert images.shape[1] == (1 if "black" in pad else 3)


def test_16_bit_files_give_one_channel(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(3):
        values = np.random.RandomState(index).randint(0, 2 ** (10 + index), (40, 40)).astype("uint16")
        Image.fromarray(values).save(tmp_path / "in" / f"{index}.png")
    images = preprocess(tmp_path / "in", tmp_path / "set")
    assert images.shape == (3, 1, 32, 32)
    assert images[0].max() < 100 < 200 < images[2].max()  # all are read with 12 bits


def test_one_image_with_color_gives_three_channels(gray_faces, tmp_path, capsys):
    save_faces(gray_faces, [50])
    images = preprocess(gray_faces, tmp_path / "set")
    assert images.shape == (13, 3, 32, 32)
    note = "1 of 13 images has color, first 'face-050.png': three channels are stored (--grayscale stores one)"
    assert note in " ".join(capsys.readouterr().err.split())
    checksums = {row: zlib.crc32(image) for row, image in enumerate(images)}
    assert manifest_checksums(tmp_path / "set") == checksums


def test_images_that_are_skipped_do_not_decide(gray_faces, tmp_path):
    draw_face(random_face(2, 50)).resize((20, 20)).save(gray_faces / "color.png")
    assert preprocess(gray_faces, tmp_path / "set", "--min-side", "30").shape == (12, 1, 32, 32)


def test_images_that_are_mostly_color_give_no_note(tmp_path, capsys):
    save_faces(tmp_path / "in", range(3))
    for index in range(10, 13):
        gray_face(index).save(tmp_path / "in" / f"{index}.png")
    assert preprocess(tmp_path / "in", tmp_path / "set").shape == (6, 3, 32, 32)
    err = capsys.readouterr().err
    assert "All images" not in err and "channel" not in err


def test_an_option_decides(gray_faces, tmp_path, capsys):
    images = preprocess(gray_faces, tmp_path / "three", "--no-grayscale")
    assert images.shape == (12, 3, 32, 32)
    assert np.array_equal(images[:, :1], preprocess(gray_faces, tmp_path / "one"))
    capsys.readouterr()
    save_faces(gray_faces, [50])
    assert preprocess(gray_faces, tmp_path / "gray", "--grayscale").shape == (13, 1, 32, 32)
    assert preprocess(gray_faces, tmp_path / "color", "--no-grayscale").shape == (13, 3, 32, 32)
    err = capsys.readouterr().err
    assert "channel" not in err
    assert main(["preprocess", str(gray_faces), "--out", str(tmp_path / "gray"), "--size", "32"]) == 1
    assert "was prepared with other options (--grayscale)" in capsys.readouterr().err


def test_the_option_in_python(gray_faces, tmp_path):
    for value, channels in ((None, 1), (True, 1), (False, 3)):
        out = prepare(gray_faces, tmp_path / str(value), size=32, grayscale=value)
        assert open_dataset(out).channels == channels


def test_a_dry_run_says_it_too(gray_faces, tmp_path, capsys):
    for color_faces, note in (([], GRAY_NOTE), ([50, 51], "2 of 14 images have color, first 'face-050.png'")):
        save_faces(gray_faces, color_faces)
        arguments = [str(gray_faces), "--out", str(tmp_path / "set"), "--size", "32"]
        assert main(["preprocess", *arguments, "--dry-run"]) == 0
        assert note in " ".join(capsys.readouterr().err.split())


def test_the_same_command_again_has_nothing_to_do(gray_faces, tmp_path, capsys):
    preprocess(gray_faces, tmp_path / "set")
    before = read_files(tmp_path / "set")
    capsys.readouterr()
    preprocess(gray_faces, tmp_path / "set")
    err = capsys.readouterr().err
    assert "is up to date" in err and GRAY_NOTE in err and "Preparing" not in err
    assert read_files(tmp_path / "set") == before
    preprocess(gray_faces, tmp_path / "set", "--force")
    assert read_files(tmp_path / "set") == before


@pytest.mark.parametrize("function", ["write_dataset", "write_manifest", "draw_dataset_preview"])
def test_an_interrupted_preparation_resumes_to_the_same_bytes(gray_faces, tmp_path, monkeypatch, function):
    expected = read_files(prepare(gray_faces, tmp_path / "expected", size=32))
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writer, function, kill)
        prepare(gray_faces, out, size=32)
    events = []
    prepare(gray_faces, out, size=32, on_event=events.append)
    assert read_files(out) == expected
    assert Note(GRAY_NOTE) in events and not any(isinstance(event, TaskProgress) for event in events)


@pytest.mark.parametrize("checksum", ["7", "NULL"])
def test_a_wrong_checksum_of_a_channel_is_made_again(tmp_path, monkeypatch, checksum):
    """Also that of an image with color, which would lose two channels by it."""
    save_faces(tmp_path / "in", range(2))
    expected = read_files(prepare(tmp_path / "in", tmp_path / "expected", size=32))
    out = tmp_path / "sets" / "set"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writer, "write_dataset", kill)
        prepare(tmp_path / "in", out, size=32)
    db = PreprocessDB(out.parent / ".preparing-set", 3 * 32 * 32)
    db.execute(f"UPDATE images SET gray_crc32 = {checksum}")
    db.commit()
    db.close()
    prepare(tmp_path / "in", out, size=32)
    assert read_files(out) == expected


def test_an_image_with_color_is_added_to_a_trained_dataset(gray_faces, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = ["train-vae", "set", "--run", "vae", "--preset", "tiny", "--latent-dim", "8", "--batch-size", "4", "-q"]
    preprocess(gray_faces, tmp_path / "set", "-q")
    assert main([*train, "--steps", "2"]) == 0
    assert main(["sample", "vae", "-n", "2", "--out", "samples.png", "-q"]) == 0
    with Image.open("samples.png") as sheet:
        assert sheet.mode == "L"
    save_faces(gray_faces, [50])
    assert preprocess(gray_faces, tmp_path / "set", "-q").shape == (13, 3, 32, 32)
    capsys.readouterr()
    assert main([*train, "--steps", "4"]) == 1
    assert "set is not the dataset that vae was trained on (its images differ)" in capsys.readouterr().err
    assert main(["train-gan", "set", "--from-vae", "vae", "--run", "gan", "--steps", "1", "-q"]) == 1
    err = capsys.readouterr().err
    assert "set holds 32x32 images of 3 channels, but" in err and "preprocess them with --size 32 --grayscale" in err


def test_gray_plane():
    assert gray_plane(b"abcabcabc") == b"abc"
    assert gray_plane(b"abcabcabd") is None and gray_plane(b"abcabdabc") is None
