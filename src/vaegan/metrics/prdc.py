"""What nearest neighbours tell: precision, recall, density, coverage, duplicates, memorisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.neighbors import is_closer_than_neighbors, pairwise_distances

DEFAULT_K = 5
ROWS_PER_CHUNK = 1024


@dataclass(frozen=True)
class PRDC:
    """Four answers of nearest neighbours: of precision, recall, coverage the range is 0..1, density can exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def kth_neighbor_distances(features: Tensor, k: int = DEFAULT_K) -> Tensor:
    """Distance of each row of [N, d] to its k-th nearest other row; float [N]. Raises ValueError for N <= k."""
    if len(features) <= k:
        raise ValueError(f"{len(features)} rows: expected more than k = {k}")
    found = []
    for start in range(0, len(features), ROWS_PER_CHUNK):
        between = pairwise_distances(features[start : start + ROWS_PER_CHUNK], features)
        rows = torch.arange(len(between))
        between[rows, rows + start] = torch.inf  # a row is not its own neighbour
        found.append(between.kthvalue(k, 1).values)
    return torch.cat(found)


def prdc(real: Tensor, fake: Tensor, k: int = DEFAULT_K) -> PRDC:
    """Compare real [M, d] and generated [N, d] features by balls that reach to each point's k-th neighbour.

    precision and recall: Kynkaanniemi et al. 2019, 1904.06991, eq. 2; density and coverage: Naeem et al. 2020,
    2002.09797, eq. 3 and 4, k = 5 as there. Equal distributions have density 1 and, for M = N, coverage
    1 - 2^-k = 0.97. Raises ValueError for fewer than k + 1 rows.
    """
    real_radii, fake_radii = kth_neighbor_distances(real, k), kth_neighbor_distances(fake, k)
    inside = torch.zeros(len(fake), dtype=torch.long)
    recalled, covered = [], []
    for start in range(0, len(real), ROWS_PER_CHUNK):
        between = pairwise_distances(real[start : start + ROWS_PER_CHUNK], fake)
        near = between <= real_radii[start : start + ROWS_PER_CHUNK, None]
        inside += near.sum(0)
        covered.append(near.any(1))
        recalled.append((between <= fake_radii).any(1))
    return PRDC(
        precision=float((inside > 0).double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=float(inside.double().mean() / k),
        coverage=float(torch.cat(covered).double().mean()),
    )


def find_memorized(fake: Tensor, train: Tensor, train_mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Say which of the features `fake` [N, d] come closer to a training picture than its own nearest neighbour.

    train: features [M, d]; mirrored: those of the mirrored training pictures, in the same order. Returns bool [N] and
    the training row of each nearest neighbour, M added where it is a mirror. New pictures of the same distribution
    do so too at some rate, so the answer is to be read beside that of held-out pictures.
    """
    own = torch.arange(len(train), device=train.device).repeat(2)  # nor is its own mirror a neighbour
    return is_closer_than_neighbors(fake, torch.cat([train, train_mirrored]), own, own)


def count_duplicate_pairs(features: Tensor, radius: float) -> int:
    """Pairs of rows of [N, d] that are closer than `radius`."""
    pairs = 0
    for start in range(0, len(features), ROWS_PER_CHUNK):
        near = pairwise_distances(features[start : start + ROWS_PER_CHUNK], features) < radius
        rows = torch.arange(near.shape[0])
        near[rows, rows + start] = False
        pairs += int(near.sum())
    return pairs // 2


def has_near_duplicate(features: Tensor, radius: float) -> Tensor:
    """Say which rows of [N, d] have another one closer than `radius`; bool [N]."""
    return kth_neighbor_distances(features, 1) < radius


def birthday_support_size(num_samples: int, num_pairs: int) -> float:
    """Estimate of how many different pictures there are, from the birthday paradox.

    samples^2 / (2 pairs) (Arora & Zhang 2017, 1706.08224); infinite where no pair was found.
    """
    return num_samples * (num_samples - 1) / (2 * num_pairs) if num_pairs else float("inf")
