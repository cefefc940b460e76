"""The Laplacian pyramid (Burt & Adelson 1983): pictures as details at every scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(pictures: Tensor) -> Tensor:
    """Smooth float [N, C, S, S] by the 5x5 binomial kernel; S is 3 at least."""
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (row[:, None] * row).expand(pictures.shape[1], 1, 5, 5).to(pictures)
    return F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="reflect"), kernel, groups=pictures.shape[1])


def up(pictures: Tensor) -> Tensor:
    """Double the side of float [N, C, S, S], smoothly."""
    spread = pictures.new_zeros(*pictures.shape[:2], 2 * pictures.shape[2], 2 * pictures.shape[3])
    spread[:, :, ::2, ::2] = pictures
    return blur(spread) * 4


def laplacian_pyramid(pictures: Tensor, levels: int) -> list[Tensor]:
    """Float [N, C, S, S] -> details at S, S/2, ... and what is left at the coarsest; their sum gives the pictures."""
    pyramid = []
    for _ in range(levels - 1):
        smaller = blur(pictures)[:, :, ::2, ::2]
        pyramid.append(pictures - up(smaller))
        pictures = smaller
    return [*pyramid, pictures]
