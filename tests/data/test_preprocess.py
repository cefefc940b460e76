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
from vaegan.errors import UsageError, VaeganError

SMALL: dict[str, Any] = {"size": 32}


def manifest(path: Path) -> dict[str, dict]:
    return {line["path"]: line for line in map(json.loads, (path / "manifest.jsonl").read_text().splitlines())}


def gradient(width, height):
    return Image.radial_gradient("L").resize((width, height)).convert("RGB")


@pytest.fixture
def pile(tmp_path):
    """A folder with pictures of several modes and shapes, and files that are none."""
    folder = tmp_path / "pile"
    (folder / "deep" / "er").mkdir(parents=True)
    gradient(50, 70).save(folder / "rgb.png")
    gradient(90, 40).save(folder / "deep" / "wide.jpg")
    gradient(33, 33).convert("L").save(folder / "deep" / "er" / "grey.bmp")
    gradient(40, 40).convert("CMYK").save(folder / "cmyk.tiff")
    gradient(20, 60).convert("P").save(folder / "palette.gif")
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(folder / "clear.png")
    Image.new("I;16", (40, 40), 65535).save(folder / "deep16.png")
    gradient(51, 70).save(folder / "no-extension", "PNG")
    (folder / "text.png").write_text("not a picture")
    (folder / "empty.jpg").touch()
    whole = (folder / "deep" / "wide.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.csv").write_text("a,b\n")
    gradient(50, 71).save(folder / "新しい\nname.png")
    return folder


def test_every_file_has_a_line_and_a_fate(pile, tmp_path):
    out = prepare([pile], tmp_path / "set", **SMALL)
    lines = manifest(out)
    files = [path.relative_to(pile).as_posix() for path in pile.rglob("*") if path.is_file()]
    assert sorted(lines) == sorted(files)
    skipped = {name: line["skipped"] for name, line in lines.items() if "skipped" in line}
    assert skipped == {
        "text.png": "not a picture",
        "empty.jpg": "empty file",
        "cut.jpg": "broken picture",
        "notes.csv": "metadata",
    }
    assert lines["rgb.png"]["original"] == [50, 70]
    assert lines["rgb.png"]["split"] == lines["no-extension"]["split"] == lines["新しい\nname.png"]["split"]
    prepared = open_dataset(out)
    train, held_out = prepared.load()
    assert train.shape[1:] == (3, 32, 32) and train.dtype == torch.uint8
    assert (len(train), len(held_out)) == (prepared.counts["train"], prepared.counts["val"])
    assert len(train) + len(held_out) == len(lines) - 4
    assert prepared.counts["skipped"] == 4
    with Image.open(out / "preview.png") as preview:
        assert preview.size[0] > 32


def test_modes_become_what_is_seen(pile, tmp_path):
    out = prepare([pile], tmp_path / "set", size=32, val_fraction=0.0)
    train, held_out = open_dataset(out).load()
    rows = {name: line["row"] for name, line in manifest(out).items() if "row" in line}
    assert len(held_out) == 0
    assert train[rows["clear.png"]].min() == 255  # what is transparent lies on white
    assert train[rows["deep16.png"]].min() >= 254


def test_two_runs_give_the_same_bytes(pile, tmp_path):
    one, two = prepare([pile], tmp_path / "one", **SMALL), prepare([pile], tmp_path / "two", **SMALL)
    for name in sorted(path.name for path in one.iterdir()):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_rotated_by_exif_is_upright(tmp_path):
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / "a.jpg", exif=exif, quality=95)
    train, _ = open_dataset(prepare([tmp_path / "in"], tmp_path / "out", **SMALL)).load()
    assert train[0, 0, 16, 2] < 20 and train[0, 0, 16, 29] > 230


def test_split_depends_on_content_alone(drawn, prepared, tmp_path):
    shuffled = tmp_path / "renamed"
    shuffled.mkdir()
    for number, path in enumerate(sorted(drawn.glob("*.png"), reverse=True)):
        shutil.copy(path, shuffled / f"{number}.png")
    renamed = manifest(prepare([shuffled], tmp_path / "set", val_fraction=0.2, **SMALL))
    sides = {line["sha256"]: line["split"] for line in renamed.values()}
    before = {line["sha256"]: line["split"] for line in manifest(prepared).values() if "row" in line}
    assert sides == before
    assert set(sides.values()) == {"train", "val"}


def test_groups_stay_on_one_side(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for frame in range(20):
        for crop in range(3):
            Image.new("RGB", (32, 32), (frame * 10, crop * 80, 7)).save(folder / f"ann-{frame:02d}-{crop}.png")
    lines = manifest(prepare([folder], tmp_path / "set", size=32, group_by=r"^(\w+-\d+)-", val_fraction=0.3))
    sides: dict[str, set[str]] = {}
    for name, line in lines.items():
        sides.setdefault(name[:6], set()).add(line["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert set.union(*sides.values()) == {"train", "val"}
    with pytest.raises(UsageError, match=r"--group-by \(: not a regular expression"):
        prepare([folder], tmp_path / "other", size=32, group_by="(")


def test_bad_sources_say_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jpg").write_text("hello")
    for source, words in (
        ("missing", "does not exist"),
        ("empty", "holds no files"),
        ("texts", "no readable picture .1 not a picture."),
    ):
        with pytest.raises(VaeganError, match=words):
            prepare([tmp_path / source], tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="--size 48: expected one of 32, 64, 128, 256"):
        prepare([tmp_path / "texts"], tmp_path / "out", size=48)


def test_what_is_there_is_not_overwritten(pile, tmp_path):
    out = prepare([pile], tmp_path / "set", **SMALL)
    before = (out / "set.json").read_bytes()
    assert prepare([pile], out, **SMALL) == out  # the same again is no change
    with pytest.raises(VaeganError, match=r"other options \(--fit\).*--force"):
        prepare([pile], out, size=32, fit="pad")
    assert (out / "set.json").read_bytes() == before
    prepare([pile], out, size=32, fit="pad", force=True)
    assert open_dataset(out).info["fit"] == "pad"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary")
    for force in (False, True):
        with pytest.raises(VaeganError, match="is not a prepared set: choose another --out"):
            prepare([pile], mine, **SMALL, force=force)
    assert (mine / "diary.txt").read_text() == "dear diary"


@pytest.mark.skipif(os.name != "posix", reason="names of arbitrary bytes are a POSIX matter")
def test_names_that_are_no_text_are_kept(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    gradient(40, 40).save(tmp_path / "a.png")
    (tmp_path / "a.png").replace(folder / os.fsdecode(b"\xff\xfe.png"))
    out = prepare([tmp_path / "in"], tmp_path / "out", **SMALL)
    (name,) = manifest(out)
    assert os.fsencode(name) == b"\xff\xfe.png"
