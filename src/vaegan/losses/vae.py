"""Reconstruction losses and the KL term of a VAE, in nats per image.

A reconstruction loss is a negative log-likelihood -ln p(x|z), summed over the pixels of each image. torch is not
imported here, so that the command line can list the likelihoods without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NegativeLogLikelihood = Callable[["Tensor", "Tensor", "Tensor | None"], "Tensor"]
"""(images [B, C, S, S] in [-1, 1], decoded images, batch statistic) -> float [B].

The statistic is the mean over the whole batch of the function in BATCH_STATISTICS. It is passed where `images` are only
a micro-batch, and None where they are the whole batch. Likelihoods without an entry there ignore it.
"""


def squared_error(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return the squared error: a Gaussian of variance 1/2, up to a constant.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: reconstructions, of the same shape.
        batch_statistic: not used.

    Returns:
        nats per image, float [B].
    """
    return (images - decoded).square().flatten(1).sum(1)


def gaussian_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood of a Gaussian whose variance v is optimal for the batch.

    It is D/2 (ln(2 pi v) + error / (D v)), with D values per image and v the batch's mean squared error per value
    (Rybkin et al. 2021, arXiv 2006.13202, eq. 5). Passing v as a constant for micro-batches does not change the
    gradient: v is optimal, so the derivative by v is 0.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: reconstructions, of the same shape.
        batch_statistic: mean squared error per image of the global batch; None takes that of `images`.

    Returns:
        nats per image, float [B].
    """
    size = images[0].numel()
    errors = squared_error(images, decoded)
    variance = ((errors.mean() if batch_statistic is None else batch_statistic) / size).clamp_min(1e-6)
    return 0.5 * (size * (math.log(2 * math.pi) + variance.log()) + errors / variance)


def laplace_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return twice the absolute error: a Laplace distribution of scale 1/2, up to a constant.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: reconstructions, of the same shape.
        batch_statistic: not used.

    Returns:
        nats per image, float [B].
    """
    return 2 * (images - decoded).abs().flatten(1).sum(1)


def bernoulli_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of pixels mapped to [0, 1].

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: reconstructions, of the same shape.
        batch_statistic: not used.

    Returns:
        nats per image, float [B].
    """
    target, probability = (images + 1) / 2, ((decoded + 1) / 2).clamp(1e-4, 1 - 1e-4)
    return -(target * probability.log() + (1 - target) * (1 - probability).log()).flatten(1).sum(1)


def _laplacian_pyramid_error(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return the weighted absolute error of the Laplacian pyramid down to 8x8 pixels.

    Each level has a quarter of the pixels of the one before and 4 times its weight, so all levels count alike (Lap1 of
    Bojanowski et al. 2018, arXiv 1707.05776).
    """
    from vaegan.utils.laplacian import laplacian_pyramid

    num_levels = max(1, int(math.log2(images.shape[-1])) - 2)
    errors = images.new_zeros(len(images))
    for level, difference in enumerate(laplacian_pyramid(images - decoded, num_levels)):
        errors = errors + 4**level * difference.abs().flatten(1).sum(1)
    return errors


def laplacian_pyramid_nll(images: Tensor, decoded: Tensor, batch_statistic: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood of a Laplacian pyramid whose scale s is optimal for the batch.

    The density exp(-E / s) of the pyramid's error E integrates to s^D times a constant. Up to this constant the
    negative log-likelihood is D ln s + E / s, and the optimal scale is s = mean(E) / D. See `gaussian_nll` for s of
    micro-batches.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: reconstructions, of the same shape.
        batch_statistic: mean pyramid error per image of the global batch; None takes that of `images`.

    Returns:
        nats per image, float [B].
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

# Nats per value that the loss leaves out of the density of pixels in [-1, 1]. "bernoulli" is not such a density, and
# the constant of "pyramid" is not known.
LOG_NORMALIZERS = {"squared": 0.5 * math.log(math.pi), "gaussian": 0.0, "laplace": 0.0}

# The function whose mean over the whole batch a likelihood needs as its batch statistic.
BATCH_STATISTICS: dict[str, NegativeLogLikelihood] = {"gaussian": squared_error, "pyramid": _laplacian_pyramid_error}


def kl_per_dim(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, 1)) (Kingma & Welling 2014, arXiv 1312.6114, appendix B).

    Args:
        mean: float [B, d].
        log_var: float [B, d].

    Returns:
        nats per latent dimension, float [B, d].
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
