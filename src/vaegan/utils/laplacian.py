"""The Laplacian pyramid of images (Burt & Adelson 1983)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def binomial_blur(images: Tensor) -> Tensor:
    """Blur images with the 5x5 binomial kernel.

    Args:
        images: float [N, C, S, S], S at least 3.

    Returns:
        of the same shape.
    """
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 5, 5).to(images)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=images.shape[1])


def upsample_smooth(images: Tensor) -> Tensor:
    """Upsample images by 2: insert zeros, then blur.

    Args:
        images: float [N, C, S, S].

    Returns:
        [N, C, 2 S, 2 S].
    """
    upsampled = images.new_zeros(*images.shape[:2], 2 * images.shape[2], 2 * images.shape[3])
    upsampled[:, :, ::2, ::2] = images
    return binomial_blur(upsampled) * 4


def laplacian_pyramid(images: Tensor, num_levels: int) -> list[Tensor]:
    """Split images into details at sizes S, S/2, ... and a small image at the last level.

    Upsampling the last level and adding the details of the level before it, and so on, gives the images again.

    Args:
        images: float [N, C, S, S].
        num_levels: number of levels, at least 1.

    Returns:
        [N, C, S, S], [N, C, S / 2, S / 2], ...
    """
    pyramid = []
    for _ in range(num_levels - 1):
        smaller = binomial_blur(images)[:, :, ::2, ::2]
        pyramid.append(images - upsample_smooth(smaller))
        images = smaller
    return [*pyramid, images]
