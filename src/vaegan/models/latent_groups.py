"""Groups of latents, each of which takes its values from one training image.

Drawn faces have attributes of a few kinds, such as the colors of backgrounds and skins. In some directions their
latents form clusters then. There are more combinations of clusters than training images, so a mixture of the leading
latents either blurs the clusters or repeats training images. But attributes that do not depend on each other can be
recombined: the latents are split into groups that depend on each other as little as possible, and each group takes the
values of the training image that fits the mixture's draw best in this group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaegan.models.latent_completion import SEEDS_PER_CHUNK, best_references

GROUP_SIZES = (16, 8)
"""Largest numbers of directions in a group that are tried. Larger groups are more alike to training images."""
MIN_CLUSTER_INFORMATION = 0.1
"""Mutual information, in nats, of the two directions that depend on each other most. Below, there are no clusters."""

MIN_LATENTS, MAX_LATENTS = 2048, 8192
"""With fewer latents, information would be found by chance; more are left out."""
NUM_BINS = 12
MIN_EIGENVALUE = 1e-4
MAX_ICA_ITERATIONS = 200
ICA_TOLERANCE = 1e-5


def recombine(
    leading: Tensor, references: Tensor, projections: Tensor, offsets: Tensor, is_other: Tensor | None = None
) -> Tensor:
    """Replace each group of latents by that of the reference that fits it best.

    Args:
        leading: float [N, k].
        references: latents of training images, float [M, d], d at least k.
        projections: orthogonal projections onto the groups, float [G, k, k]; they add up to the identity.
        offsets: float [G, M] (see `vaegan.models.reference_latents.balanced_offsets`).
        is_other: bool [N, M], True for references that are taken last, because they are of another class.

    Returns:
        float [N, k].
    """
    keys = references[:, : leading.shape[1]]
    recombined = torch.zeros_like(leading)
    for projection, group_offsets in zip(projections, offsets, strict=True):
        rows = best_references(leading @ projection, keys, group_offsets, is_other, count=1)[:, 0]
        recombined = recombined + keys[rows] @ projection
    return recombined


def recombine_seeds(
    leading: Tensor, references: Tensor, projections: Tensor, offsets: Tensor, is_other: Tensor | None = None
) -> Tensor:
    """Recombine latents as `recombine` does, but each as if it were alone.

    Which reference fits best is computed in float64: the number of rows changes the rounding, and could decide.

    Args:
        leading: float32 [N, k], on the CPU.
        references: as in `recombine`.
        projections: as in `recombine`.
        offsets: as in `recombine`.
        is_other: as in `recombine`.

    Returns:
        float32 [N, k].
    """
    in_float64 = references[:, : leading.shape[1]].double(), projections.double(), offsets.double()
    parts = [leading[:0]]
    for start in range(0, len(leading), SEEDS_PER_CHUNK):
        rows = slice(start, start + SEEDS_PER_CHUNK)
        is_other_here = None if is_other is None else is_other[rows]
        parts.append(recombine(leading[rows].double(), *in_float64, is_other_here).float())
    return torch.cat(parts)


def find_groups(latents: Tensor, seed: int = 0) -> list[Tensor]:
    """Split latents into groups that depend on each other as little as possible.

    Args:
        latents: whitened, float32 [N, k].
        seed: of the start of the search.

    Returns:
        for each of `GROUP_SIZES` the projections onto the groups, float32 [G, k, k], as `recombine` takes them. None at
            all where latents form no clusters, are only one group, or are too few.
    """
    if len(latents) < MIN_LATENTS:
        return []
    num_rows = min(len(latents), MAX_LATENTS)
    latents = _whiten(latents[torch.arange(num_rows) * len(latents) // num_rows])
    axes = independent_axes(latents, seed)
    information = mutual_information(latents @ axes)
    if float(information.max()) < MIN_CLUSTER_INFORMATION:
        return []
    splits = []
    for size in GROUP_SIZES:
        groups = group_by_information(information, size)
        if len(groups) > 1:
            splits.append(torch.stack([axes[:, group] @ axes[:, group].T for group in groups]))
    return splits


def _whiten(latents: Tensor) -> Tensor:
    """Return latents [N, k] with mean 0 and covariance I, and else as near to the given ones as can be.

    Whitened latents of all images have these moments already. A sample's differ by some hundredths, which is enough to
    turn the independent axes.
    """
    latents = latents - latents.mean(0)
    eigenvalues, eigenvectors = torch.linalg.eigh(latents.T.double() @ latents.double() / len(latents))
    scale = eigenvalues.clamp_min(MIN_EIGENVALUE).rsqrt()
    whitened: Tensor = latents @ ((eigenvectors * scale) @ eigenvectors.T).to(latents)
    return whitened


def independent_axes(latents: Tensor, seed: int = 0) -> Tensor:
    """Return the directions in which latents depend on each other least.

    This is FastICA with all directions at once and the nonlinearity tanh (Hyvärinen 1999, "Fast and robust fixed-point
    algorithms for independent component analysis", eq. 20 and 26).

    Args:
        latents: of mean 0 and covariance I, float32 [N, k].
        seed: of the first directions.

    Returns:
        orthonormal columns, float32 [k, k].
    """
    k = latents.shape[1]
    axes: Tensor = torch.linalg.qr(torch.randn(k, k, generator=torch.Generator().manual_seed(seed))).Q
    for _ in range(MAX_ICA_ITERATIONS):
        activations = torch.tanh(latents @ axes)
        step = latents.T @ activations / len(latents) - axes * (1 - activations.square()).mean(0)
        left, _, right = torch.linalg.svd(step)
        previous, axes = axes, left @ right
        if float((axes * previous).sum(0).abs().min()) > 1 - ICA_TOLERANCE:
            break
    return axes


def mutual_information(components: Tensor) -> Tensor:
    """Estimate the mutual information of each pair of components, from histograms of their ranks.

    Args:
        components: float [N, k].

    Returns:
        float32 [k, k] in nats, without the mean of independent components (Miller 1955); the diagonal is 0.
    """
    count, k = components.shape
    bins = components.argsort(0).argsort(0) * NUM_BINS // count
    one_hot = torch.nn.functional.one_hot(bins, NUM_BINS).float().flatten(1)
    joint = (one_hot.T @ one_hot / count).reshape(k, NUM_BINS, k, NUM_BINS).transpose(1, 2)
    marginals = one_hot.mean(0).reshape(k, NUM_BINS)
    independent = marginals[:, None, :, None] * marginals[None, :, None, :]
    information: Tensor = torch.special.xlogy(joint, joint / independent).sum((2, 3))
    return (information - (NUM_BINS - 1) ** 2 / (2 * count)).fill_diagonal_(0.0)


def group_by_information(information: Tensor, max_size: int) -> list[list[int]]:
    """Join components that depend on each other into groups, those that depend most first.

    Args:
        information: of each pair of components, float [k, k].
        max_size: largest number of components in a group.

    Returns:
        the groups; each component is in one. The two of the largest mean information that are not too large together
            are joined next.
    """
    groups = [[index] for index in range(len(information))]
    sizes, linkage = torch.ones(len(groups)), information.clone()
    while True:
        is_too_large = sizes[:, None] + sizes > max_size
        candidates = linkage.masked_fill(is_too_large, -torch.inf).fill_diagonal_(-torch.inf)
        first, second = sorted(divmod(int(candidates.argmax()), len(groups)))
        if candidates[first, second] == -torch.inf:
            return [group for group in groups if group]
        total = sizes[first] + sizes[second]
        joined = (sizes[first] * linkage[first] + sizes[second] * linkage[second]) / total
        linkage[first], linkage[:, first], sizes[first] = joined, joined, total
        groups[first], groups[second] = groups[first] + groups[second], []
        sizes[second] = torch.inf
