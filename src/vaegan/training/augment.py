"""Augmentations of training images and of the discriminator's inputs, and their probability (ADA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.checkpoint import MAX_STATE_VALUE, state_tensor
from vaegan.errors import UsageError

RANDOMS_PER_IMAGE = 5
"""Uniform random numbers per image and augmentation: four parameters, and one that decides whether it is applied."""

ADA_INTERVAL = 8
"""Steps between updates of the augmentation probability."""
ADA_IMAGES = 50_000
"""Images over which the augmentation probability can rise from 0 to 1."""
ADA_HALFLIFE_IMAGES = 2_000
"""Half-life, in images, of the moving averages of the logit differences."""
MIN_LOGIT_MARGIN = 0.5
"""Smallest real-fake logit difference to divide by. Below it, the discriminator separates nothing yet."""
ADA_LOGIT_NAMES = ("logit_train", "logit_val")
"""Metrics of a step that only ADA reads; they are not logged."""

Augmentation = Callable[[Tensor, Tensor], Tensor]


def random_hflip(images: Tensor, rand: Tensor) -> Tensor:
    """Mirror half of the images.

    Args:
        images: [B, C, S, S].
        rand: uniform random numbers in [0, 1), [B]; images below 0.5 are mirrored.

    Returns:
        [B, C, S, S].
    """
    return torch.where((rand < 0.5)[:, None, None, None], images.flip(-1), images)


def random_affine_and_color(images: Tensor, rand: Tensor, strength: float) -> Tensor:
    """Shift, zoom, stretch and recolor every image by up to `strength`.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        rand: uniform random numbers in [0, 1), float [B, 4 + 2 C].
        strength: largest shift as a fraction of the side, and largest relative change of the zoom and of each channel's
            gain. Width and height are stretched by up to half of it, and channels are offset by up to half of it, as a
            fraction of the range of values.

    Returns:
        float [B, C, S, S] in [-1, 1], with linear interpolation and reflected edges.
    """
    channels = images.shape[1]
    offsets = (2 * rand - 1) * strength
    zoom, stretch = 1 + offsets[:, 0], 1 + offsets[:, 1] / 2
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = zoom * stretch, zoom / stretch
    theta[:, :, 2] = 2 * offsets[:, 2:4]  # affine_grid's coordinates span 2 per side
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain, level = 1 + offsets[:, 4 : 4 + channels], offsets[:, 4 + channels : 4 + 2 * channels]
    return (images * gain[:, :, None, None] + level[:, :, None, None]).clamp(-1, 1)


# DiffAugment (Zhao et al. 2020, arXiv 2006.10738): differentiable augmentations of real and generated images alike.
# Each takes images float [B, C, S, S] and uniform random numbers in [0, 1), float [B, 4].


def color_jitter(images: Tensor, rand: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation by a factor of 0 to 2 and contrast by 0.5 to 1.5.

    The formula is that of DiffAugment (Zhao et al. 2020, arXiv 2006.10738).

    Args:
        images: float [B, C, S, S].
        rand: uniform random numbers in [0, 1), [B, 3 or more].

    Returns:
        float [B, C, S, S].
    """
    brightness, saturation, contrast = (rand[:, k, None, None, None] for k in range(3))
    images = images + (brightness - 0.5)
    gray = images.mean(1, keepdim=True)
    images = (images - gray) * (saturation * 2) + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translate(images: Tensor, rand: Tensor) -> Tensor:
    """Shift by up to an eighth of the side in both directions, filling with zeros.

    Args:
        images: float [B, C, S, S].
        rand: uniform random numbers in [0, 1), [B, 2 or more].

    Returns:
        float [B, C, S, S].
    """
    size = images.shape[-1]
    max_shift = size // 8
    shift = (rand[:, :2] * (2 * max_shift + 1)).floor().long() - max_shift
    positions = torch.arange(size, device=images.device)
    rows = positions[None] + shift[:, :1]
    columns = positions[None] + shift[:, 1:2]
    inside = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None]
    index = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = rows.clamp(0, size - 1), columns.clamp(0, size - 1)
    shifted = images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None]]
    return (shifted * inside[..., None]).permute(0, 3, 1, 2)


