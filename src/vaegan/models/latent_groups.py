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

from vaegan.config.model_config import MAX_GROUPS
from vaegan.models.latent_completion import SEEDS_PER_CHUNK

GROUP_SIZES = (16, 8)
"""Largest numbers of directions in a group that are tried. Larger groups are more alike to training images."""
MIN_INFORMATION = 0.1
"""Mutual information, in nats, of the two directions that depend on each other most, below which there are no groups.
Two directions of different groups must share less."""

MIN_IMAGES, MAX_LATENTS, MAX_DIM = 1024, 8192, 512
"""With fewer images, information would be found by chance. More latents are left out. More directions take long."""
NUM_BINS = 12
MIN_EIGENVALUE = 1e-4
MAX_ICA_ITERATIONS = 200
ICA_TOLERANCE = 1e-5


def recombine(leading: Tensor, references: Tensor, axes: Tensor, offsets: Tensor) -> Tensor:
    """Replace each group of latents by that of the reference that fits it best.

    Args:
        leading: float [N, k].
        references: latents of training images, float [M, d], d at least k.
        axes: orthonormal columns that span each group, float [G, k, s]; smaller groups have columns of 0. The groups
            together span all k dimensions.
        offsets: float [G, M] (see `vaegan.models.reference_latents.balanced_offsets`).

    Returns:
        float [N, k].
    """
    keys = references[:, : leading.shape[1]] @ axes  # [G, M, s]
    fit = torch.baddbmm(offsets[:, None], leading @ axes, keys.transpose(1, 2))
    chosen = fit.argmax(2)[:, :, None].expand(-1, -1, keys.shape[2])
    return (keys.gather(1, chosen) @ axes.transpose(1, 2)).sum(0)


def recombine_seeds(leading: Tensor, references: Tensor, axes: Tensor, offsets: Tensor) -> Tensor:
    """Recombine latents as `recombine` does, in float64.

    The number of rows changes the rounding, which could decide which reference fits best.

    Args:
        leading: float32 [N, k], on the CPU.
        references: as in `recombine`.
        axes: as in `recombine`.
        offsets: as in `recombine`.

    Returns:
        float32 [N, k].
    """
    in_float64 = references[:, : leading.shape[1]].double(), axes.double(), offsets.double()
    chunks = torch.split(leading, SEEDS_PER_CHUNK)
    return torch.cat([recombine(chunk.double(), *in_float64).float() for chunk in chunks])


def find_groups(latents: Tensor, seed: int = 0) -> list[Tensor]:
    """Split latents into groups that depend on each other as little as possible.

    Args:
        latents: whitened, float32 [N, draws, k], several of each image.
        seed: of the start of the search.

    Returns:
        the axes of the groups, float32 [G, k, s], as `recombine` takes them, for each of `GROUP_SIZES` with which the
        groups hardly depend on each other. None at all where no two directions depend on each other much, or for too
        few images.
    """
    count, _, k = latents.shape
    if count < MIN_IMAGES or k > MAX_DIM:
        return []
    latents = latents.transpose(0, 1).flatten(0, 1)
    num_rows = min(len(latents), MAX_LATENTS)
    latents = _whiten(latents[torch.arange(num_rows) * len(latents) // num_rows])
    axes = independent_axes(latents, seed)
    information = mutual_information(latents @ axes)
    if float(information.max()) < MIN_INFORMATION:
        return []
    splits = []
    for size in GROUP_SIZES:
        groups = group_by_information(information, size)
        group_of = torch.empty(k, dtype=torch.int64)
        for number, group in enumerate(groups):
            group_of[group] = number
        between = information.masked_fill(group_of[:, None] == group_of, 0.0)
        if 1 < len(groups) <= MAX_GROUPS and float(between.max()) < MIN_INFORMATION:
            padded = torch.zeros(len(groups), k, max(map(len, groups)))
            for group_axes, group in zip(padded, groups, strict=True):
                group_axes[:, : len(group)] = axes[:, group]
            splits.append(padded)
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

    This is FastICA with symmetric decorrelation and the nonlinearity tanh (Hyvärinen 1999, "Fast and robust fixed-point
    algorithms for independent component analysis").

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
