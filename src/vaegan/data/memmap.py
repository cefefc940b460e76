"""Pictures that stay in their shards until they are asked for: sets larger than the memory train from there."""

from __future__ import annotations

import contextlib
import mmap
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaegan.data.shards import Shape, images_of
from vaegan.errors import VaeganError, reason, shown

PAGE = mmap.ALLOCATIONGRANULARITY
ALONE = 2**14
"""Elements that torch copies without asking other threads to help (it takes twice as many)."""


class Shard:
    """One file, mapped: `images`, uint8 [N, C, S, S], are read from disk as they are touched; `split`, uint8 [N]."""

    def __init__(self, path: Path, shape: Shape, limit: int) -> None:
        """Map the file. Raises VaeganError when it is damaged, of another shape, or of more than `limit` pictures."""
        try:
            with safe_open(path, framework="pt") as file:
                known = file.get_slice("images")
                found, dtype, split = tuple(known.get_shape()), known.get_dtype(), file.get_tensor("split")
            if len(found) != 4 or found[1:] != shape or found[0] > limit:
                raise VaeganError(f"{path} is damaged: pictures of shape {found}, expected {shape}")
            if dtype != "U8" or split.dtype != torch.uint8 or split.shape != (found[0],):
                raise VaeganError(f"{path} is damaged: unexpected tensors; prepare the set again")
            with path.open("rb") as opened:
                self._start, count = images_of(opened, shape)
                self._file = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise VaeganError(f"{path} is damaged ({shown(reason(error), 200)}): prepare the set again") from error
        self.split, self.images = split, torch.empty(0, *shape, dtype=torch.uint8)
        if count:
            with warnings.catch_warnings(action="ignore"):  # that it cannot be written to
                self.images = torch.frombuffer(
                    self._file, dtype=torch.uint8, offset=self._start, count=count * self.images.shape[1:].numel()
                ).view(count, *shape)

    def expect(self, rows: list[int]) -> None:
        """Tell the system which rows are read next, all at once; it need not guess that neighbours are wanted too."""
        if not hasattr(mmap, "MADV_WILLNEED"):
            return
        size = self.images[0].numel()
        for row in rows:
            first = (self._start + row * size) // PAGE * PAGE
            with contextlib.suppress(OSError, ValueError):
                self._file.madvise(mmap.MADV_WILLNEED, first, self._start + (row + 1) * size - first)


class MappedPictures:
    """One split of a set, uint8 [N, C, S, S], indexed as a tensor is: what is asked for is copied into memory."""

    device = torch.device("cpu")

    def __init__(self, shards: list[Shard], split: int) -> None:
        """Take the rows of `shards` that are on this side of the split, in their order."""
        places = [(shard.split == split).nonzero().flatten().int() for shard in shards]
        self.shards = shards
        self._row = torch.cat(places)
        self._shard = torch.repeat_interleave(torch.tensor([len(place) for place in places]))
        self.shape = torch.Size([len(self._row), *shards[0].images.shape[1:]])

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self._row)

    def __getitem__(self, which: Tensor | slice) -> Tensor:
        """Read rows (int64 [B], or a slice): uint8 [B, C, S, S]."""
        of, rows = self._shard[which], self._row[which].long()
        found = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        parts = [(self.shards[shard], (of == shard).nonzero().flatten()) for shard in sorted(set(of.tolist()))]
        if not isinstance(which, slice):  # a stretch is read ahead without being told
            for shard, places in parts:
                shard.expect(rows[places].tolist())
        for shard, places in parts:
            for place, row in zip(places.tolist(), rows[places].tolist(), strict=True):
                _copy(shard.images[row], found[place])
        return found


def _copy(source: Tensor, target: Tensor) -> None:
    """Copy so little at a time that torch keeps to one thread.

    Else the thread that reads ahead keeps a second team of them, which takes the processor from the networks' one.
    """
    for part, place in zip(source.view(-1).split(ALONE), target.view(-1).split(ALONE), strict=True):  # type: ignore[no-untyped-call]
        place.copy_(part)


Pictures = Tensor | MappedPictures
"""A split of a set, in memory or not."""


def some_of(pictures: Pictures, most: int) -> Tensor:
    """Read at most `most` pictures, from all over the split: a set is in the order of names, and its first are alike.

    They keep their order; where there are no more, all are read.
    """
    count = len(pictures)
    return pictures[:] if count <= most else pictures[torch.arange(most) * count // most]
