"""Attributes that a user marks on a few faces, without labels."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from vaegan.data.labels import NO, YES
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note, WarningMessage
from vaegan.inference.attribute_files import load_attributes
from vaegan.inference.attributes import MARKED, Attribute, AttributeSet
from vaegan.inference.model import Model

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


def keep_marked(path: Path, model: Model, attributes: AttributeSet, emit: EventHandler) -> AttributeSet:
    """Add the attributes that the user has marked on faces, from the file that is to be replaced.

    Args:
        path: the file of the model's attributes; it need not exist.
        model: the model.
        attributes: attributes that were learned anew.
        emit: receives a note on what is kept, or a warning on what cannot be.

    Returns:
        all of them.
    """
    if not path.exists():
        return attributes
    try:
        marked = [attribute for attribute in load_attributes(path, model).attributes if attribute.kind == MARKED]
    except VaeganError as error:
        emit(WarningMessage(f"attributes that were marked on faces are not kept: {error}"))
        return attributes
    for attribute in marked:
        attributes = attributes.with_attribute(attribute)
    if marked:
        emit(Note(f"Kept what was marked on faces: {', '.join(attribute.title for attribute in marked)}"))
    return attributes
