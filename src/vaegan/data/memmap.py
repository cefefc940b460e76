"""Pictures that stay in their shards until they are asked for: sets larger than the memory train from there."""

from __future__ import annotations

import contextlib
import mmap
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaegan.data.shards import ImageShape, locate_images
from vaegan.errors import VaeganError, error_text, printable

MMAP_PAGE_BYTES = mmap.ALLOCATIONGRANULARITY
SINGLE_THREAD_NUMEL = 2**14
"""Elements that torch copies without asking other threads to help (it takes twice as many)."""


class MemmapShard:
    """One file, mapped: `images`, uint8 [N, C, S, S], are read from disk as they are touched; `split`, uint8 [N]."""

    def __init__(self, path: Path, shape: ImageShape, max_images: int) -> None:
        """Map the file. Raises VaeganError when it is damaged, of another shape, or of more than `limit` pictures."""
        try:
            with safe_open(path, framework="pt") as file:
                known = file.get_slice("images")
                found, dtype, split = tuple(known.get_shape()), known.get_dtype(), file.get_tensor("split")
            if len(found) != 4 or found[1:] != shape or found[0] > max_images:
                raise VaeganError(f"{path} is damaged: pictures of shape {found}, expected {shape}")
            if dtype != "U8" or split.dtype != torch.uint8 or split.shape != (found[0],):
                raise VaeganError(f"{path} is damaged: unexpected tensors; prepare the set again")
            with path.open("rb") as opened:
                self._data_offset, count = locate_images(opened, shape)
                self._mmap = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise VaeganError(
                f"{path} is damaged ({printable(error_text(error), 200)}): prepare the set again"
            ) from error
        self.split, self.images = split, torch.empty(0, *shape, dtype=torch.uint8)
        if count:
            with warnings.catch_warnings(action="ignore"):  # that it cannot be written to
                self.images = torch.frombuffer(
                    self._mmap, dtype=torch.uint8, offset=self._data_offset, count=count * self.images.shape[1:].numel()
                ).view(count, *shape)

    def prefetch(self, rows: list[int]) -> None:
        """Tell the system which rows are read next, all at once; it need not guess that neighbours are wanted too."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        size = self.images[0].numel()
        for row in rows:
            first = (self._data_offset + row * size) // MMAP_PAGE_BYTES * MMAP_PAGE_BYTES
            with contextlib.suppress(OSError, ValueError):
                self._mmap.madvise(mmap.MADV_WILLNEED, first, self._data_offset + (row + 1) * size - first)


class MemmapImages:
    """One split of a set, uint8 [N, C, S, S], indexed as a tensor is: what is asked for is copied into memory."""

    device = torch.device("cpu")

    def __init__(self, shards: list[MemmapShard], split: int) -> None:
        """Take the rows of `shards` that are on this side of the split, in their order."""
        places = [(shard.split == split).nonzero().flatten().int() for shard in shards]
        self.shards = shards
        self._row_in_shard = torch.cat(places)
        self._shard_index = torch.repeat_interleave(torch.tensor([len(place) for place in places]))
        self.shape = torch.Size([len(self._row_in_shard), *shards[0].images.shape[1:]])

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._row_in_shard)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read rows (int64 [B], or a slice): uint8 [B, C, S, S]."""
        of, rows = self._shard_index[index], self._row_in_shard[index].long()
        found = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        parts = [(self.shards[shard], (of == shard).nonzero().flatten()) for shard in sorted(set(of.tolist()))]
        if not isinstance(index, slice):  # a stretch is read ahead without being told
            for shard, places in parts:
                shard.prefetch(rows[places].tolist())
        for shard, places in parts:
            for place, row in zip(places.tolist(), rows[places].tolist(), strict=True):
                _copy_single_threaded(shard.images[row], found[place])
        return found


def _copy_single_threaded(source: Tensor, target: Tensor) -> None:
    """Copy so little at a time that torch keeps to one thread.

    Else the thread that reads ahead keeps a second team of them, which takes the processor from the networks' one.
    """
    sources, targets = (torch.split(tensor.view(-1), SINGLE_THREAD_NUMEL) for tensor in (source, target))
    for part, place in zip(sources, targets, strict=True):
        place.copy_(part)


ImageArray = Tensor | MemmapImages
"""A split of a set, in memory or not."""


def strided_subset(images: ImageArray, max_images: int) -> Tensor:
    """Read at most `most` pictures, from all over the split: a set is in the order of names, and its first are alike.

    They keep their order; where there are no more, all are read.
    """
    count = len(images)
    return images[:] if count <= max_images else images[torch.arange(max_images) * count // max_images]
