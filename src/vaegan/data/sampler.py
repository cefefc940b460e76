"""Which pictures make up step k: every picture once per epoch, in an order derived from the seed alone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vaegan.data.memmap import ImageArray, MemmapImages

PREFETCH_BATCHES = 4
"""Batches that are read from disk before they are asked for."""


class BatchSampler:
    """Random access to the endless stream of shuffled epochs.

    images: uint8 [N, C, S, S], kept where it is (CPU, GPU or disk). The batch of a step depends on (seed, step) only,
    never on where pictures are kept or what was read before, so a resumed run sees what the uninterrupted one would
    have seen. From disk, a thread reads the next few batches while a step is computed.
    """

    def __init__(
        self,
        images: ImageArray,
        batch_size: int,
        seed: int,
        device: torch.device | None = None,
        local_rows: slice | None = None,
    ) -> None:
        """Keep `images`, nothing is copied; batches are handed out on `device`, of each only the rows of `share`."""
        self.device = device or images.device
        self.local_rows = local_rows or slice(None)
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self._permutations: dict[int, Tensor] = {}
        self._prefetched: dict[int, Future[Tensor]] = {}
        self._prefetch_executor = ThreadPoolExecutor(1, "read-ahead") if isinstance(images, MemmapImages) else None

    def _epoch_permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            newest = {epoch - 1: self._permutations[epoch - 1]} if epoch - 1 in self._permutations else {}
            self._permutations = newest | {epoch: torch.randperm(len(self.images), generator=generator)}
        return self._permutations[epoch]

    def batch_indices(self, step: int) -> Tensor:
        """Return the rows of the pictures of `step` (from 0): int64 [batch_size]."""
        count = len(self.images)
        position, wanted, parts = step * self.batch_size, self.batch_size, []
        while wanted:
            epoch, start = divmod(position, count)
            part = self._epoch_permutation(epoch)[start : start + wanted]
            parts.append(part)
            position, wanted = position + len(part), wanted - len(part)
        return torch.cat(parts)

    def __getitem__(self, step: int) -> Tensor:
        """Return the pictures of `step`: uint8 [batch_size, C, S, S] (or their share), on the device asked for."""
        if self._prefetch_executor is not None:
            return self._get_prefetched(self._prefetch_executor, step).to(self.device, non_blocking=True)
        return self.images[self.batch_indices(step)[self.local_rows].to(self.images.device)].to(
            self.device, non_blocking=True
        )

    def _read_images(self, indices: Tensor) -> Tensor:
        """Read pictures into memory that a GPU can fetch them from while it computes."""
        pictures = self.images[indices]
        return pictures.pin_memory() if self.device.type == "cuda" else pictures

    def _get_prefetched(self, executor: ThreadPoolExecutor, step: int) -> Tensor:
        """Take a batch that is on its way, or send for it, and send for those after it."""
        wanted = range(step, step + 1 + PREFETCH_BATCHES)
        for other in [known for known in self._prefetched if known not in wanted]:
            self._prefetched.pop(other).cancel()
        for soon in wanted:
            if soon not in self._prefetched:
                self._prefetched[soon] = executor.submit(self._read_images, self.batch_indices(soon)[self.local_rows])
        return self._prefetched.pop(step).result()
