"""Which pictures make up step k: every picture once per epoch, in an order derived from the seed alone."""

from __future__ import annotations

import torch
from torch import Tensor


class Batches:
    """Random access to the endless stream of shuffled epochs.

    images: uint8 [N, C, S, S], kept where it is (CPU or GPU). The batch of a step depends on (seed, step) only,
    never on what was read before, so a resumed run sees what the uninterrupted one would have seen.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        seed: int,
        device: torch.device | None = None,
        share: slice | None = None,
    ) -> None:
        """Keep `images`, nothing is copied; batches are handed out on `device`, of each only the rows of `share`."""
        self.device = device or images.device
        self.share = share or slice(None)
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self._order = torch.randperm(len(self.images), generator=generator)
            self._epoch = epoch
        return self._order

    def rows(self, step: int) -> Tensor:
        """Return the rows of the pictures of `step` (from 0): int64 [batch_size]."""
        count = len(self.images)
        position, wanted, parts = step * self.batch_size, self.batch_size, []
        while wanted:
            epoch, start = divmod(position, count)
            part = self._order_of(epoch)[start : start + wanted]
            parts.append(part)
            position, wanted = position + len(part), wanted - len(part)
        return torch.cat(parts)

    def __getitem__(self, step: int) -> Tensor:
        """Return the pictures of `step`: uint8 [batch_size, C, S, S] (or their share), on the device asked for."""
        return self.images[self.rows(step)[self.share].to(self.images.device)].to(self.device, non_blocking=True)
