"""Defaults of a new run that depend on the number of training images, and on whether it starts from another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaegan.config.options import flag_name
from vaegan.config.settings import DURATION_OPTIONS
from vaegan.training.validation import MIN_EVAL_IMAGES

FEW_IMAGES = 1000
"""Up to so many training images, a run has the options of a small set."""
FEW_IMAGES_LENGTH = {"vae": 30_000, "gan": 100_000}
FINE_TUNING_LENGTH = {"vae": 15_000, "gan": 50_000}
"""Images seen by a run on a small set, without and with a start."""
FINE_TUNING_OPTIONS: dict[str, dict[str, Any]] = {
    # the decoder uses the latents already, and Adam and Muon need few steps to fill their averages
    "vae": {"kl_warmup": 0, "lr_warmup": 1000},
    "gan": {},
}


@dataclass(frozen=True)
class Recipe:
    """Options that a run gets unless the user gives others.

    Attributes:
        reason: what they are chosen for.
        options: their values by name.
    """

    reason: str
    options: Mapping[str, Any]

    def describe(self) -> str:
        """Name the options and what they are chosen for.

        Returns:
            one line; "" for no options.
        """
        flags = [f"{flag_name(name)} {value}" for name, value in self.options.items()]
        return f"{self.reason}: {' '.join(flags)}" if flags else ""


def choose_recipe(kind: str, counts: Mapping[str, int], is_fine_tuning: bool, requested: Mapping[str, Any]) -> Recipe:
    """Choose the options that suit the number of images and the start.

    Args:
        kind: "vae" or "gan".
        counts: number of images by split, "train" and "val".
        is_fine_tuning: whether the run starts from another of its kind.
        requested: options that the user gave, which stay as they are.

    Returns:
        the other options; none for a larger set without a start.
    """
    num_images, is_small = counts["train"], counts["train"] <= FEW_IMAGES
    options: dict[str, Any] = {}
    if is_small:
        options["images"] = (FINE_TUNING_LENGTH if is_fine_tuning else FEW_IMAGES_LENGTH)[kind]
    if is_fine_tuning:
        options |= FINE_TUNING_OPTIONS[kind]
    has_evaluations = counts["val"] >= MIN_EVAL_IMAGES <= num_images and requested.get("evaluate_every") != 0
    if kind == "gan" and (is_small or is_fine_tuning) and has_evaluations:
        options["stop_when"] = "flat"
    if any(requested.get(name) is not None for name in DURATION_OPTIONS):  # so long it shall be
        options = {name: value for name, value in options.items() if name not in ("images", "stop_when")}
    reasons = [f"{num_images:,} training images" if is_small else "", "a start" if is_fine_tuning else ""]
    return Recipe(
        f"For {' and '.join(filter(None, reasons))}",
        {name: value for name, value in options.items() if name not in requested},
    )
