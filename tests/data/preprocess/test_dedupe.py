"""Duplicates, kin and sides: the same whatever the order, and never one picture on both sides."""

import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vaegan.data.dataset import TRAIN, VAL
from vaegan.data.preprocess.perceptual_hash import (
    HASH_BITS,
    HASH_BYTES,
    MAX_HAMMING_DISTANCE,
    has_structure,
    is_near_duplicate,
    lsh_bands,
    perceptual_hash,
)
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.splits import assign_splits, hash_split
from vaegan.demo.faces import draw_face, random_face


def face(number):
    return draw_face(random_face(11, number))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_equal_keys_stay_together_and_something_is_held_out(keys, share):
    sides = assign_splits(keys, share)
    assert len(set(zip(keys, sides, strict=True))) == len(set(keys))
    assert TRAIN in sides
    assert (VAL in sides) == (len(set(keys)) > 1)


def test_share_is_kept_in_the_large():
    held = sum(hash_split(str(number), 0.2) == VAL for number in range(20_000))
    assert 3800 < held < 4200


@settings(max_examples=50)
@given(st.integers(0, 2**HASH_BITS - 1), st.sets(st.integers(0, HASH_BITS - 1), max_size=MAX_HAMMING_DISTANCE))
def test_hashes_within_reach_share_a_band(bits, flipped):
    other = bits
    for bit in flipped:
        other ^= 1 << bit
    values = [number.to_bytes(HASH_BYTES) + bytes(9) for number in (bits, other)]
    assert set(lsh_bands(values[0])) & set(lsh_bands(values[1]))
    assert is_near_duplicate(*values)


@pytest.mark.parametrize("quality", [60, 90])
def test_saved_again_it_looks_the_same_and_another_face_does_not(tmp_path, quality):
    values = []
    for number in range(24):
        picture = face(number).resize((160, 160))
        picture.save(tmp_path / "a.jpg", quality=quality)
        with Image.open(tmp_path / "a.jpg") as again:
            one, other = (
                perceptual_hash(each.convert("RGB").resize((64, 64), Image.LANCZOS)) for each in (picture, again)
            )
        assert has_structure(one) and is_near_duplicate(one, other), number
        values.append(one)
    assert not any(is_near_duplicate(a, b) for number, a in enumerate(values) for b in values[:number])
    assert not has_structure(perceptual_hash(Image.new("RGB", (64, 64), "red")))


@pytest.fixture
def versions(tmp_path):
    """Ten faces: large, small, saved again, and one exact copy of each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(10):
        picture = face(number)
        picture.resize((256, 256)).save(folder / f"{number}-b-large.png")
        picture.resize((128, 128), Image.LANCZOS).save(folder / f"{number}-a-small.png")
        picture.resize((128, 128), Image.LANCZOS).save(folder / f"{number}-c-again.jpg", quality=80)
        shutil.copy(folder / f"{number}-b-large.png", folder / f"{number}-d-copy.png")
    return folder


def test_exact_duplicates_are_dropped_and_near_ones_stay_on_one_side(versions, tmp_path, manifest):
    lines = manifest(prepare([versions], tmp_path / "set", val_fraction=0.3))
    for number in range(10):
        assert lines[f"{number}-d-copy.png"]["skipped"] == "duplicate"
        assert lines[f"{number}-d-copy.png"]["detail"] == f"{number}-b-large.png"
        sides = {lines[f"{number}-{kind}"]["split"] for kind in ("a-small.png", "b-large.png", "c-again.jpg")}
        assert len(sides) == 1
    assert {line.get("split") for line in lines.values()} == {"train", "val", None}


def test_of_near_duplicates_the_largest_stays(versions, tmp_path, manifest):
    lines = manifest(prepare([versions], tmp_path / "set", dedupe="near"))
    assert sorted(name for name, line in lines.items() if "row" in line) == [f"{n}-b-large.png" for n in range(10)]
    assert lines["3-c-again.jpg"]["skipped"] == "near duplicate"
    assert lines["3-c-again.jpg"]["detail"] == "3-b-large.png"
    assert lines["3-d-copy.png"]["skipped"] == "duplicate"


def test_without_dedupe_all_stay_on_one_side(versions, tmp_path, manifest):
    lines = manifest(prepare([versions], tmp_path / "set", dedupe="off", val_fraction=0.3))
    assert len(lines) == 40 and all("row" in line for line in lines.values())
    for number in range(10):
        assert len({line["split"] for name, line in lines.items() if name.startswith(f"{number}-")}) == 1


def test_groups_and_likeness_work_together(tmp_path, manifest):
    """ann and bob are in one picture each that looks the same: both groups go to one side."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{who}-{number}.png" for who in ("ann", "bob", "cat", "dan", "eve", "fay") for number in range(3)]
    for number, name in enumerate(names):
        face(number).resize((100, 100)).save(folder / name)
    with Image.open(folder / "ann-0.png") as picture:
        picture.save(folder / "bob-9.jpg", quality=90)
    for share in (0.2, 0.35, 0.5):
        out = prepare([folder], tmp_path / f"set-{share}", group_by=r"^(\w+)-", val_fraction=share)
        lines = manifest(out)
        sides = {}
        for name, line in lines.items():
            sides.setdefault("ann" if name.startswith("bob") else name[:3], set()).add(line["split"])
        assert all(len(side) == 1 for side in sides.values())
        assert set.union(*sides.values()) == {"train", "val"}


def test_new_pictures_do_not_move_the_others(tmp_path, manifest):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        face(number).resize((80, 80)).save(folder / f"{number}.png")
    before = manifest(prepare([folder], tmp_path / "set"))
    for number in range(40, 60):
        face(number).resize((80, 80)).save(folder / f"{number}.png")
    after = manifest(prepare([folder], tmp_path / "set"))
    assert len(after) == 60
    assert all(after[name]["split"] == line["split"] for name, line in before.items())


def test_frames_of_an_animation_stay_on_one_side(tmp_path, manifest):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = random.Random(1)
    for number in range(12):
        frames = [Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((40, 40)) for _ in range(4)]
        frames[0].save(folder / f"{number}.gif", save_all=True, append_images=frames[1:])
    out = prepare([folder], tmp_path / "set", size=32, frames="all", val_fraction=0.3)
    import json

    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 48
    assert [(line["path"], line["frame"]) for line in lines[:4]] == [("0.gif", number) for number in range(4)]
    sides = {(line["path"], line["split"]) for line in lines}
    assert len(sides) == 12 and {side for _, side in sides} == {"train", "val"}
