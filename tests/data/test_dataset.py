import json
import os

import pytest
import torch
from safetensors.torch import save_file

from vaegan.data import dataset
from vaegan.data.dataset import find_newest_dataset, open_dataset, write_dataset
from vaegan.errors import VaeganError


def make(place, count=20, **info):
    place.mkdir(parents=True)
    pictures = torch.arange(count * 3 * 32 * 32).remainder(251).to(torch.uint8).view(count, 3, 32, 32)
    splits = bytes(int(number % 5 == 0) for number in range(count))
    write_dataset(place, (picture.numpy().tobytes() for picture in pictures), splits, (3, 32, 32), info)
    return pictures, torch.tensor(list(splits))


def test_shards_come_back_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_SHARD_IMAGES", 8)
    pictures, splits = make(tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").glob("*.safetensors")) == [
        f"images-0000{number}.safetensors" for number in range(3)
    ]
    train, held_out = open_dataset(tmp_path / "set").load()
    assert torch.equal(train, pictures[splits == 0]) and torch.equal(held_out, pictures[splits == 1])


def test_the_fingerprint_is_that_of_the_pictures(tmp_path, monkeypatch):
    make(tmp_path / "a")
    make(tmp_path / "b", vaegan="another")
    make(tmp_path / "c", count=19)
    prints = [open_dataset(tmp_path / name).fingerprint for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def damage(text):
    def apply(place):
        info = json.loads((place / "set.json").read_text())
        info |= text
        (place / "set.json").write_text(json.dumps(info))

    return apply


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage({"format_version": 99}), "format 99.*upgrade vaegan"),
        (damage({"format_version": "x"}), "damaged"),
        (damage({"counts": 3}), "damaged"),
        (damage({"shards": None}), "damaged"),
        (damage({"counts": {"train": 1, "val": 1}}), "shards do not hold"),
        (damage({"size": 64}), "pictures of shape"),
        (lambda place: (place / "set.json").write_text("{"), "not valid JSON"),
        (lambda place: (place / "images-00000.safetensors").unlink(), "images-00000.safetensors is damaged"),
        (lambda place: (place / "images-00000.safetensors").write_bytes(b"x" * 100), "damaged"),
        (lambda place: save_file({"images": torch.zeros(2, 3, 32, 32)}, place / "images-00000.safetensors"), "damaged"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, spoil, words):
    make(tmp_path / "set")
    spoil(tmp_path / "set")
    with pytest.raises(VaeganError, match=words) as caught:
        open_dataset(tmp_path / "set").load()
    assert "\n" not in str(caught.value)


def test_what_is_no_set_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(VaeganError, match=r"does not exist.*vaegan preprocess"):
        open_dataset(tmp_path / "none")
    with pytest.raises(VaeganError, match=r"not a prepared set.*vaegan preprocess"):
        open_dataset(tmp_path)


def test_the_newest_set_is_found(tmp_path):
    assert find_newest_dataset(tmp_path) is None
    make(tmp_path / "a")
    make(tmp_path / "b")
    os.utime(tmp_path / "a" / "set.json", (1, 1))
    assert find_newest_dataset(tmp_path) == tmp_path / "b"
