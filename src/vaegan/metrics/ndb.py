"""Number of statistically different bins (NDB), which shows missing modes.

See Richardson & Weiss 2018, "On GANs and GMMs", arXiv 1805.12462.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.neighbors import find_nearest

MAX_BINS = 100
MIN_IMAGES_PER_BIN = 20
KMEANS_ITERATIONS = 25
Z_CRITICAL = 1.959964  # two-sided test at the 5 % level


@dataclass(frozen=True)
class NDBResult:
    """Number of bins whose proportions of real and fake images differ; num_missing of them have no fake."""

    num_bins: int
    num_different: int
    num_missing: int

    @property
    def ndb_over_k(self) -> float:
        """Fraction of different bins; 0.05 is expected for equal distributions."""
        return self.num_different / self.num_bins


def kmeans(points: Tensor, num_bins: int) -> Tensor:
    """Cluster points by k-means++ (Arthur & Vassilvitskii 2007).

    Args:
        points: float [N, d].
        num_bins: number of clusters.

    Returns:
        their centers, [num_bins, d].
    """
    # Initialization: draw each next center with probability proportional to its squared distance to the others
    generator = torch.Generator().manual_seed(0)
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    squared_distances = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < num_bins:
        weights = squared_distances if float(squared_distances.sum()) > 0 else torch.ones_like(squared_distances)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        squared_distances = torch.minimum(squared_distances, (points - points[chosen[-1]]).square().sum(1))

    # Lloyd's algorithm; an empty cluster keeps its center
    centers = points[chosen].clone()
    for _ in range(KMEANS_ITERATIONS):
        _, rows = find_nearest(points, centers)
        sums = torch.zeros_like(centers).index_add_(0, rows, points)
        counts = torch.bincount(rows, minlength=num_bins)
        new_centers = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centers)
        if torch.equal(new_centers, centers):
            break
        centers = new_centers
    return centers


def count_different_bins(real_counts: Tensor, fake_counts: Tensor) -> tuple[int, int]:
    """Compare counts of images per bin by a z-test with pooled variance (1805.12462, section 3, eq. 2).

    Args:
        real_counts: real images per bin, [num_bins].
        fake_counts: fake images per bin, [num_bins].

    Returns:
        Number of bins that differ at the 5 % level, and how many of them have no fake image.
    """
    n, m = real_counts.sum().double(), fake_counts.sum().double()
    pooled = (real_counts + fake_counts) / (n + m)
    stderr = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    z = (real_counts / n - fake_counts / m).abs() / stderr.clamp_min(1e-12)
    is_different = (z > Z_CRITICAL) & (real_counts + fake_counts > 0)
    return int(is_different.sum()), int((is_different & (fake_counts == 0)).sum())


def ndb(train: Tensor, real: Tensor, fake: Tensor) -> NDBResult:
    """Cluster training features into bins, then compare how real and fake images fill them.

    There are MAX_BINS bins, or fewer such that each has MIN_IMAGES_PER_BIN images on average (Richardson & Weiss 2018,
    arXiv 1805.12462).

    Args:
        train: features [N, d] that the bins are made from.
        real: features [M, d] of other real images: those in `train` lie closer to the bin centers than any others.
        fake: features [L, d].

    Returns:
        the counts of bins.
    """
    num_bins = max(2, min(MAX_BINS, min(len(train), len(real), len(fake)) // MIN_IMAGES_PER_BIN))
    centers = kmeans(train, num_bins)
    counts = [torch.bincount(find_nearest(part, centers)[1], minlength=num_bins) for part in (real, fake)]
    return NDBResult(num_bins, *count_different_bins(*counts))