def cutout(images: Tensor, rand: Tensor) -> Tensor:
    """Set a square of half the side, centered anywhere in the image, to zero.

    Args:
        images: float [B, C, S, S].
        rand: uniform random numbers in [0, 1), [B, 4 or more]; the third and the fourth place the square.

    Returns:
        float [B, C, S, S].
    """
    size = images.shape[-1]
    positions = torch.arange(size, device=images.device)
    center = (rand[:, 2:4] * size).floor()
    offset = positions[None, None] - center[..., None]
    inside = (offset >= -(size // 4)) & (offset < size // 4)
    return images * ~(inside[:, :1, :].transpose(1, 2) & inside[:, 1:, :])[:, None]


AUGMENTATIONS: dict[str, Augmentation] = {"color": color_jitter, "translation": translate, "cutout": cutout}


def parse_augmentations(names: str) -> list[Augmentation]:
    """Parse --augment.

    Args:
        names: such as "color,translation" or "none".

    Returns:
        the augmentations, in that order.

    Raises:
        UsageError: for an unknown name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip() not in ("", "none")]
    for name in wanted:
        if name not in AUGMENTATIONS:
            raise UsageError(f"--augment {name}: expected none or some of {','.join(AUGMENTATIONS)}")
    return [AUGMENTATIONS[name] for name in wanted]


def augment(images: Tensor, rand: Tensor, augmentations: list[Augmentation], probability: float = 1.0) -> Tensor:
    """Apply augmentations in turn, each to a random fraction of the images.

    Args:
        images: float [B, C, S, S].
        rand: uniform random numbers in [0, 1): four columns for each augmentation; where `probability` is below 1, one
            more for each, which decides whether it is applied.
        augmentations: as `parse_augmentations` returns them.
        probability: chance of each augmentation to be applied to an image.

    Returns:
        float [B, C, S, S].
    """
    for index, augmentation in enumerate(augmentations):
        augmented = augmentation(images, rand[:, 4 * index : 4 * index + 4])
        if probability < 1:
            is_applied = rand[:, 4 * len(augmentations) + index, None, None, None] < probability
            augmented = augmented.where(is_applied, images)
        images = augmented
    return images


@dataclass
class AdaptiveAugment:
    """Adaptive discriminator augmentation, ADA (Karras et al. 2020, arXiv 2006.06676, section 3).

    The measure of overfitting is r_v of eq. 1: (logit_train - logit_val) / (logit_train - logit_fake). The paper's
    other measure, r_t, is the mean sign of the logits of real images. It says nothing about a relativistic
    discriminator, whose loss only depends on differences of logits.

    Attributes:
        target: value of r_v to hold.
        augment_p: probability of each augmentation.
        train_val_gap: decaying sum of logit_train - logit_val.
        real_fake_margin: decaying sum of logit_train - logit_fake.
        total_weight: decaying sum of ones; dividing by it turns the sums into averages.
    """

    target: float
    augment_p: float = 0.0
    train_val_gap: float = 0.0
    real_fake_margin: float = 0.0
    total_weight: float = 0.0

    def is_due(self, step: int) -> bool:
        """Return whether a step needs the logits of validation images.

        Args:
            step: number of the step.

        Returns:
            whether it does.
        """
        return step % ADA_INTERVAL == 0

    def update(self, metrics: Mapping[str, Tensor], batch_size: int) -> dict[str, Tensor]:
        """Update `augment_p` if a step's metrics hold the logits of validation images.

        Args:
            metrics: scalars of a step by name.
            batch_size: size of the global batch.

        Returns:
            The metrics to log: without these logits, with `augment_p`.
        """
        logged = {name: value for name, value in metrics.items() if name not in ADA_LOGIT_NAMES}
        if len(logged) < len(metrics):
            # read together, since each read of a GPU waits for it
            values = torch.stack([metrics[name] for name in (*ADA_LOGIT_NAMES, "d_logit_margin")])
            logit_train, logit_val, real_fake_margin = values.tolist()
            self._adapt(logit_train - logit_val, real_fake_margin, ADA_INTERVAL * batch_size)
        return logged | {"augment_p": torch.full((), self.augment_p, device=metrics["d_logit_margin"].device)}

    def _adapt(self, train_val_gap: float, real_fake_margin: float, num_images: int) -> None:
        decay = 0.5 ** (num_images / ADA_HALFLIFE_IMAGES)
        self.train_val_gap = decay * self.train_val_gap + train_val_gap
        self.real_fake_margin = decay * self.real_fake_margin + real_fake_margin
        self.total_weight = decay * self.total_weight + 1
        overfits = self.train_val_gap > self.target * max(self.real_fake_margin, MIN_LOGIT_MARGIN * self.total_weight)
        change = (1 if overfits else -1) * num_images / ADA_IMAGES
        self.augment_p = min(1.0, max(0.0, self.augment_p + change))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint.

        Returns:
            augment_p, train_val_gap, real_fake_margin and total_weight as float64 [4], by the name "state".
        """
        return {"state": torch.tensor(astuple(self)[1:], dtype=torch.float64)}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned; without it, start from 0.

        Args:
            tensors: from `state_dict`.
        """
        values = state_tensor(tensors, "state", (4,), min_value=-MAX_STATE_VALUE) or [0.0] * 4
        self.augment_p, self.train_val_gap, self.real_fake_margin, self.total_weight = values
