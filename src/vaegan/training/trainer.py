"""What the training loop needs of both trainers, and what both share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaegan.events import Event
from vaegan.models.prior import Prior
from vaegan.training.accumulation import GradientAccumulator
from vaegan.utils.images import to_uint8

IMAGES_PER_ROW = 8
"""Of preview grids."""
SAMPLING_BATCH_SIZE = 64


@torch.no_grad()
def decode_seeds(decoder: nn.Module, prior: Prior, count: int, device: torch.device) -> Tensor:
    """Return images uint8 [count, C, S, S] on the CPU, decoded from the prior's latents of seeds 0 to count - 1."""
    latents = prior.sample_seeds(range(count)).to(device)
    return torch.cat([to_uint8(decoder(part)).cpu() for part in torch.split(latents, SAMPLING_BATCH_SIZE)])


class Trainer(Protocol):
    """The networks of a training run, their optimizers, and how to take a step.

    Attributes:
        kind: "vae" or "gan".
        settings: options of the training run.
        lr_scale: factor of all learning rates, below 1 after a rollback.
        penalty_scale: factor of the gradient penalties of a GAN, above 1 after a rollback from mode collapse.
        accumulator: splits batches over ranks and micro-batches.
    """

    kind: str
    settings: Any
    lr_scale: float
    penalty_scale: float
    accumulator: GradientAccumulator

    def step(self, images: Tensor, step: int) -> dict[str, Tensor] | None:
        """Take the optimizer step number `step`, from 0, on this rank's images, uint8 [B, C, S, S].

        Returns:
            Scalar metrics to log. None if the step was skipped, because a gradient or metric was not finite.
        """

    def validate(self) -> dict[str, float]:
        """Return validation metrics of the EMA weights."""

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Explain the last validation metrics at the end of training."""

    def preview_grid(self) -> Tensor:
        """Return a grid of images, uint8 [C, H, W]."""

    def drift_grid(self) -> Tensor | None:
        """Return a grid of the VAE decoder's and the generator's images, uint8 [C, H, W], if both exist."""

    def generate_samples(self, count: int) -> Tensor:
        """Generate images uint8 [count, C, S, S] of the latents with seeds 0 to count - 1, with EMA weights."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that a checkpoint needs."""

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Restore what `state_dict` returned. Raises VaeganError, naming `path`, if a tensor does not fit."""

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the weights for inference to `path`, with their KID."""
