"""Degradations of real images, uint8 [N, 3, S, S], which the evaluation metrics must rank in the right order."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.utils.images import to_float, to_uint8


def add_noise(images: Tensor, seed: int, strength: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return to_uint8(to_float(images) + strength * torch.randn(images.shape, generator=generator))


def blur(images: Tensor, sigma: float = 1.5) -> Tensor:
    """Blur with a Gaussian of standard deviation `sigma`, in pixels."""
    radius = math.ceil(3 * sigma)
    row = torch.exp(-((torch.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    kernel = (row[:, None] * row / row.sum() ** 2).expand(3, 1, -1, -1)
    padded = F.pad(to_float(images), (radius,) * 4, mode="reflect")
    return to_uint8(F.conv2d(padded, kernel, groups=3))


def add_checkerboard(images: Tensor, strength: float = 0.04) -> Tensor:
    """Add a checkerboard with squares of one pixel."""
    position = torch.arange(images.shape[-1])
    return to_uint8(to_float(images) + strength * ((position[:, None] + position) % 2 * 2 - 1))


def increase_contrast(images: Tensor, factor: float = 1.3) -> Tensor:
    return to_uint8(to_float(images) * factor)


def rotate_hue(images: Tensor, degrees: float = 40.0) -> Tensor:
    """Rotate every color about the gray axis (Rodrigues' rotation formula)."""
    angle, third = math.radians(degrees), 1 / 3
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) * math.sqrt(third)
    outer = torch.full((3, 3), third)
    rotation = torch.eye(3) * math.cos(angle) + cross * math.sin(angle) + outer * (1 - math.cos(angle))
    return to_uint8(torch.einsum("ij,njhw->nihw", rotation, to_float(images)))


def drop_classes(images: Tensor, labels: Sequence[str], count: int, seed: int) -> Tensor:
    """Return `count` images of a random half of the classes, repeated if there are fewer than `count`."""
    generator = torch.Generator().manual_seed(seed)
    classes = sorted(set(labels))
    order = torch.randperm(len(classes), generator=generator).tolist()
    remaining = {classes[index] for index in order[: len(classes) // 2]}
    rows = torch.tensor([row for row, label in enumerate(labels) if label in remaining])
    rows = rows[torch.randperm(len(rows), generator=generator)]
    return images[rows[torch.arange(count) % len(rows)]]


def add_color_fringes(images: Tensor, shift: int = 1) -> Tensor:
    """Shift the red channel to the right and the blue one to the left, by `shift` pixels."""
    red, green, blue = images.unbind(1)
    return torch.stack([red.roll(shift, -1), green, blue.roll(-shift, -1)], 1)


def paint_watercolor(images: Tensor, seed: int, strength: float = 0.12) -> Tensor:
    """Add smooth colored blotches, as from a brush: noise of 16 x 16 pixels, enlarged."""
    count, channels, size, _ = images.shape
    generator = torch.Generator().manual_seed(seed)
    blotches = torch.randn(count, channels, 16, 16, generator=generator)
    return to_uint8(to_float(images) + strength * F.interpolate(blotches, size=size, mode="bicubic"))
