"""Which class a conditional model decodes an image with, and how to work class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaegan.errors import UsageError
from vaegan.events import EventHandler
from vaegan.inference.class_weights import class_hint, class_number
from vaegan.inference.invert import invert
from vaegan.inference.model import Model


def choose_classes(model: Model, images: Tensor, latents: Tensor, class_: str | None) -> list[str] | None:
    """Return the class of each image: as asked for, or else the one that reconstructs it best.

    Args:
        model: the model.
        images: uint8 [N, C, S, S].
        latents: their latents, float [N, d].
        class_: name of a class, or None.

    Returns:
        N names; None for an unconditional model.

    Raises:
        UsageError: if there is no such class, or it is not given and the model has no encoder.
    """
    if class_ is not None:
        class_number(model, class_)
        return [class_] * len(images)
    if not model.classes:
        return None
    if model.encoder is None:
        raise UsageError(f"{model.info.path} holds no encoder to find the class of an image: {class_hint(model)}")
    return model.best_classes(images, latents)


def invert_by_class(
    model: Model, images: Tensor, latents: Tensor, classes: Sequence[str] | None, steps: int, emit: EventHandler
) -> Tensor:
    """Optimize latents to decode to the given images, each with the model of its class; see `invert`.

    Args:
        model: the model.
        images: uint8 [N, C, S, S].
        latents: where to start, float [N, d].
        classes: class of each image; None for an unconditional model.
        steps: number of Adam steps; 0 returns the latents as they are.
        emit: receives progress.

    Returns:
        latents, float [N, d].
    """
    if not steps:
        return latents
    return map_by_class(
        model, classes, len(latents), lambda part, rows: invert(part, images[rows], latents[rows], steps, emit)
    )


def map_by_class(
    model: Model, classes: Sequence[str] | None, count: int, function: Callable[[Model, Tensor], Tensor]
) -> Tensor:
    """Compute rows with the model of their class.

    Args:
        model: the model.
        classes: class of each row; None for an unconditional model.
        count: number of rows.
        function: takes a model and the indices of its rows, int64 [n], and returns a tensor [n, ...].

    Returns:
        [count, ...], in the order of the rows.
    """
    if not classes:
        return function(model, torch.arange(count))
    parts, positions = [], []
    for name in dict.fromkeys(classes):
        rows = torch.tensor([row for row, other in enumerate(classes) if other == name])
        parts.append(function(model.for_class(name), rows))
        positions.append(rows)
    return torch.cat(parts)[torch.cat(positions).argsort()]


def for_most_frequent_class(model: Model) -> Model:
    """Return the model of the class with the most training images; an unconditional model as it is.

    Args:
        model: the model.

    Returns:
        the model.
    """
    return model.for_class(model.classes[int(model.prior.class_frequencies.argmax())]) if model.classes else model
