"""What the training loop needs of both trainers, and what both share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vaegan.checkpoint import load_strict
from vaegan.events import Event
from vaegan.models.class_embedding import one_hot
from vaegan.models.prior import Prior
from vaegan.training.accumulation import GradientAccumulator
from vaegan.utils.device import copy_to_device
from vaegan.utils.images import to_uint8

IMAGES_PER_ROW = 8
"""Of preview grids."""
MAX_PREVIEW_CLASSES = 16
"""Most classes that a preview shows."""
SAMPLING_BATCH_SIZE = 64


@torch.no_grad()
def decode_seeds(
    decoder: nn.Module, prior: Prior, count: int, device: torch.device, class_ids: Tensor | None = None
) -> Tensor:
    """Decode the latents of seeds 0 to count - 1.

    Args:
        decoder: decoder or generator.
        prior: samples the latents.
        count: number of images.
        device: where the decoder is.
        class_ids: of a conditional prior, the number of each image's class, int64 [count]; by default the classes are
            as frequent as among the training images.

    Returns:
        uint8 [count, C, S, S], on the CPU.
    """
    if prior.num_classes and class_ids is None:
        class_ids = prior.sample_classes(range(count))
    class_weights = make_class_weights(class_ids, count, prior.num_classes)
    latents = prior.sample_seeds(range(count), class_weights=class_weights)
    images = []
    for start in range(0, count, SAMPLING_BATCH_SIZE):
        rows = slice(start, start + SAMPLING_BATCH_SIZE)
        images.append(to_uint8(decoder(latents[rows].to(device), class_weights[rows].to(device))).cpu())
    return torch.cat(images)


def load_with_new_classes(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a model, in place; what an unconditional start lacks stays.

    That are the class embeddings, which are 0, and the buffers of a conditional prior.

    Args:
        model: network to fill.
        tensors: state_dict of a network like it, with the same classes or without any.
        path: where the tensors are from, for messages.

    Raises:
        VaeganError: if another tensor is missing, or one is unexpected, or of another shape or type.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if "class_" in name and name not in tensors}
    load_strict(model, {**tensors, **own}, path)


def make_class_weights(
    class_ids: Tensor | None, count: int, num_classes: int, device: torch.device | None = None
) -> Tensor:
    """Return the class weights of images.

    Args:
        class_ids: number of each image's class, int64 [count]; None for an unconditional model.
        count: number of images.
        num_classes: number of classes; 0 for an unconditional model.
        device: where to return them; by default where the numbers are.

    Returns:
        float32 [count, num_classes].
    """
    class_weights = torch.zeros(count, 0) if class_ids is None else one_hot(class_ids, num_classes)
    return class_weights if device is None else copy_to_device(class_weights, device)


def class_frequencies(class_ids: Tensor, num_classes: int) -> Tensor:
    """Return the fraction of images in each class.

    Args:
        class_ids: number of each image's class, int64 [N], N at least 1.
        num_classes: number of classes.

    Returns:
        float32 [num_classes].
    """
    return class_ids.bincount(minlength=num_classes).float() / len(class_ids)


def preview_classes(num_rows: int, num_classes: int) -> Tensor | None:
    """Return the classes of a preview of samples: one class for each row of images, in turn.

    Args:
        num_rows: number of rows of IMAGES_PER_ROW images.
        num_classes: number of classes; 0 for an unconditional model.

    Returns:
        numbers of the classes, int64 [num_rows * IMAGES_PER_ROW]; None for an unconditional model.
    """
    return (torch.arange(num_rows) % num_classes).repeat_interleave(IMAGES_PER_ROW) if num_classes else None


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

    def step(self, images: Tensor, step: int, class_ids: Tensor | None = None) -> dict[str, Tensor] | None:
        """Take one optimizer step.

        Args:
            images: this rank's, uint8 [B, C, S, S].
            step: number of the step, from 0.
            class_ids: of a conditional model, the number of each image's class, int64 [B].

        Returns:
            Scalar metrics to log. None if the step was skipped, because a gradient or metric was not finite.
        """

    def validate(self) -> dict[str, float]:
        """Compute validation metrics of the EMA weights.

        Returns:
            value by name.
        """

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Explain the last validation metrics at the end of training.

        Args:
            metrics: newest validation metrics.
            images_seen: training images seen.

        Returns:
            events to emit.
        """

    def preview_grid(self) -> Tensor:
        """Draw a preview.

        Returns:
            grid of images, uint8 [C, H, W].
        """

    def drift_grid(self) -> Tensor | None:
        """Draw the VAE decoder's and the generator's images of the same latents.

        Returns:
            uint8 [C, H, W]; None unless both exist.
        """

    def generate_samples(self, count: int) -> Tensor:
        """Decode the latents of the first seeds with the EMA weights.

        Args:
            count: number of samples.

        Returns:
            uint8 [count, C, S, S], on the CPU.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that a checkpoint needs.

        Returns:
            tensors by name.
        """

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Restore what `state_dict` returned.

        Args:
            tensors: tensors by name.
            path: checkpoint, for messages.

        Raises:
            VaeganError: if a tensor does not fit.
        """

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the weights for use.

        Args:
            path: file to write.
            step: steps done.
            kid: their KID, if it was measured.

        Raises:
            VaeganError: if the file cannot be written.
        """
