"""Training batches: every image once per epoch, in an order that depends on the seed alone."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vaegan.data.memmap import ImageArray, MemmapImages
from vaegan.utils.device import copy_to_device

PREFETCH_BATCHES = 4
"""Number of batches that are read from disk ahead of time."""


class BatchSampler:
    """Random access to the batches of an endless stream of shuffled epochs: `sampler[step]`.

    A batch depends only on (seed, step), not on where the images are stored or which batches were read before. A
    resumed run therefore trains on the same batches as an uninterrupted one. From memory-mapped images, a thread reads
    the next batches while a step is computed.

    Args:
        images: uint8 [N, C, S, S] on a CPU, on a GPU or memory-mapped. They are not copied.
        batch_size: Images per batch, on all ranks together.
        seed: Seed of the shuffling.
        device: Where batches are returned; that of `images` by default.
        local_rows: The rows of each batch that this rank takes; all by default.
        class_ids: Number of each image's class, int64 [N]; None without classes.
        balance: Whether an epoch has equally many images of each class. It repeats those of the smaller classes.
    """

    def __init__(
        self,
        images: ImageArray,
        batch_size: int,
        seed: int,
        device: torch.device | None = None,
        local_rows: slice | None = None,
        class_ids: Tensor | None = None,
        balance: bool = False,
    ) -> None:
        self.device = device or images.device
        self.local_rows = local_rows or slice(None)
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.all_class_ids, self._class_rows = class_ids, []
        self.epoch_length = len(images)
        if balance and class_ids is not None:
            numbers = torch.unique(class_ids).tolist()
            self._class_rows = [(class_ids == number).nonzero().flatten() for number in numbers]
            self.epoch_length = len(self._class_rows) * max(map(len, self._class_rows))
        self._permutations: dict[int, Tensor] = {}
        self._prefetched: dict[int, Future[Tensor]] = {}
        self._prefetch_executor = ThreadPoolExecutor(1, "read-ahead") if isinstance(images, MemmapImages) else None

    def _epoch_permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            # only two epochs are kept: a batch may straddle the previous one and this one
            previous = {epoch - 1: self._permutations[epoch - 1]} if epoch - 1 in self._permutations else {}
            order = torch.randperm(self.epoch_length, generator=generator)
            if self._class_rows:
                order = self._balanced_rows(generator)[order]
            self._permutations = previous | {epoch: order}
        return self._permutations[epoch]

    def _balanced_rows(self, generator: torch.Generator) -> Tensor:
        """Return as many rows of each class as the largest one has, int64 [epoch_length], sorted by class."""
        count, rows = self.epoch_length // len(self._class_rows), []
        for class_rows in self._class_rows:
            repetitions = -(-count // len(class_rows))
            orders = [torch.randperm(len(class_rows), generator=generator) for _ in range(repetitions)]
            rows.append(class_rows[torch.cat(orders)[:count]])
        return torch.cat(rows)

    def batch_indices(self, step: int) -> Tensor:
        """Return the indices of the images in a step's batch.

        Args:
            step: number of the step, from 0.

        Returns:
            int64 [batch_size].
        """
        position, remaining, parts = step * self.batch_size, self.batch_size, []
        # a batch may straddle two epochs, or several where the dataset is smaller than a batch
        while remaining:
            epoch, start = divmod(position, self.epoch_length)
            part = self._epoch_permutation(epoch)[start : start + remaining]
            parts.append(part)
            position, remaining = position + len(part), remaining - len(part)
        return torch.cat(parts)

    def __getitem__(self, step: int) -> Tensor:
        """Return this rank's images of the batch of `step`: uint8 [B, C, S, S] on `device`."""
        if self._prefetch_executor is not None:
            images = self._get_prefetched(self._prefetch_executor, step)
        else:
            images = self.images[copy_to_device(self.batch_indices(step)[self.local_rows], self.images.device)]
        return images.to(self.device, non_blocking=True)

    def class_ids(self, step: int) -> Tensor | None:
        """Return the classes of this rank's images of a step's batch.

        Args:
            step: number of the step, from 0.

        Returns:
            numbers of the classes, int64 [B] on `device`; None without classes.
        """
        if self.all_class_ids is None:
            return None
        return copy_to_device(self.all_class_ids[self.batch_indices(step)[self.local_rows]], self.device)

    def _read_images(self, indices: Tensor) -> Tensor:
        images = self.images[indices]
        # from pinned memory, the copy to the GPU runs while the GPU computes
        return images.pin_memory() if self.device.type == "cuda" else images

    def _get_prefetched(self, executor: ThreadPoolExecutor, step: int) -> Tensor:
        """Return the batch of `step` and start reading the batches after it."""
        wanted_steps = range(step, step + 1 + PREFETCH_BATCHES)
        for stale_step in [known for known in self._prefetched if known not in wanted_steps]:
            self._prefetched.pop(stale_step).cancel()
        for wanted_step in wanted_steps:
            if wanted_step not in self._prefetched:
                indices = self.batch_indices(wanted_step)[self.local_rows]
                self._prefetched[wanted_step] = executor.submit(self._read_images, indices)
        return self._prefetched.pop(step).result()
