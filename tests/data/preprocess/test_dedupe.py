"""Duplicates, groups and splits do not depend on the order, and no image is in both splits."""

import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vaegan.cli import main
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import TRAIN, VAL
from vaegan.data.preprocess.database import PreprocessDB
from vaegan.data.preprocess.dedupe import ManifestBuilder, UnionFind
from vaegan.data.preprocess.perceptual_hash import (
    HASH_BITS,
    HASH_BYTES,
    MAX_HAMMING_DISTANCE,
    is_comparable,
    is_near_duplicate,
    lsh_bands,
    perceptual_hash,
)
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.splits import hash_split, make_split_function
from vaegan.demo.faces import draw_face, random_face


def face(index):
    return draw_face(random_face(11, index))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.floats(0.01, 0.5))
def test_equal_keys_are_in_one_split_and_val_is_not_empty(keys, val_fraction):
    splits = list(map(make_split_function(lambda: keys, val_fraction), keys))
    assert len(set(zip(keys, splits, strict=True))) == len(set(keys))
    assert TRAIN in splits
    assert (VAL in splits) == (len(set(keys)) > 1)
    assert splits.count(VAL) <= len(keys) / 2


@given(st.lists(st.integers(1, 9), min_size=20, max_size=60), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_val_fraction_is_kept_for_groups_that_are_small(sizes, val_fraction):
    keys = [f"group {index}" for index, size in enumerate(sizes) for _ in range(size)]
    split = make_split_function(lambda: keys, val_fraction)
    num_val = sum(split(key) == VAL for key in keys)
    assert num_val <= len(keys) / 2
    assert abs(num_val - val_fraction * len(keys)) <= max(5, val_fraction * len(keys) / 2 + 1)


@pytest.mark.parametrize(
    ("sizes", "num_val"),
    [([100, 3], 3), ([38, 2], 2), ([20, 20], 20), ([60, 30, 10], 10), ([34, 33, 33], 33), ([1] * 40, 4), ([7], 0)],
)
def test_few_groups_are_split_as_near_to_the_fraction_as_possible(sizes, num_val, monkeypatch):
    keys = [f"group {index}" for index, size in enumerate(sizes) for _ in range(size)]
    monkeypatch.setattr("vaegan.data.preprocess.splits.hash_split", lambda key, val_fraction: VAL)
    split = make_split_function(lambda: keys, 0.1)
    assert sum(split(key) == VAL for key in keys) == num_val


def test_a_split_that_groups_make_impossible_is_told(tmp_path, capsys):
    """As with two people, of whom one has nearly all the images."""
    for person, count in (("amy", 20), ("zoe", 12)):
        (tmp_path / "in" / person).mkdir(parents=True)
        for index in range(count):
            face(index + 40 * count).resize((40, 40)).save(tmp_path / "in" / person / f"{index}.png")
    arguments = ["preprocess", str(tmp_path / "in"), "--out", str(tmp_path / "set"), "--size", "32"]
    assert main([*arguments, "--group-by", r"^(\w+)/"]) == 0
    message = capsys.readouterr().err
    assert "32 images: 20 for training, 12 for validation" in message
    assert (
        "0.38 of the images are for validation, not 0.1: the groups that have to share a split are too few" in message
    )


def test_val_fraction_holds_for_many_keys():
    num_val = sum(hash_split(str(number), 0.2) == VAL for number in range(20_000))
    assert 3800 < num_val < 4200


@settings(max_examples=50)
@given(st.integers(0, 2**HASH_BITS - 1), st.sets(st.integers(0, HASH_BITS - 1), max_size=MAX_HAMMING_DISTANCE))
def test_near_duplicates_share_a_band(bits, flipped_bits):
    flipped = bits
    for bit in flipped_bits:
        flipped ^= 1 << bit
    phash, other_phash = (number.to_bytes(HASH_BYTES) + bytes(range(81)) for number in (bits, flipped))
    assert set(lsh_bands(phash)) & set(lsh_bands(other_phash))
    assert is_near_duplicate(phash, other_phash)


@pytest.mark.parametrize("quality", [60, 90])
def test_a_recompressed_image_is_a_near_duplicate_and_another_face_is_not(tmp_path, quality):
    phashes = []
    for index in range(24):
        image = face(index).resize((160, 160))
        image.save(tmp_path / "a.jpg", quality=quality)
        with Image.open(tmp_path / "a.jpg") as recompressed:
            phash, other_phash = (
                perceptual_hash(version.convert("RGB").resize((64, 64), Image.LANCZOS))
                for version in (image, recompressed)
            )
        assert is_comparable(phash) and is_near_duplicate(phash, other_phash), index
        phashes.append(phash)
    assert not any(is_near_duplicate(a, b) for index, a in enumerate(phashes) for b in phashes[:index])
    assert not is_comparable(perceptual_hash(Image.linear_gradient("L")))


def blank(color, index):
    """An image of one color but for a few bytes."""
    image = Image.new("RGB", (48, 48), color)
    image.putpixel((index, index), tuple(value - 40 for value in color))
    return image


@given(st.integers(0, 255), st.integers(0, 3))
def test_blank_images_of_nearly_one_color_share_a_band(value, difference):
    phashes = [perceptual_hash(Image.new("L", (20, 20), level)) for level in (value, min(255, value + difference))]
    assert set(lsh_bands(phashes[0])) & set(lsh_bands(phashes[1]))
    assert is_near_duplicate(*phashes)


@pytest.mark.parametrize("grayscale", [False, True])
def test_blank_images_are_near_duplicates_of_those_of_their_color(tmp_path, manifest, grayscale):
    folder = tmp_path / "in"
    folder.mkdir()
    colors = {"white": (255, 255, 255), "gray": (128, 128, 128), "red": (255, 60, 60)}
    for name, color in colors.items():
        for index in range(4):
            blank(color, index).save(folder / f"{name}-{index}.png")
    face(3).resize((80, 80)).save(folder / "face.png")
    entries = manifest(prepare([folder], tmp_path / "near", size=32, dedupe="near", grayscale=grayscale))
    kept = {name for name, entry in entries.items() if "row" in entry}
    assert kept == {"face.png", "white-0.png", "gray-0.png", "red-0.png"}
    entries = manifest(prepare([folder], tmp_path / "exact", size=32, val_fraction=0.3, grayscale=grayscale))
    for name in colors:
        assert len({entry["split"] for path, entry in entries.items() if path.startswith(name)}) == 1


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=20))
def test_union_find_merges_sets_and_finds_their_smallest_key(tmp_path_factory, pairs):
    db = PreprocessDB(tmp_path_factory.mktemp("db"), 3072)
    ManifestBuilder(db, PreprocessSettings()).dedupe_and_split()  # creates the table
    sets, union_find = [{key} for key in range(16)], UnionFind(db)
    for a, b in pairs:
        merged = next(keys for keys in sets if a in keys) | next(keys for keys in sets if b in keys)
        sets = [keys for keys in sets if not keys & merged] + [merged]
        union_find.union(f"{a:02}", f"{b:02}")
    assert all(union_find.find(f"{key:02}") == f"{min(keys):02}" for keys in sets for key in keys)
    db.close()


