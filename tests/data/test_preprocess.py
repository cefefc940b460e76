import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vaegan.data.dataset import open_dataset
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE, EMPTY_FILE, METADATA_FILE, NOT_AN_IMAGE
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Note, WarningMessage

OPTIONS: dict[str, Any] = {"size": 32}


def read_manifest(path: Path) -> dict[str, dict]:
    return {entry["path"]: entry for entry in map(json.loads, (path / "manifest.jsonl").read_text().splitlines())}


def gradient(width, height):
    return Image.radial_gradient("L").resize((width, height)).convert("RGB")


@pytest.fixture
def source_dir(tmp_path):
    """A folder with images of several modes and shapes, and files that are not images."""
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    gradient(50, 70).save(folder / "rgb.png")
    gradient(90, 40).save(folder / "deep" / "wide.jpg")
    gradient(33, 33).convert("L").save(folder / "deep" / "er" / "gray.bmp")
    gradient(40, 40).convert("CMYK").save(folder / "cmyk.tiff")
    gradient(20, 60).convert("P").save(folder / "palette.gif")
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(folder / "transparent.png")
    Image.new("I;16", (40, 40), 65535).save(folder / "16bit.png")
    gradient(51, 70).save(folder / "no-extension", "PNG")
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").touch()
    content = (folder / "deep" / "wide.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "notes.csv").write_text("a,b\n")
    gradient(50, 71).save(folder / "新しい\nname.png")
    return folder


def test_the_manifest_has_an_entry_for_every_file(source_dir, tmp_path):
    out = prepare([source_dir], tmp_path / "set", **OPTIONS)
    manifest = read_manifest(out)
    files = [path.relative_to(source_dir).as_posix() for path in source_dir.rglob("*") if path.is_file()]
    assert sorted(manifest) == sorted(files)
    skipped = {name: entry["skip_reason"] for name, entry in manifest.items() if "skip_reason" in entry}
    assert skipped == {
        "text.png": NOT_AN_IMAGE,
        "empty.jpg": EMPTY_FILE,
        "cut.jpg": BROKEN_IMAGE,
        "notes.csv": METADATA_FILE,
    }
    assert manifest["rgb.png"]["original_size"] == [50, 70] and manifest["rgb.png"]["crop_box"] == [0, 10, 50, 60]
    assert manifest["rgb.png"]["split"] == manifest["no-extension"]["split"] == manifest["新しい\nname.png"]["split"]
    dataset = open_dataset(out)
    train, val = dataset.load()
    assert train.shape[1:] == (3, 32, 32) and train.dtype == torch.uint8
    assert (len(train), len(val)) == (dataset.counts["train"], dataset.counts["val"])
    assert len(train) + len(val) == len(manifest) - 4
    assert dataset.counts["skipped"] == 4
    with Image.open(out / "preview.png") as preview:
        assert preview.size[0] > 32


def test_transparency_and_16_bits_are_converted(source_dir, tmp_path):
    out = prepare([source_dir], tmp_path / "set", size=32, val_fraction=0.0)
    train, val = open_dataset(out).load()
    rows = {name: entry["row"] for name, entry in read_manifest(out).items() if "row" in entry}
    assert len(val) == 0
    assert train[rows["transparent.png"]].min() == 255  # on white
    assert train[rows["16bit.png"]].min() >= 254


def test_two_preparations_give_the_same_bytes(source_dir, tmp_path):
    first, second = (prepare([source_dir], tmp_path / name, **OPTIONS) for name in ("first", "second"))
    for name in sorted(path.name for path in first.iterdir()):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated by 90 degrees
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / "a.jpg", exif=exif, quality=95)
    train, _ = open_dataset(prepare([tmp_path / "in"], tmp_path / "out", **OPTIONS)).load()
    assert train[0, 0, 16, 2] < 20 and train[0, 0, 16, 29] > 230


