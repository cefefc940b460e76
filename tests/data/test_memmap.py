"""Pictures that stay on disk are the same pictures in the same order."""

import mmap

import pytest
import torch

from vaegan.data import dataset
from vaegan.data.dataset import open_dataset, write_dataset
from vaegan.data.memmap import strided_subset
from vaegan.data.sampler import BatchSampler

PICTURES = 37


@pytest.fixture
def both(tmp_path, monkeypatch):
    """A set of several shards, in memory and not."""
    monkeypatch.setattr(dataset, "MAX_SHARD_IMAGES", 8)
    pictures = torch.randint(0, 256, (PICTURES, 3, 32, 32), dtype=torch.uint8)
    splits = bytes(int(number % 5 == 0) for number in range(PICTURES))
    (tmp_path / "set").mkdir()
    write_dataset(tmp_path / "set", (picture.numpy().tobytes() for picture in pictures), splits, (3, 32, 32), {})
    return open_dataset(tmp_path / "set").load()[0], open_dataset(tmp_path / "set").open_memmap()[0]


def test_indexing_is_that_of_a_tensor(both):
    kept, mapped = both
    assert len(mapped) == len(kept) and mapped.shape == kept.shape
    for which in (slice(None), slice(3, 20), slice(5), slice(0, 0), torch.tensor([28, 0, 0, 17]), torch.arange(0)):
        assert torch.equal(mapped[which], kept[which])


def test_some_are_from_all_over_the_split(both):
    kept, mapped = both
    for most in (1, 7, len(kept), 100):
        few = strided_subset(mapped, most)
        assert torch.equal(few, strided_subset(kept, most)) and len(few) == min(most, len(kept))
    assert torch.equal(strided_subset(kept, 100), kept)
    assert torch.equal(strided_subset(kept, 3), kept[[0, len(kept) // 3, 2 * len(kept) // 3]])


@pytest.mark.parametrize("advises", [True, False])
def test_batches_are_the_same_to_the_byte_wherever_pictures_are_kept(both, monkeypatch, advises):
    if not advises:
        monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    kept, mapped = (BatchSampler(images, 7, 3, local_rows=slice(1, 6)) for images in both)
    for step in [*range(12), 40, 41, 5, 6, 0]:  # over several epochs, and as a resumed run or a retreat would jump
        assert torch.equal(mapped[step], kept[step])


def test_the_next_batches_are_on_their_way(both):
    batches = BatchSampler(both[1], 7, 0)
    batches[0]
    assert sorted(batches._prefetched) == [1, 2, 3, 4]
    expected = batches._prefetched[1].result()
    assert torch.equal(batches[1], expected) and 5 in batches._prefetched


def test_a_batch_that_cannot_be_read_is_told(both, monkeypatch):
    batches = BatchSampler(both[1], 7, 0)
    monkeypatch.setattr(type(both[1]), "__getitem__", lambda pictures, rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        batches[0]
