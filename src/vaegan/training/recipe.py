"""Defaults of a new run that depend on the number of training images, and on whether it starts from another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaegan.config.options import flag_name

FEW_IMAGES = 500
"""With fewer training images, a run has the options of a small set."""


@dataclass(frozen=True)
class Recipe:
    """Options that a run gets unless the user gives others.

    Attributes:
        reason: what they are chosen for.
        options: their values by name.
    """

    reason: str
    options: Mapping[str, Any]

    def describe(self, requested: Mapping[str, Any]) -> str:
        """Name the options that the user did not give.

        Args:
            requested: options that the user gave; None for a length that another one replaces.

        Returns:
            one line; "" where nothing is left.
        """
        chosen = {name: value for name, value in self.options.items() if name not in requested}
        flags = " ".join(
            f"{flag_name(name)} {value:g}" if isinstance(value, float) else f"{flag_name(name)} {value}"
            for name, value in chosen.items()
        )
        return f"{self.reason}: {flags}" if flags else ""


def choose_recipe(kind: str, counts: Mapping[str, int], is_fine_tuning: bool) -> Recipe:
    """Choose the options that suit the number of images.

    Args:
        kind: "vae" or "gan".
        counts: number of images by split, "train" and "val".
        is_fine_tuning: whether the run starts from another of its kind.

    Returns:
        the options; none for a large set from nothing.
    """
    options: dict[str, Any] = {}
    return Recipe(f"{counts['train']:,} training images", options)