def test_the_split_depends_on_the_content_only(drawn, prepared, tmp_path):
    renamed_dir = tmp_path / "renamed"
    renamed_dir.mkdir()
    for number, path in enumerate(sorted(drawn.glob("*.png"), reverse=True)):
        shutil.copy(path, renamed_dir / f"{number}.png")
    renamed = read_manifest(prepare([renamed_dir], tmp_path / "set", val_fraction=0.2, **OPTIONS))
    splits = {entry["sha256"]: entry["split"] for entry in renamed.values()}
    expected = {entry["sha256"]: entry["split"] for entry in read_manifest(prepared).values() if "row" in entry}
    assert splits == expected
    assert set(splits.values()) == {"train", "val"}


def test_groups_stay_in_one_split(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for frame in range(20):
        for crop in range(3):
            Image.new("RGB", (32, 32), (frame * 10, crop * 80, 7)).save(folder / f"ann-{frame:02d}-{crop}.png")
    manifest = read_manifest(prepare([folder], tmp_path / "set", size=32, group_by=r"^(\w+-\d+)-", val_fraction=0.3))
    group_splits: dict[str, set[str]] = {}
    for name, entry in manifest.items():
        group_splits.setdefault(name[:6], set()).add(entry["split"])
    assert all(len(splits) == 1 for splits in group_splits.values())
    assert set.union(*group_splits.values()) == {"train", "val"}
    for pattern, text in (
        (r"^(bob)", "--group-by ^(bob) matches no file name: each image is a group of its own"),
        (r"-(0\d)-", "--group-by -(0\\d)- does not match 30 images: each of them is a group of its own"),
    ):
        events = []
        prepare([folder], tmp_path / "other", size=32, group_by=pattern, on_event=events.append, dry_run=True)
        assert text in [event.text for event in events if isinstance(event, (Note, WarningMessage))]
    with pytest.raises(UsageError, match=r"--group-by \(: not a regular expression"):
        prepare([folder], tmp_path / "other", size=32, group_by="(")


def test_bad_sources_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jpg").write_text("hello")
    for source, message in (
        ("missing", "does not exist"),
        ("empty", "holds no files"),
        ("texts", f"no readable image .1 {NOT_AN_IMAGE}."),
    ):
        with pytest.raises(VaeganError, match=message):
            prepare([tmp_path / source], tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--size 48: expected one of 32, 64, 128, 256"):
        prepare([tmp_path / "texts"], tmp_path / "out", size=48)


def test_nothing_is_overwritten_by_mistake(source_dir, tmp_path):
    out = prepare([source_dir], tmp_path / "set", **OPTIONS)
    content = (out / "set.json").read_bytes()
    assert prepare([source_dir], out, **OPTIONS) == out  # the same again changes nothing
    with pytest.raises(VaeganError, match=r"other options \(--fit\).*--force"):
        prepare([source_dir], out, size=32, fit="pad")
    assert (out / "set.json").read_bytes() == content
    prepare([source_dir], out, size=32, fit="pad", force=True)
    assert open_dataset(out).info["fit"] == "pad"
    other_dir = tmp_path / "other"
    other_dir.mkdir()
    (other_dir / "diary.txt").write_text("dear diary")
    for force in (False, True):
        with pytest.raises(VaeganError, match="is not a prepared dataset: choose another --out"):
            prepare([source_dir], other_dir, **OPTIONS, force=force)
    assert (other_dir / "diary.txt").read_text() == "dear diary"


@pytest.mark.skipif(os.name != "posix", reason="only POSIX allows any bytes in a file name")
def test_file_names_that_are_not_utf8_are_preserved(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    gradient(40, 40).save(tmp_path / "a.png")
    (tmp_path / "a.png").replace(folder / os.fsdecode(b"\xff\xfe.png"))
    out = prepare([tmp_path / "in"], tmp_path / "out", **OPTIONS)
    (name,) = read_manifest(out)
    assert os.fsencode(name) == b"\xff\xfe.png"
