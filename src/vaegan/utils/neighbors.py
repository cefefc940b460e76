"""Nearest neighbours among many rows, in parts: of all pairs at once, distances would take hundreds of MB."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DISTANCES_PER_CHUNK = 2**21
"""Numbers that rows set against others may make at once."""


def chunk_rows(rows: Tensor, num_others: int) -> tuple[Tensor, ...]:
    """Split [N, d] so that each part, set against so many others, makes no more than AT_ONCE numbers."""
    return torch.split(rows, max(1, MAX_DISTANCES_PER_CHUNK // num_others))


def pairwise_distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances [N, M] of rows [N, d] and [M, d]."""
    # exact differences would need N*M*d numbers; the product form loses nothing that matters between different rows
    return torch.cdist(a.float(), b.float(), compute_mode="use_mm_for_euclid_dist")


def find_nearest(
    queries: Tensor, keys: Tensor, exclude_same_group: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Distance to, and row of, the nearest of `keys` [M, d] for each of `queries` [N, d].

    apart: numbers of the queries [N] and of the keys [M]; keys of a query's own number do not count for it.
    """
    found, start = [], 0
    for part in chunk_rows(queries, len(keys)):
        between = pairwise_distances(part, keys)
        if exclude_same_group is not None:
            between.masked_fill_(
                exclude_same_group[0][start : start + len(part), None] == exclude_same_group[1], torch.inf
            )
        found.append(between.min(1))
        start += len(part)
    return torch.cat([near.values for near in found]), torch.cat([near.indices for near in found])


def is_closer_than_neighbors(
    queries: Tensor, keys: Tensor, image_ids: Tensor, reference_rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Say which of `queries` [N, d] come closer to one of `keys` [M, d] than any other picture's key does to that.

    picture: which picture each key is of, [M]; standing: the row whose own neighbours count for each key, [M]. Returns
    bool [N] and the row of each query's nearest key.
    """
    near, rows = find_nearest(queries, keys)
    needed, where = torch.unique(reference_rows[rows], return_inverse=True)
    spacing, _ = find_nearest(keys[needed], keys, (image_ids[needed], image_ids))
    return near < spacing[where], rows
