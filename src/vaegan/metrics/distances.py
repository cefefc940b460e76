"""Distances between two sets of features: Frechet and kernel (KID)."""

from __future__ import annotations

import torch
from torch import Tensor


def _check_feature_shapes(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features of shape {list(a.shape)} and {list(b.shape)}: expected [N, d] and [M, d], N, M > 1")


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Frechet distance between normal fits of features [N, d] and [M, d]; at least 0, biased upwards by small N, M.

    |mean difference|^2 + tr(A + B - 2 (A B)^(1/2)) (Dowson & Landau 1982; Heusel et al. 2017, 1706.08500, eq. 6).
    The trace of the root comes from the eigenvalues of A^(1/2) B A^(1/2), so it is real. Raises ValueError for
    shapes that do not match.
    """
    _check_feature_shapes(a, b)
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    trace_of_root = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_of_root
    return max(0.0, float(distance))


def kid(a: Tensor, b: Tensor, num_blocks: int = 20) -> tuple[float, float]:
    """Kernel distance between features [N, d] and [M, d], and its standard error.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al.
    2018, 1801.01401, sec. 4): near 0, either sign, for equal distributions, whatever N and M. The error is a
    jackknife over `blocks` blocks of both sets. Raises ValueError for shapes that do not match.
    """
    _check_feature_shapes(a, b)
    num_blocks = min(num_blocks, len(a) // 2, len(b) // 2)
    parts_a, parts_b = a.double().tensor_split(max(1, num_blocks)), b.double().tensor_split(max(1, num_blocks))
    within_a, within_b, across = (
        _kernel_block_sums(parts_a, parts_a, True),
        _kernel_block_sums(parts_b, parts_b, True),
        _kernel_block_sums(parts_a, parts_b),
    )
    sizes_a = torch.tensor([len(part) for part in parts_a]).double()
    sizes_b = torch.tensor([len(part) for part in parts_b]).double()

    def estimate(aa: Tensor, bb: Tensor, ab: Tensor, n: Tensor, m: Tensor) -> Tensor:
        return aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)

    n, m = sizes_a.sum(), sizes_b.sum()
    value = float(estimate(within_a.sum(), within_b.sum(), across.sum(), n, m))
    if num_blocks < 2:
        return value, float("nan")
    aa, bb, ab = (
        total.sum() - total.sum(0) - total.sum(1) + total.diagonal() for total in (within_a, within_b, across)
    )
    without = estimate(aa, bb, ab, n - sizes_a, m - sizes_b)
    count = len(without)
    return value, float(((count - 1) / count * (without - without.mean()).square().sum()).sqrt())


def _kernel_block_sums(a: tuple[Tensor, ...], b: tuple[Tensor, ...], skip_diagonal: bool = False) -> Tensor:
    """Sum of the kernel over every pair of blocks, double [blocks, blocks]; pairs of a row with itself left out."""
    sums = torch.zeros(len(a), len(b), dtype=torch.double)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            kernel = (x @ y.T / x.shape[1] + 1) ** 3
            sums[i, j] = kernel.sum() - (kernel.diagonal().sum() if skip_diagonal and i == j else 0)
    return sums
