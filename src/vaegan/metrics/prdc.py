"""Metrics of nearest neighbors: precision, recall, density, coverage, memorization and duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.neighbors import is_closer_than_neighbors, pairwise_distances

DEFAULT_K = 5
MIN_IMAGES_FOR_NEIGHBORS = 2000
"""With fewer training and validation images, precision, recall and coverage rate noise or patchwork as high as real
images; see benchmarks/small_evaluation.py."""
DUPLICATE_DISTANCE_RATIO = 0.5
ROWS_PER_CHUNK = 1024


@dataclass(frozen=True)
class PRDC:
    """Precision, recall and coverage in 0..1; density from 0, which can exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def kth_neighbor_distances(features: Tensor, k: int = DEFAULT_K) -> Tensor:
    """Return each row's distance to its k-th nearest other row.

    Args:
        features: [N, d], N > k.
        k: number of neighbors.

    Returns:
        float [N].

    Raises:
        ValueError: if there are too few rows.
    """
    if len(features) <= k:
        raise ValueError(f"{len(features)} rows: expected more than k = {k}")
    return torch.cat([distances.kthvalue(k, 1).values for distances in _distances_to_other_rows(features)])


def _distances_to_other_rows(features: Tensor) -> Iterator[Tensor]:
    """Yield the distances [M, N] between some rows at a time and all rows of [N, d]; infinite from a row to itself."""
    for start in range(0, len(features), ROWS_PER_CHUNK):
        distances = pairwise_distances(features[start : start + ROWS_PER_CHUNK], features)
        rows = torch.arange(len(distances))
        distances[rows, rows + start] = torch.inf
        yield distances


def prdc(real: Tensor, fake: Tensor, k: int = DEFAULT_K) -> PRDC:
    """Compare two sets of features by balls around each point that reach to its k-th neighbor.

    Precision and recall are those of Kynkaanniemi et al. 2019, 1904.06991, eq. 2; density and coverage those of Naeem
    et al. 2020, 2002.09797, eq. 3 and 4, with k = 5. For equal distributions and M = N, density is 1 and coverage about
    1 - 2^-k = 0.97.

    Args:
        real: features [M, d], M > k.
        fake: features [N, d], N > k.
        k: number of neighbors.

    Returns:
        the four metrics.

    Raises:
        ValueError: if there are too few rows.
    """
    real_radii, fake_radii = kth_neighbor_distances(real, k), kth_neighbor_distances(fake, k)
    num_real_balls = torch.zeros(len(fake), dtype=torch.long)  # that each fake point lies in
    is_recalled, is_covered = [], []
    for start in range(0, len(real), ROWS_PER_CHUNK):
        distances = pairwise_distances(real[start : start + ROWS_PER_CHUNK], fake)
        in_real_ball = distances <= real_radii[start : start + ROWS_PER_CHUNK, None]
        num_real_balls += in_real_ball.sum(0)
        is_covered.append(in_real_ball.any(1))
        is_recalled.append((distances <= fake_radii).any(1))
    return PRDC(
        precision=float((num_real_balls > 0).double().mean()),
        recall=float(torch.cat(is_recalled).double().mean()),
        density=float(num_real_balls.double().mean() / k),
        coverage=float(torch.cat(is_covered).double().mean()),
    )


def realism_scores(fake: Tensor, real: Tensor, k: int = DEFAULT_K) -> Tensor:
    """Return how realistic each fake image is.

    It is max over the real points r of radius(r) / distance(r), where the radius reaches to the k-th neighbor. A fake
    inside some ball has a score above 1. The half of the balls with the larger radii is left out, because they lie
    where real images are rare (Kynkaanniemi et al. 2019, 1904.06991, eq. 3).

    Args:
        fake: features [N, d].
        real: features [M, d], M > k.
        k: number of neighbors.

    Returns:
        float [N], from 0.

    Raises:
        ValueError: if there are too few rows.
    """
    radii = kth_neighbor_distances(real, k)
    is_kept = radii <= radii.median()
    real, radii = real[is_kept], radii[is_kept]
    chunks = torch.split(fake, ROWS_PER_CHUNK)
    return torch.cat([(radii / pairwise_distances(chunk, real).clamp_min(1e-9)).max(1).values for chunk in chunks])


def find_memorized(fake: Tensor, train: Tensor, train_mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Find the fake images that are closer to a training image than its own nearest neighbor is.

    New real images are closer at some rate, too. Compare the result with that of validation images.

    Args:
        fake: features [N, d].
        train: features [M, d] of the training images.
        train_mirrored: features [M, d] of the mirrored training images, in the same order.

    Returns:
        whether each fake is closer, bool [N], and the row [N] of its nearest training image, plus M for a mirror image.
    """
    image_ids = torch.arange(len(train), device=train.device).repeat(2)  # a mirror image is not a neighbor
    return is_closer_than_neighbors(fake, torch.cat([train, train_mirrored]), image_ids, reference_rows=image_ids)


def count_duplicate_pairs(features: Tensor, radius: float) -> int:
    """Count the pairs of rows that are closer than a radius.

    Args:
        features: [N, d].
        radius: distance.

    Returns:
        number of pairs.
    """
    return sum(int((distances < radius).sum()) for distances in _distances_to_other_rows(features)) // 2


def duplicate_radius(real: Tensor) -> float:
    """Return the distance below which images count as near-duplicates.

    It is DUPLICATE_DISTANCE_RATIO times the median distance of a real image to its nearest neighbor.

    Args:
        real: features [N, d] of real images.

    Returns:
        distance.

    Raises:
        ValueError: if there are fewer than 2 rows.
    """
    return float(kth_neighbor_distances(real, 1).median()) * DUPLICATE_DISTANCE_RATIO


def has_near_duplicate(features: Tensor, radius: float) -> Tensor:
    """Return whether another row is closer than a radius.

    Args:
        features: [N, d].
        radius: distance.

    Returns:
        bool [N].

    Raises:
        ValueError: if there are fewer than 2 rows.
    """
    return kth_neighbor_distances(features, 1) < radius


def birthday_support_size(num_samples: int, num_pairs: int) -> float:
    """Estimate the number of different images from duplicates (Arora & Zhang 2017, 1706.08224).

    By the birthday paradox it is about num_samples^2 / (2 num_pairs); infinite for no pair.

    Args:
        num_samples: number of samples.
        num_pairs: near-duplicate pairs among them.

    Returns:
        estimated number of different images.
    """
    return num_samples * (num_samples - 1) / (2 * num_pairs) if num_pairs else float("inf")
