"""Names of classes, and the class weights that a conditional decoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Protocol

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo
from vaegan.errors import UsageError, printable
from vaegan.models.class_embedding import one_hot
from vaegan.utils.text import join_text

ClassChoice = str | Sequence[str] | Tensor | None
"""A class for all images, one for each, class weights float [N, num_classes], or None."""


class ModelWithClasses(Protocol):
    """What this module needs of a `Model`. `class_name` is not empty for the model of one class."""

    info: WeightsInfo
    class_name: str


def class_hint(model: ModelWithClasses) -> str:
    """Return how to name a class of a conditional model, for messages.

    Args:
        model: the model.

    Returns:
        the flag and the classes.
    """
    return f"give --class NAME, one of {join_text(model.info.config.classes)} (in Python class_)"


def class_number(model: ModelWithClasses, name: str) -> int:
    """Return the number of a class.

    Args:
        model: the model.
        name: its name.

    Returns:
        from 0.

    Raises:
        UsageError: if there is no such class, or the model is unconditional.
    """
    info, classes = model.info, model.info.config.classes
    if not classes:
        state = f"has the class {model.class_name} only" if model.class_name else "is unconditional"
        raise UsageError(
            f"--class {printable(name)}: {info.path} {state}: leave it out, or train a conditional model with"
            " --cond LABEL"
        )
    if name not in classes:
        match = get_close_matches(name, classes, n=1)
        hint = f"; did you mean {match[0]}?" if match else ""
        raise UsageError(
            f"--class {printable(name)}: expected one of {join_text(classes)}, the values of"
            f" {info.config.class_label}{hint}"
        )
    return classes.index(name)


def class_weights(model: ModelWithClasses, class_: ClassChoice, count: int) -> Tensor:
    """Return the class weights of images.

    Args:
        model: the model.
        class_: the classes; None for an unconditional model.
        count: number of images.

    Returns:
        float32 [count, num_classes].

    Raises:
        UsageError: if there is no such class, none is given, or their number is not that of the images.
    """
    num_classes = len(model.info.config.classes)
    if class_ is None:
        if num_classes:
            raise UsageError(f"{model.info.path} is conditional: {class_hint(model)}")
        return torch.zeros(count, 0)
    if isinstance(class_, Tensor):
        weights = class_.float()
    else:
        names = [class_] * count if isinstance(class_, str) else class_
        numbers = torch.tensor([class_number(model, name) for name in names], dtype=torch.int64)
        weights = one_hot(numbers, num_classes) if num_classes else torch.zeros(len(names), 0)
    if tuple(weights.shape) != (count, num_classes):
        raise UsageError(f"classes of {len(weights)} images for {count}: give one for all, or one for each")
    return weights
