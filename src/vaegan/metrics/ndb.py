"""Number of statistically different bins (Richardson & Weiss 2018, 1805.12462): which kinds of pictures are missing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.neighbors import nearest

BINS = 100
PER_BIN = 20
ROUNDS = 25
SIGNIFICANT = 1.959964


@dataclass(frozen=True)
class BinTest:
    """How many of `bins` hold another share of the generated than of the real pictures, at the 5 % level."""

    bins: int
    different: int
    missing: int

    @property
    def share(self) -> float:
        """Different bins over all bins: 0.05 is what equal distributions give."""
        return self.different / self.bins


def kmeans(points: Tensor, bins: int, seed: int = 0) -> Tensor:
    """Centres [bins, d] of points [N, d] by Lloyd's rounds from k-means++ seeds (Arthur & Vassilvitskii 2007)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    far = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < bins:
        weights = far if float(far.sum()) > 0 else torch.ones_like(far)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        far = torch.minimum(far, (points - points[chosen[-1]]).square().sum(1))
    centres = points[chosen].clone()
    for _ in range(ROUNDS):
        _, rows = nearest(points, centres)
        sums = torch.zeros_like(centres).index_add_(0, rows, points)
        counts = torch.bincount(rows, minlength=bins)
        moved = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def different_bins(real: Tensor, fake: Tensor) -> tuple[int, int]:
    """From counts per bin, long [bins] twice: bins whose shares differ at the 5 % level, and real bins left empty.

    The two-proportion z-test with pooled variance (sec. 3, eq. 2).
    """
    n, m = real.sum().double(), fake.sum().double()
    pooled = (real + fake) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    z = (real / n - fake / m).abs() / error.clamp_min(1e-12)
    differs = (z > SIGNIFICANT) & (real + fake > 0)
    return int(differs.sum()), int((differs & (fake == 0)).sum())


def bin_test(train: Tensor, real: Tensor, fake: Tensor, seed: int = 0) -> BinTest:
    """Cut the space of features into bins around the training pictures [T, d], and count real and generated ones.

    real: [M, d], not those that the bins are cut around, which would lie nearer to the centres than any others; fake:
    [N, d]. There are 100 bins, or fewer where that would leave under 20 pictures for a bin.
    """
    bins = max(2, min(BINS, min(len(train), len(real), len(fake)) // PER_BIN))
    centres = kmeans(train, bins, seed)
    counts = [torch.bincount(nearest(part, centres)[1], minlength=bins) for part in (real, fake)]
    return BinTest(bins, *different_bins(*counts))
