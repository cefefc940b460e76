"""Attributes that a user marks on a few faces, without labels."""

from __future__ import annotations

from torch import Tensor

from vaegan.data.labels import NO, YES
from vaegan.inference.attributes import MARKED, Attribute

MARKED_LOG_ODDS = 3.0
"""Log-odds that the mean of the faces with more of the attribute gets; the other mean gets its negative."""


def mark_attribute(name: str, more: Tensor, less: Tensor) -> Attribute:
    """Make an attribute from a few faces that have more of something, and a few that have less.

    The weight is the difference of the two means. Latents are white, so each coordinate of this difference has variance
    1/n + 1/m where the two groups do not differ. Coordinates are shrunk accordingly (non-negative garrote, Breiman
    1995), so that the direction is not that of the faces that happened to be picked. Ten faces are enough.

    Args:
        name: name of the attribute.
        more: latents float [n, d], n at least 1.
        less: latents float [m, d], m at least 1.

    Returns:
        an attribute of kind MARKED.
    """
    more, less = more.double(), less.double()
    difference = more.mean(0) - less.mean(0)
    noise = 1 / len(more) + 1 / len(less)
    weight = difference * (1 - noise / difference.square().clamp_min(1e-12)).clamp_min(0)
    if not float(weight.abs().sum()):
        weight = difference
    middle = (more.mean(0) + less.mean(0)) / 2
    bias = -float(weight @ middle)
    on_score, off_score = float(more.mean(0) @ weight) + bias, float(less.mean(0) @ weight) + bias
    # a few picked faces say nothing of probabilities: the two means get 95 % and 5 %
    scale = 2 * MARKED_LOG_ODDS / max(1e-12, on_score - off_score)
    return Attribute(
        name,
        YES,
        NO,
        MARKED,
        weight * scale,
        bias * scale,
        on_score * scale,
        off_score * scale,
        float(weight.norm()) * scale,
        num_positive=len(more),
    )
