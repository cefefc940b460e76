"""Distances between two sets of features: the Frechet distance and the kernel distance of KID."""

from __future__ import annotations

import torch
from torch import Tensor


def _check_feature_shapes(a: Tensor, b: Tensor) -> None:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features of shape {list(a.shape)} and {list(b.shape)}: expected [N, d] and [M, d], N, M > 1")


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the Frechet distance between two normals fitted to features.

    It is |mean difference|^2 + tr(A + B - 2 (A B)^(1/2)), with A and B the covariances (Heusel et al. 2017, arXiv
    1706.08500, eq. 6). The estimate is biased upwards for small N and M. The trace of the root is computed from the
    eigenvalues of A^(1/2) B A^(1/2), so it is real.

    Args:
        a: features [N, d].
        b: features [M, d].

    Returns:
        the distance, from 0.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check_feature_shapes(a, b)
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(a.shape[1], -1)
    values, vectors = torch.linalg.eigh(cov_a)
    sqrt_a = vectors * values.clamp_min(0).sqrt() @ vectors.T
    trace_of_sqrt = torch.linalg.eigvalsh(sqrt_a @ cov_b @ sqrt_a).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_of_sqrt
    return max(0.0, float(distance))


def kid(a: Tensor, b: Tensor, num_blocks: int = 20) -> tuple[float, float]:
    """Return the kernel distance between features, and its standard error.

    It is the unbiased estimate of the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et
    al. 2018, arXiv 1801.01401, section 4). For equal distributions it is near 0, of either sign, whatever N and M. The
    standard error is a jackknife estimate over `num_blocks` blocks.

    Args:
        a: features [N, d].
        b: features [M, d].
        num_blocks: blocks of the jackknife, fewer for few rows.

    Returns:
        the distance and its standard error (NaN below 4 rows).

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check_feature_shapes(a, b)
    num_blocks = min(num_blocks, len(a) // 2, len(b) // 2)
    blocks_a, blocks_b = a.double().tensor_split(max(1, num_blocks)), b.double().tensor_split(max(1, num_blocks))
    all_sums = (
        _kernel_block_sums(blocks_a, blocks_a, skip_diagonal=True),
        _kernel_block_sums(blocks_b, blocks_b, skip_diagonal=True),
        _kernel_block_sums(blocks_a, blocks_b),
    )
    sizes_a = torch.tensor([len(block) for block in blocks_a]).double()
    sizes_b = torch.tensor([len(block) for block in blocks_b]).double()

    def estimate(aa: Tensor, bb: Tensor, ab: Tensor, n: Tensor, m: Tensor) -> Tensor:
        return aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * ab / (n * m)

    n, m = sizes_a.sum(), sizes_b.sum()
    aa, bb, ab = (sums.sum() for sums in all_sums)
    value = float(estimate(aa, bb, ab, n, m))
    if num_blocks < 2:
        return value, float("nan")

    # Jackknife: the estimates that leave out one block of each set
    aa, bb, ab = (sums.sum() - sums.sum(0) - sums.sum(1) + sums.diagonal() for sums in all_sums)
    left_out = estimate(aa, bb, ab, n - sizes_a, m - sizes_b)
    variance = (num_blocks - 1) / num_blocks * (left_out - left_out.mean()).square().sum()
    return value, float(variance.sqrt())


def _kernel_block_sums(a: tuple[Tensor, ...], b: tuple[Tensor, ...], skip_diagonal: bool = False) -> Tensor:
    """Sum the kernel over each pair of blocks; skip_diagonal leaves out the pairs of a row with itself."""
    sums = torch.zeros(len(a), len(b), dtype=torch.double)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            kernel = (x @ y.T / x.shape[1] + 1) ** 3
            sums[i, j] = kernel.sum() - (kernel.diagonal().sum() if skip_diagonal and i == j else 0)
    return sums
