"""What a GAN's step works on, and in which order rows are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """What one step works on, a row each picture of this process.

    clean: true pictures, [B, C, S, S]; real: what the discriminator sees of them; noise: standard normal, [B, columns
    of the prior]; chances: for the augmentation of generated pictures; anchored: rows, on the CPU, whose latents
    are to be the true pictures' own; unseen: held-out pictures as the discriminator sees them, in the steps that adapt
    the augmentation, else no rows.
    """

    clean: Tensor
    real: Tensor
    noise: Tensor
    chances: Tensor
    anchored: Tensor
    unseen: Tensor

    def part(self, rows: slice) -> Drawn:
        """Those of `rows`."""
        inside = (self.anchored >= rows.start) & (self.anchored < rows.stop)
        return Drawn(
            self.clean[rows],
            self.real[rows],
            self.noise[rows],
            self.chances[rows],
            self.anchored[inside] - rows.start,
            self.unseen[rows],
        )


def mixed(count: int) -> Tensor:
    """Rows 0 to count - 1 in one order without any: neighbours in a set are alike, as those in a batch are not."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))


def spread(share: float, count: int) -> Tensor:
    """Booleans [count], on the CPU, of which `share` are true, evenly spread: any stretch has its part of them."""
    edges = (torch.arange(count + 1) * share + 1e-9).floor()
    return edges[1:] > edges[:-1]
