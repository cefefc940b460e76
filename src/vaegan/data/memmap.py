"""Memory-mapped datasets: images stay on disk until they are indexed.

So a dataset may be larger than memory.
"""

from __future__ import annotations

import contextlib
import copy
import math
import mmap
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vaegan.data.shards import ImageShape, images_offset
from vaegan.errors import VaeganError, error_text, printable
from vaegan.utils.files import check_regular, open_regular

SINGLE_THREAD_NUMEL = 2**14
"""Number of elements that torch copies in one thread. It uses several from about twice as many on."""


class MemmapShard:
    """One memory-mapped shard: `images`, uint8 [N, C, S, S], stay on disk; `split` is uint8 [N]."""

    def __init__(self, path: Path, shape: ImageShape, max_images: int) -> None:
        """Map a shard of images of the given shape. Raises VaeganError if it is damaged or too large."""
        try:
            check_regular(path)
            with safe_open(path, framework="pt") as file:
                images_slice = file.get_slice("images")
                images_shape, dtype = tuple(images_slice.get_shape()), images_slice.get_dtype()
                split = file.get_tensor("split")
            if len(images_shape) != 4 or images_shape[1:] != shape or images_shape[0] > max_images:
                raise VaeganError(f"{path} is damaged: images of shape {images_shape}, expected {shape}")
            if dtype != "U8" or split.dtype != torch.uint8 or split.shape != images_shape[:1]:
                raise VaeganError(f"{path} is damaged: unexpected tensors; prepare the dataset again")
            with open_regular(path) as opened:
                self._data_offset, count = images_offset(opened), images_shape[0]
                self._mmap = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            detail = printable(error_text(error), 200)
            raise VaeganError(f"{path} is damaged ({detail}): prepare the dataset again") from error
        self.split, self.images = split, torch.empty(0, *shape, dtype=torch.uint8)
        if count:  # torch.frombuffer refuses an empty buffer
            numel = count * math.prod(shape)
            with warnings.catch_warnings(action="ignore"):  # torch warns that the buffer is read-only
                flat = torch.frombuffer(self._mmap, dtype=torch.uint8, offset=self._data_offset, count=numel)
            self.images = flat.view(count, *shape)

    def prefetch(self, row: int) -> None:
        """Advise the operating system to read a row, so that it need not read its neighbors ahead.

        Args:
            row: index of the image.
        """
        image_bytes = self.images[0].numel()
        start = self._data_offset + row * image_bytes
        page_start = start // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        if hasattr(mmap, "MADV_WILLNEED"):
            with contextlib.suppress(OSError, ValueError):
                self._mmap.madvise(mmap.MADV_WILLNEED, page_start, start + image_bytes - page_start)


class MemmapImages:
    """One split of a memory-mapped dataset, uint8 [N, C, S, S]. Indexing copies images into memory."""

    device = torch.device("cpu")

    def __init__(self, shards: list[MemmapShard], split: int) -> None:
        """Collect the rows of `shards` that belong to `split`, in order."""
        rows_per_shard = [(shard.split == split).nonzero().flatten().int() for shard in shards]
        self.shards = shards
        self._row_in_shard = torch.cat(rows_per_shard)
        self._shard_index = torch.repeat_interleave(torch.tensor([len(rows) for rows in rows_per_shard]))
        self.shape = torch.Size([len(self._row_in_shard), *shards[0].images.shape[1:]])

    def __len__(self) -> int:
        return len(self._row_in_shard)

    def select(self, rows: Tensor) -> MemmapImages:
        """Return some of the images, which stay on disk.

        Args:
            rows: their indices, int64 [M].

        Returns:
            M images.
        """
        selected = copy.copy(self)
        selected._row_in_shard, selected._shard_index = self._row_in_shard[rows], self._shard_index[rows]
        selected.shape = torch.Size([len(rows), *self.shape[1:]])
        return selected

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Return the images at `index`, int64 [B] or a slice: uint8 [B, C, S, S]."""
        locations = list(zip(self._shard_index[index].tolist(), self._row_in_shard[index].tolist(), strict=True))
        if not isinstance(index, slice):  # the system reads ahead of a sequential access by itself
            for shard_index, row in locations:
                self.shards[shard_index].prefetch(row)
        images = torch.empty(len(locations), *self.shape[1:], dtype=torch.uint8)
        for position, (shard_index, row) in enumerate(locations):
            _copy_single_threaded(self.shards[shard_index].images[row], images[position])
        return images


def _copy_single_threaded(source: Tensor, target: Tensor) -> None:
    """Copy in pieces that are too small for torch to use several threads.

    The prefetch thread would otherwise start a second OpenMP thread pool, which competes with that of training.
    """
    source_parts, target_parts = (torch.split(tensor.view(-1), SINGLE_THREAD_NUMEL) for tensor in (source, target))
    for source_part, target_part in zip(source_parts, target_parts, strict=True):
        target_part.copy_(source_part)


ImageArray = Tensor | MemmapImages
"""The images of one split, in memory or memory-mapped: uint8 [N, C, S, S]."""


def strided_subset(images: ImageArray, max_images: int) -> Tensor:
    """Return evenly spaced images, in order.

    Datasets are sorted by file name, and neighboring files are often similar: the first N would not be representative.

    Args:
        images: uint8 [N, C, S, S], in memory or memory-mapped.
        max_images: largest number of images.

    Returns:
        uint8 [min(N, max_images), C, S, S].
    """
    return images[:] if len(images) <= max_images else images[strided_indices(len(images), max_images)]


def strided_indices(count: int, max_indices: int) -> Tensor:
    """Return evenly spaced indices, in order.

    Args:
        count: number of items.
        max_indices: largest number of indices.

    Returns:
        int64 [min(count, max_indices)], from 0 to at most count - 1.
    """
    return torch.arange(count) if count <= max_indices else torch.arange(max_indices) * count // max_indices
