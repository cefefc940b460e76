"""Rows of a batch, split over processes and micro-batches."""

from __future__ import annotations

import itertools


def split_rows(num_rows: int, num_parts: int, group_size: int = 1) -> list[slice]:
    """Split rows into about equal stretches that keep groups of `group_size` neighboring rows together.

    There are fewer stretches if there are fewer groups. Rows that are left over stay with the last stretch.

    Args:
        num_rows: number of rows.
        num_parts: number of stretches.
        group_size: number of neighboring rows that stay together.

    Returns:
        the stretches, in order.
    """
    num_groups = max(1, num_rows // group_size)
    num_parts = min(num_parts, num_groups)
    starts = [group_size * (num_groups * index // num_parts) for index in range(num_parts)]
    return [slice(start, stop) for start, stop in itertools.pairwise([*starts, num_rows])]
