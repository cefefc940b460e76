"""Adversarial losses, the feature distance and the gradient penalty.

torch is imported inside the functions, so that the command line can list the losses without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LogitLoss = Callable[["Tensor", "Tensor"], "Tensor"]
"""(real logits [B], fake logits [B]) -> scalar to minimize."""


def _softplus(x: Tensor) -> Tensor:
    """Return ln(1 + e^x); -softplus(-x) is ln sigmoid(x)."""
    from torch.nn.functional import softplus

    return softplus(x)


@dataclass(frozen=True)
class AdversarialLoss:
    """The losses of both networks; needs_real_logits: whether the generator's loss depends on real images."""

    discriminator_loss: LogitLoss
    generator_loss: LogitLoss
    needs_real_logits: bool
    description: str


def _classic_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    return _softplus(-real).mean() + _softplus(fake).mean()


LOSSES = {
    "relativistic": AdversarialLoss(
        lambda real, fake: _softplus(fake - real).mean(),
        lambda real, fake: _softplus(real - fake).mean(),
        True,
        "compares each fake with a real image (Jolicoeur-Martineau 2018, 1807.00734; R3GAN, 2501.05441)",
    ),
    "non-saturating": AdversarialLoss(
        _classic_discriminator_loss,
        lambda real, fake: _softplus(-fake).mean(),
        False,
        "-ln D(G(z)) for the generator (Goodfellow et al. 2014, 1406.2661, section 3)",
    ),
    "minimax": AdversarialLoss(
        _classic_discriminator_loss,
        lambda real, fake: -_softplus(fake).mean(),
        False,
        "ln(1 - D(G(z))) for the generator: the original game (1406.2661, eq. 1)",
    ),
    "hinge": AdversarialLoss(
        lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(),
        lambda real, fake: -fake.mean(),
        False,
        "margins instead of logarithms (Lim & Ye 2017, 1705.02894)",
    ),
}


def _sum_per_image(values: Tensor) -> Tensor:
    """Sum [B, C, S, S] to [B], without `flatten`, which would copy a channels_last layout."""
    return values.sum((1, 2, 3))


def feature_distance(features: list[Tensor], target_features: list[Tensor], rows: Tensor | None = None) -> Tensor:
    """Return the relative distance of images from their targets in a discriminator's features.

    At each level it is |f - t|^2 / |t|^2, and the result is the mean over the levels. It follows Larsen et al. 2016,
    arXiv 1512.09300, eq. 7, who use one level without scaling. The finest level is left out. It responds to edges and
    noise, which a reconstruction need not reproduce exactly.

    Args:
        features: of the images, float [B, F, s, s] per level, finest first.
        target_features: of their targets, of the same shapes.
        rows: indices of the images to compare, int64 [R]; by default all.

    Returns:
        float32 [R], from 0.
    """
    from torch import stack

    levels = list(zip(features, target_features, strict=True))
    distances = []
    for level, target in levels[1:] or levels:
        if rows is not None:
            level, target = level.index_select(0, rows), target.index_select(0, rows)
        level, target = level.float(), target.float()
        distances.append(_sum_per_image((level - target).square()) / _sum_per_image(target.square()).clamp_min(1e-6))
    return stack(distances).mean(0)


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return the squared gradient norm |d logit / d image|^2: R1 on real images, R2 on fake ones.

    See Mescheder et al. 2018, arXiv 1801.04406, eq. 9. With minibatch standard deviation a logit depends on the whole
    group of images. The gradient is then that of the sum of all logits.

    Args:
        logits: [B], computed from `images`.
        images: [B, C, S, S], which require grad.

    Returns:
        float32 [B], differentiable.
    """
    from torch.autograd import grad

    (gradient,) = grad(logits.sum(), images, create_graph=True)
    return _sum_per_image(gradient.float().square())
