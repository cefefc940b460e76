"""Differentiable augmentations of what the discriminator sees (DiffAugment, Zhao et al. 2020, arXiv 2006.10738).

Real and generated pictures get the same treatment, and gradients flow through it to the generator. Every function
takes pictures float [B, C, S, S] and uniform random numbers in [0, 1), float [B, 4].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vaegan.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

RANDOMS_PER_IMAGE = 5
"""Chances that an augmentation takes of a picture, the one that decides whether it is changed at all included."""

Augmentation = Callable[["Tensor", "Tensor"], "Tensor"]


def color_jitter(images: Tensor, rand: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x0..2, contrast x0.5..1.5 (2006.10738, section 4)."""
    brightness, saturation, contrast = (rand[:, k, None, None, None] for k in range(3))
    x = images + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (saturation * 2) + grey
    centre = x.mean((1, 2, 3), keepdim=True)
    return (x - centre) * (contrast + 0.5) + centre


def translate(images: Tensor, rand: Tensor) -> Tensor:
    """Shift by up to an eighth of the side both ways; what comes in is zero."""
    import torch

    size = images.shape[-1]
    reach = size // 8
    shift = (rand[:, :2] * (2 * reach + 1)).floor().long() - reach
    place = torch.arange(size, device=images.device)
    rows = place[None] + shift[:, :1]
    columns = place[None] + shift[:, 1:2]
    inside = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None]
    index = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[index, rows.clamp(0, size - 1)[:, :, None], columns.clamp(0, size - 1)[:, None]]
    return (moved * inside[..., None]).permute(0, 3, 1, 2)


def cutout(images: Tensor, rand: Tensor) -> Tensor:
    """Blank a square of half the side whose centre lies anywhere in the picture."""
    import torch

    size = images.shape[-1]
    place = torch.arange(size, device=images.device)
    centre = (rand[:, 2:4] * size).floor()
    apart = place[None, None] - centre[..., None]
    inside = (apart >= -(size // 4)) & (apart < size // 4)
    return images * ~(inside[:, :1, :].transpose(1, 2) & inside[:, 1:, :])[:, None]


AUGMENTATIONS: dict[str, Augmentation] = {"color": color_jitter, "translation": translate, "cutout": cutout}


def parse_augmentations(names: str) -> list[Augmentation]:
    """Read "color,translation" or "none". Raises UsageError naming what there is."""
    wanted = [name.strip() for name in names.split(",") if name.strip() not in ("", "none")]
    for name in wanted:
        if name not in AUGMENTATIONS:
            raise UsageError(f"--augment {name}: expected none or some of {','.join(AUGMENTATIONS)}")
    return [AUGMENTATIONS[name] for name in wanted]


def augment(images: Tensor, rand: Tensor, augmentations: list[Augmentation], probability: float = 1.0) -> Tensor:
    """Apply the chosen augmentations in turn, each to `share` of the pictures.

    chances: uniform float [B, 4 * len(chosen)]; where share is below 1 another len(chosen) of them, which decide.
    """
    for number, augmentation in enumerate(augmentations):
        changed = augmentation(images, rand[:, 4 * number : 4 * number + 4])
        if probability < 1:
            changes = rand[:, 4 * len(augmentations) + number, None, None, None] < probability
            changed = changed.where(changes, images)
        images = changed
    return images
