"""Memory-mapped images equal those in memory, in the same order."""

import mmap

import pytest
import torch

from vaegan.data import dataset
from vaegan.data.dataset import open_dataset, write_dataset
from vaegan.data.memmap import strided_subset
from vaegan.data.sampler import BatchSampler

NUM_IMAGES = 37


@pytest.fixture
def in_memory_and_mapped(tmp_path, monkeypatch):
    """The train images of a dataset of several shards, in memory and memory-mapped."""
    monkeypatch.setattr(dataset, "MAX_SHARD_IMAGES", 8)
    images = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8)
    splits = bytes(int(index % 5 == 0) for index in range(NUM_IMAGES))
    (tmp_path / "set").mkdir()
    write_dataset(tmp_path / "set", (image.numpy().tobytes() for image in images), splits, (3, 32, 32), {})
    return open_dataset(tmp_path / "set").load()[0], open_dataset(tmp_path / "set").open_memmap()[0]


def test_indexing_equals_that_of_a_tensor(in_memory_and_mapped):
    in_memory, mapped = in_memory_and_mapped
    assert len(mapped) == len(in_memory) and mapped.shape == in_memory.shape
    for index in (slice(None), slice(3, 20), slice(5), slice(0, 0), torch.tensor([28, 0, 0, 17]), torch.arange(0)):
        assert torch.equal(mapped[index], in_memory[index])


def test_a_strided_subset_spans_the_split(in_memory_and_mapped):
    in_memory, mapped = in_memory_and_mapped
    for max_images in (1, 7, len(in_memory), 100):
        subset = strided_subset(mapped, max_images)
        assert torch.equal(subset, strided_subset(in_memory, max_images))
        assert len(subset) == min(max_images, len(in_memory))
    assert torch.equal(strided_subset(in_memory, 100), in_memory)
    assert torch.equal(strided_subset(in_memory, 3), in_memory[[0, len(in_memory) // 3, 2 * len(in_memory) // 3]])


@pytest.mark.parametrize("has_madvise", [True, False])
def test_batches_do_not_depend_on_where_the_images_are(in_memory_and_mapped, monkeypatch, has_madvise):
    if not has_madvise:
        monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    in_memory, mapped = (BatchSampler(images, 7, 3, local_rows=slice(1, 6)) for images in in_memory_and_mapped)
    for step in [*range(12), 40, 41, 5, 6, 0]:  # several epochs, and jumps as after a resume or a rollback
        assert torch.equal(mapped[step], in_memory[step])


def test_the_next_batches_are_prefetched(in_memory_and_mapped):
    sampler = BatchSampler(in_memory_and_mapped[1], 7, 0)
    sampler[0]
    assert sorted(sampler._prefetched) == [1, 2, 3, 4]
    expected = sampler._prefetched[1].result()
    assert torch.equal(sampler[1], expected) and 5 in sampler._prefetched


def test_an_error_while_prefetching_is_raised(in_memory_and_mapped, monkeypatch):
    sampler = BatchSampler(in_memory_and_mapped[1], 7, 0)
    monkeypatch.setattr(type(in_memory_and_mapped[1]), "__getitem__", lambda images, index: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sampler[0]
