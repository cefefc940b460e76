"""What a GAN's step works on, and in which order rows are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GANBatch:
    """What one step works on, a row each picture of this process.

    clean: true pictures, [B, C, S, S]; real: what the discriminator sees of them; noise: standard normal, [B, columns
    of the prior]; chances: for the augmentation of generated pictures; anchored: rows, on the CPU, whose latents
    are to be the true pictures' own; unseen: held-out pictures as the discriminator sees them, in the steps that adapt
    the augmentation, else no rows.
    """

    real: Tensor
    real_aug: Tensor
    noise: Tensor
    augment_rand: Tensor
    recon_rows: Tensor
    val_real_aug: Tensor

    def select_rows(self, rows: slice) -> GANBatch:
        """Those of `rows`."""
        inside = (self.recon_rows >= rows.start) & (self.recon_rows < rows.stop)
        return GANBatch(
            self.real[rows],
            self.real_aug[rows],
            self.noise[rows],
            self.augment_rand[rows],
            self.recon_rows[inside] - rows.start,
            self.val_real_aug[rows],
        )


def fixed_permutation(count: int) -> Tensor:
    """Rows 0 to count - 1 in one order without any: neighbours in a set are alike, as those in a batch are not."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def evenly_spaced_mask(fraction: float, count: int) -> Tensor:
    """Booleans [count], on the CPU, of which `share` are true, evenly spread: any stretch has its part of them."""
    edges = (torch.arange(count + 1) * fraction + 1e-9).floor()
    return edges[1:] > edges[:-1]
