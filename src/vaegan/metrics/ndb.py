"""Number of statistically different bins (Richardson & Weiss 2018, 1805.12462): which kinds of pictures are missing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.neighbors import find_nearest

MAX_BINS = 100
MIN_IMAGES_PER_BIN = 20
KMEANS_ITERATIONS = 25
Z_CRITICAL = 1.959964


@dataclass(frozen=True)
class NDBResult:
    """How many of `bins` hold another share of the generated than of the real pictures, at the 5 % level."""

    num_bins: int
    num_different: int
    num_missing: int

    @property
    def ndb_over_k(self) -> float:
        """Different bins over all bins: 0.05 is what equal distributions give."""
        return self.num_different / self.num_bins


def kmeans(points: Tensor, num_bins: int, seed: int = 0) -> Tensor:
    """Centres [bins, d] of points [N, d] by Lloyd's rounds from k-means++ seeds (Arthur & Vassilvitskii 2007)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    far = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < num_bins:
        weights = far if float(far.sum()) > 0 else torch.ones_like(far)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        far = torch.minimum(far, (points - points[chosen[-1]]).square().sum(1))
    centres = points[chosen].clone()
    for _ in range(KMEANS_ITERATIONS):
        _, rows = find_nearest(points, centres)
        sums = torch.zeros_like(centres).index_add_(0, rows, points)
        counts = torch.bincount(rows, minlength=num_bins)
        moved = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def count_different_bins(real_counts: Tensor, fake_counts: Tensor) -> tuple[int, int]:
    """From counts per bin, long [bins] twice: bins whose shares differ at the 5 % level, and real bins left empty.

    The two-proportion z-test with pooled variance (sec. 3, eq. 2).
    """
    n, m = real_counts.sum().double(), fake_counts.sum().double()
    pooled = (real_counts + fake_counts) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    z = (real_counts / n - fake_counts / m).abs() / error.clamp_min(1e-12)
    differs = (z > Z_CRITICAL) & (real_counts + fake_counts > 0)
    return int(differs.sum()), int((differs & (fake_counts == 0)).sum())


def ndb(train: Tensor, real: Tensor, fake: Tensor, seed: int = 0) -> NDBResult:
    """Cut the space of features into bins around the training pictures [T, d], and count real and generated ones.

    real: [M, d], not those that the bins are cut around, which would lie nearer to the centres than any others; fake:
    [N, d]. There are 100 bins, or fewer where that would leave under 20 pictures for a bin.
    """
    bins = max(2, min(MAX_BINS, min(len(train), len(real), len(fake)) // MIN_IMAGES_PER_BIN))
    centres = kmeans(train, bins, seed)
    counts = [torch.bincount(find_nearest(part, centres)[1], minlength=bins) for part in (real, fake)]
    return NDBResult(bins, *count_different_bins(*counts))
