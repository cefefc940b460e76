import json
import os

import pytest
import torch
from safetensors.torch import save_file

from vaegan.data import dataset
from vaegan.data.dataset import find_newest_dataset, open_dataset, write_dataset
from vaegan.errors import VaeganError


def make_dataset(path, count=20, **info):
    path.mkdir(parents=True)
    images = torch.arange(count * 3 * 32 * 32).remainder(251).to(torch.uint8).view(count, 3, 32, 32)
    splits = bytes(int(index % 5 == 0) for index in range(count))
    write_dataset(path, (image.numpy().tobytes() for image in images), splits, (3, 32, 32), info)
    return images, torch.tensor(list(splits))


def test_images_are_read_in_order_across_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_SHARD_IMAGES", 8)
    images, splits = make_dataset(tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").glob("*.safetensors")) == [
        f"images-0000{index}.safetensors" for index in range(3)
    ]
    train, val = open_dataset(tmp_path / "set").load()
    assert torch.equal(train, images[splits == 0]) and torch.equal(val, images[splits == 1])


def test_the_fingerprint_depends_on_the_images_only(tmp_path):
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "b", vaegan_version="another")
    make_dataset(tmp_path / "c", count=19)
    fingerprints = [open_dataset(tmp_path / name).fingerprint for name in "abc"]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_changed_or_missing_shards_are_not_intact(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "MAX_SHARD_IMAGES", 8)
    make_dataset(tmp_path / "set")
    assert open_dataset(tmp_path / "set").is_intact()
    shard = tmp_path / "set" / "images-00001.safetensors"
    content = shard.read_bytes()
    for damaged in (content[:9000] + b"damaged" + content[9007:], content[:-1], content[:5], b""):
        shard.write_bytes(damaged)
        assert not open_dataset(tmp_path / "set").is_intact()
    shard.unlink()
    assert not open_dataset(tmp_path / "set").is_intact()


def test_a_claim_of_a_trillion_shards_takes_no_memory(tmp_path):
    make_dataset(tmp_path / "set")
    damage_info({"shards": 10**12})(tmp_path / "set")
    damaged = open_dataset(tmp_path / "set")
    with pytest.raises(VaeganError, match=r"images-00001\.safetensors"):
        damaged.load()
    assert not damaged.is_intact()


def damage_info(changes):
    def apply(path):
        info = json.loads((path / "set.json").read_text())
        info |= changes
        (path / "set.json").write_text(json.dumps(info))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_info({"format_version": 99}), "format 99.*upgrade vaegan"),
        (damage_info({"format_version": 1}), "format 1, of vaegan 0.1: prepare it again"),
        (damage_info({"format_version": "x"}), "damaged"),
        (damage_info({"counts": 3}), "damaged"),
        (damage_info({"shards": None}), "damaged"),
        (damage_info({"counts": {"train": 1, "val": 1}}), "its shards hold 16 train and 4 val images"),
        (damage_info({"size": 64}), "images of shape"),
        (lambda path: (path / "set.json").write_text("{"), "not valid JSON"),
        (lambda path: (path / "images-00000.safetensors").unlink(), "images-00000.safetensors is damaged"),
        (lambda path: (path / "images-00000.safetensors").write_bytes(b"x" * 100), "damaged"),
        (lambda path: save_file({"images": torch.zeros(2, 3, 32, 32)}, path / "images-00000.safetensors"), "damaged"),
    ],
)
def test_damage_is_reported_in_one_line(tmp_path, damage, message):
    make_dataset(tmp_path / "set")
    damage(tmp_path / "set")
    with pytest.raises(VaeganError, match=message) as caught:
        open_dataset(tmp_path / "set").load()
    assert "\n" not in str(caught.value)


def test_a_path_without_a_dataset_is_refused_with_the_command_to_run(tmp_path):
    with pytest.raises(VaeganError, match=r"does not exist.*vaegan preprocess"):
        open_dataset(tmp_path / "none")
    with pytest.raises(VaeganError, match=r"not a prepared dataset.*vaegan preprocess"):
        open_dataset(tmp_path)


def test_find_newest_dataset(tmp_path):
    assert find_newest_dataset(tmp_path) is None
    make_dataset(tmp_path / "a")
    make_dataset(tmp_path / "b")
    os.utime(tmp_path / "a" / "set.json", (1, 1))
    assert find_newest_dataset(tmp_path) == tmp_path / "b"
