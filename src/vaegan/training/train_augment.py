"""Views of training pictures: each time a picture is taught, it lies a little differently."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_hflip(images: Tensor, rand: Tensor) -> Tensor:
    """Mirror the pictures [B, C, S, S] whose chance [B] is under one half."""
    return torch.where((rand < 0.5)[:, None, None, None], images.flip(-1), images)


def random_affine_and_color(images: Tensor, rand: Tensor, strength: float) -> Tensor:
    """Shift, zoom and stretch each picture by up to `amount` of its side, and change its light about as much.

    pictures: float [B, C, S, S] in [-1, 1]; chances: uniform float [B, 4 + 2 C]. What comes in at the edges is
    reflected, what lies between pixels is interpolated linearly. Every channel is multiplied by 1 +- amount and raised
    or lowered by up to half of that share of the range, then cut to [-1, 1].
    """
    channels = images.shape[1]
    drawn = (2 * rand - 1) * strength
    place = torch.zeros(len(images), 2, 3, device=images.device)
    zoom, stretch = 1 + drawn[:, 0], 1 + drawn[:, 1] / 2
    place[:, 0, 0], place[:, 1, 1] = zoom * stretch, zoom / stretch
    place[:, :, 2] = 2 * drawn[:, 2:4]  # of a side from -1 to 1
    grid = F.affine_grid(place, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    gain, level = 1 + drawn[:, 4 : 4 + channels], drawn[:, 4 + channels : 4 + 2 * channels]
    return (moved * gain[:, :, None, None] + level[:, :, None, None]).clamp(-1, 1)