@pytest.fixture
def versions(tmp_path):
    """Ten faces: large, small, recompressed, and an exact copy of the large one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(10):
        image = face(index)
        image.resize((256, 256)).save(folder / f"{index}-b-large.png")
        image.resize((128, 128), Image.LANCZOS).save(folder / f"{index}-a-small.png")
        image.resize((128, 128), Image.LANCZOS).save(folder / f"{index}-c-again.jpg", quality=80)
        shutil.copy(folder / f"{index}-b-large.png", folder / f"{index}-d-copy.png")
    return folder


def test_exact_duplicates_are_dropped_and_near_duplicates_are_in_one_split(versions, tmp_path, manifest):
    entries = manifest(prepare([versions], tmp_path / "set", val_fraction=0.3))
    for index in range(10):
        assert entries[f"{index}-d-copy.png"]["skip_reason"] == "duplicate"
        assert entries[f"{index}-d-copy.png"]["detail"] == f"{index}-b-large.png"
        splits = {entries[f"{index}-{version}"]["split"] for version in ("a-small.png", "b-large.png", "c-again.jpg")}
        assert len(splits) == 1
    assert {entry.get("split") for entry in entries.values()} == {"train", "val", None}


def test_the_largest_near_duplicate_is_kept(versions, tmp_path, manifest):
    entries = manifest(prepare([versions], tmp_path / "set", dedupe="near"))
    assert sorted(name for name, entry in entries.items() if "row" in entry) == [f"{n}-b-large.png" for n in range(10)]
    assert entries["3-c-again.jpg"]["skip_reason"] == "near duplicate"
    assert entries["3-c-again.jpg"]["detail"] == "3-b-large.png"
    assert entries["3-d-copy.png"]["skip_reason"] == "duplicate"


def test_without_dedupe_all_are_kept_in_one_split(versions, tmp_path, manifest):
    entries = manifest(prepare([versions], tmp_path / "set", dedupe="off", val_fraction=0.3))
    assert len(entries) == 40 and all("row" in entry for entry in entries.values())
    for index in range(10):
        assert len({entry["split"] for name, entry in entries.items() if name.startswith(f"{index}-")}) == 1


def test_look_alikes_join_their_groups(tmp_path, manifest):
    """An image of ann looks like one of bob: both groups are in one split."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{person}-{n}.png" for person in ("ann", "bob", "cat", "dan", "eve", "fay") for n in range(3)]
    for index, name in enumerate(names):
        face(index).resize((100, 100)).save(folder / name)
    with Image.open(folder / "ann-0.png") as image:
        image.save(folder / "bob-9.jpg", quality=90)
    for val_fraction in (0.2, 0.35, 0.5):
        out = prepare([folder], tmp_path / f"set-{val_fraction}", group_by=r"^(\w+)-", val_fraction=val_fraction)
        group_splits = {}
        for name, entry in manifest(out).items():
            group_splits.setdefault("ann" if name.startswith("bob") else name[:3], set()).add(entry["split"])
        assert all(len(splits) == 1 for splits in group_splits.values())
        assert set.union(*group_splits.values()) == {"train", "val"}


def test_new_images_do_not_change_the_split_of_others(tmp_path, manifest):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(40):
        face(index).resize((80, 80)).save(folder / f"{index}.png")
    before = manifest(prepare([folder], tmp_path / "set"))
    for index in range(40, 60):
        face(index).resize((80, 80)).save(folder / f"{index}.png")
    after = manifest(prepare([folder], tmp_path / "set"))
    assert len(after) == 60
    assert all(after[name]["split"] == entry["split"] for name, entry in before.items())


def test_frames_of_an_animation_are_in_one_split(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = random.Random(1)
    for index in range(12):
        frames = [Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((40, 40)) for _ in range(4)]
        frames[0].save(folder / f"{index}.gif", save_all=True, append_images=frames[1:])
    out = prepare([folder], tmp_path / "set", size=32, frames="all", val_fraction=0.3)
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(entries) == 48
    assert [(entry["path"], entry["frame"]) for entry in entries[:4]] == [("0.gif", frame) for frame in range(4)]
    splits = {(entry["path"], entry["split"]) for entry in entries}
    assert len(splits) == 12 and {split for _, split in splits} == {"train", "val"}
