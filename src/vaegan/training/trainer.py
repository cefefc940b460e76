"""What the loop drives: the one face of both trainers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from vaegan.events import Event
from vaegan.training.accumulation import GradientAccumulator


class Trainer(Protocol):
    """Networks, their optimizers, and how they take a step."""

    kind: str
    lr_scale: float  # what the learning rates are multiplied by
    accumulator: GradientAccumulator
    penalty_scale: float  # what the weight of gradient penalties is multiplied by, where there are any

    def step(self, images: Tensor, step: int) -> dict[str, Tensor]:
        """Take step number `step` (from 0) on uint8 [B, C, S, S] and return scalars worth logging.

        Returns nothing where an update was left out, because a number in it was not finite.
        """

    def validate(self) -> dict[str, float]:
        """Return numbers worked out beside the steps."""

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Say in words what the newest of those numbers mean at the end, after `images` pictures."""

    def preview_grid(self) -> Tensor:
        """Return a picture sheet, uint8 [C, H, W]."""

    def drift_grid(self) -> Tensor | None:
        """Return a sheet of what it started from beside what it draws now, uint8 [C, H, W]; None without a start."""

    def generate_samples(self, count: int) -> Tensor:
        """Return pictures uint8 [count, C, S, S] of the averaged weights, of the same latents every time."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return every tensor that going on needs."""

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave."""

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights; `kid` is what they scored."""
