"""Nearest neighbors, computed in chunks because all distances at once could take hundreds of MB."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DISTANCES_PER_CHUNK = 2**21


def chunk_rows(rows: Tensor, num_others: int) -> tuple[Tensor, ...]:
    """Split rows into chunks, of which the distances to other rows fit in memory.

    Args:
        rows: [N, d].
        num_others: number of other rows.

    Returns:
        chunks of at most MAX_DISTANCES_PER_CHUNK pairs each.
    """
    return torch.split(rows, max(1, MAX_DISTANCES_PER_CHUNK // num_others))


def pairwise_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distances between rows.

    Args:
        a: [N, d].
        b: [M, d].

    Returns:
        float32 [N, M].
    """
    # Exact differences would take N * M * d numbers. The product form is accurate enough unless rows are equal.
    return torch.cdist(a.float(), b.float(), compute_mode="use_mm_for_euclid_dist")


def find_nearest(queries: Tensor, keys: Tensor, groups: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Return the distance of every query to its nearest key, and the row of that key.

    Args:
        queries: [N, d].
        keys: [M, d].
        groups: group of each query [N] and of each key [M]; keys of a query's own group are ignored.

    Returns:
        distances, float [N], and rows, long [N].
    """
    distances, rows, start = [], [], 0
    for chunk in chunk_rows(queries, len(keys)):
        pairwise = pairwise_distances(chunk, keys)
        if groups is not None:
            query_groups, key_groups = groups
            pairwise.masked_fill_(query_groups[start : start + len(chunk), None] == key_groups, torch.inf)
        nearest = pairwise.min(1)
        distances.append(nearest.values)
        rows.append(nearest.indices)
        start += len(chunk)
    return torch.cat(distances), torch.cat(rows)


def is_closer_than_neighbors(
    queries: Tensor, keys: Tensor, image_ids: Tensor, reference_rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the queries that are closer to their nearest key than the keys of all other images are.

    Args:
        queries: [N, d].
        keys: [M, d]; an image can have several, such as one of its mirror image.
        image_ids: Image that each key belongs to, [M].
        reference_rows: For each key, the row in `keys` whose distance to other images' keys is compared, [M].

    Returns:
        Whether each query is closer, bool [N], and the row of its nearest key [N].
    """
    distances, rows = find_nearest(queries, keys)
    needed_rows, inverse = torch.unique(reference_rows[rows], return_inverse=True)
    spacing, _ = find_nearest(keys[needed_rows], keys, (image_ids[needed_rows], image_ids))
    return distances < spacing[inverse], rows
