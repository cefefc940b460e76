"""Likelihoods p(x|z) and the KL term, each summed over pixels or axes and averaged over pictures, in nats.

A likelihood's third argument is the mean that it takes from the whole batch, where it takes one (see BATCH_MEANS).
Importing this costs no torch, so that the command line can list the registry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NegativeLogLikelihood = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]


def squared_error(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Gaussian of variance 1/2 up to a constant: squared error in [-1, 1] summed over C, S, S; float [B]."""
    return (images - decoded).square().flatten(1).sum(1)


def gaussian_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Gaussian whose one variance is the batch's best (Rybkin et al. 2021, arXiv 2006.13202, eq. 5); float [B].

    Negative log-likelihood D/2 (ln(2 pi v) + error / (D v)) with v the mean squared error of the batch. mean: the
    batch's mean error where `pictures` are only a part of it. That it is held fixed then changes no gradient: v is the
    minimum, where the derivative by v is zero.
    """
    size = images[0].numel()
    errors = (images - decoded).square().flatten(1).sum(1)
    variance = ((errors.mean() if batch_statistic is None else batch_statistic) / size).clamp_min(1e-6)
    return 0.5 * (size * (math.log(2 * math.pi) + variance.log()) + errors / variance)


def laplace_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Laplace of scale 1/2 up to a constant: twice the absolute error summed over C, S, S; float [B]."""
    return 2 * (images - decoded).abs().flatten(1).sum(1)


def bernoulli_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Cross-entropy of pixels in [0, 1], summed over C, S, S; float [B]."""
    target, chance = (images + 1) / 2, ((decoded + 1) / 2).clamp(1e-4, 1 - 1e-4)
    return -(target * chance.log() + (1 - target) * (1 - chance).log()).flatten(1).sum(1)


def _laplacian_pyramid_error(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Absolute differences of the Laplacian pyramid down to 8 pixels, a level of half the side weighing four times.

    float [B]. Each level then counts alike (Bojanowski et al. 2018, arXiv 1707.05776, Lap1).
    """
    from vaegan.utils.laplacian import laplacian_pyramid

    levels = max(1, int(math.log2(images.shape[-1])) - 2)
    parts = laplacian_pyramid(images - decoded, levels)
    first, *others = (4**level * part.abs().flatten(1).sum(1) for level, part in enumerate(parts))
    errors: Tensor = first
    for other in others:
        errors = errors + other
    return errors


def laplacian_pyramid_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Laplace of a Laplacian pyramid's levels whose one scale is the batch's best, as `gaussian` has it; float [B].

    The density exp(-E(x) / s) of pixels, E the levels' weighted absolute differences, integrates to s^D times a number
    that depends on the pyramid alone. Up to that number this is its negative log-likelihood, D ln s + E / s, with
    s = mean E / D, the minimum. mean: as for `gaussian`.
    """
    size = images[0].numel()
    errors = _laplacian_pyramid_error(images, decoded)
    scale = ((errors.mean() if batch_statistic is None else batch_statistic) / size).clamp_min(1e-6)
    return size * scale.log() + errors / scale


LIKELIHOODS: dict[str, NegativeLogLikelihood] = {
    "squared": squared_error,
    "gaussian": gaussian_nll,
    "laplace": laplace_nll,
    "bernoulli": bernoulli_nll,
    "pyramid": laplacian_pyramid_nll,
}

# nats per value that a density of pixels in [-1, 1] has and the loss leaves out; bernoulli is no such density,
# and the number that pyramid leaves out is not known
LOG_NORMALIZERS = {"squared": 0.5 * math.log(math.pi), "gaussian": 0.0, "laplace": 0.0}

# what a likelihood takes from the whole batch: the mean over its pictures of this
BATCH_STATISTICS: dict[str, NegativeLogLikelihood] = {"gaussian": squared_error, "pyramid": _laplacian_pyramid_error}


def kl_per_dim(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) per axis (Kingma & Welling 2014, appendix B); float [B, d], nats."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
