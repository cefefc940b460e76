"""The Laplacian pyramid (Burt & Adelson 1983): pictures as details at every scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def binomial_blur(images: Tensor) -> Tensor:
    """Smooth float [N, C, S, S] by the 5x5 binomial kernel; S is 3 at least."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 5, 5).to(images)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def upsample_smooth(images: Tensor) -> Tensor:
    """Double the side of float [N, C, S, S], smoothly."""
    spread = images.new_zeros(*images.shape[:2], 2 * images.shape[2], 2 * images.shape[3])
    spread[:, :, ::2, ::2] = images
    return binomial_blur(spread) * 4


def laplacian_pyramid(images: Tensor, num_levels: int) -> list[Tensor]:
    """Float [N, C, S, S] -> details at S, S/2, ... and what is left at the coarsest; their sum gives the pictures."""
    pyramid = []
    for _ in range(num_levels - 1):
        smaller = binomial_blur(images)[:, :, ::2, ::2]
        pyramid.append(images - upsample_smooth(smaller))
        images = smaller
    return [*pyramid, images]
