"""Adversarial losses, in a registry, and the gradient penalty.

Each loss takes logits float [B] of real and of generated pictures and returns a scalar to minimise. Importing this
costs no torch, so that the command line can list the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LogitLoss = Callable[["Tensor", "Tensor"], "Tensor"]


def _softplus(x: Tensor) -> Tensor:
    """ln(1 + e^x): -softplus(-x) is ln sigmoid(x)."""
    from torch.nn.functional import softplus

    return softplus(x)


@dataclass(frozen=True)
class AdversarialLoss:
    """discriminator(real, fake) and generator(real, fake); `paired` when the generator's needs real logits."""

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
        "each fake is judged against a real one (Jolicoeur-Martineau 2018, 1807.00734; R3GAN, 2501.05441)",
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


def feature_distance(features: list[Tensor], target_features: list[Tensor]) -> Tensor:
    """How far pictures are from those that they shall show, by a discriminator's features of both; float [B].

    levels, wanted: float [B, F, S, S] each, the finest first, which is left out: it sees edges and grain, and a decoded
    picture need not have the very grain of its original. Squared distance by the wanted features' squared length, the
    mean over the levels (after Larsen et al. 2016, arXiv 1512.09300, eq. 7, who take one level, unscaled).
    """
    from torch import stack

    pairs = list(zip(features, target_features, strict=True))[1:] or [(features[0], target_features[0])]
    distances = []
    for mine, theirs in pairs:
        mine, theirs = mine.float().flatten(1), theirs.float().flatten(1)
        distances.append((mine - theirs).square().sum(1) / theirs.square().sum(1).clamp_min(1e-6))
    return stack(distances).mean(0)


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Squared norm of d logit / d picture, float [B]: R1 on real, R2 on generated ones (1801.04406, eq. 9).

    pictures: float [B, C, S, S] that require grad and that `logits` [B] were computed from. Where a logit also depends
    on the picture's neighbours (minibatch standard deviation), it is of the sum of all logits that a picture moves.
    """
    from torch.autograd import grad

    (gradient,) = grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().flatten(1).sum(1)
