"""Sliced Wasserstein distance (SWD) of patches in a Laplacian pyramid.

See Karras et al. 2018, "Progressive growing of GANs", arXiv 1710.10196, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.laplacian import laplacian_pyramid

PATCH_SIZE = 7
NUM_LEVELS = 3
NUM_PATCHES = 16_384
NUM_PROJECTIONS = 128
SWD_SCALE = 1000.0  # all distances are multiplied by this, as in the paper


@dataclass(frozen=True)
class SWDLevel:
    """Distances at one level of the pyramid, whose images have `size` pixels per side.

    swd: sliced Wasserstein distance of the normalized patches. mean_shift, std_shift: largest difference of a channel's
    mean and standard deviation, which the normalization removes from the patches.
    """

    size: int
    swd: float
    mean_shift: float
    std_shift: float


def sliced_wasserstein_distance(a: Tensor, b: Tensor, num_projections: int = NUM_PROJECTIONS) -> float:
    """Return the mean 1-D Wasserstein distance of two sets of points over random directions.

    Args:
        a: float [P, d].
        b: float [P, d].
        num_projections: number of directions.

    Returns:
        the distance, from 0.

    Raises:
        ValueError: if the shapes differ.
    """
    if a.shape != b.shape or a.dim() != 2:
        raise ValueError(f"points of shape {list(a.shape)} and {list(b.shape)}: expected [P, d] twice")
    directions = torch.randn(a.shape[1], num_projections, generator=torch.Generator().manual_seed(0)).to(a)
    directions /= directions.norm(dim=0)
    distances = [
        ((a @ chunk).T.sort(1).values - (b @ chunk).T.sort(1).values).abs().mean(1)
        for chunk in torch.split(directions, 64, 1)
    ]
    return float(torch.cat(distances).mean())


def _sample_patches(images: Tensor, seed: int, count: int) -> Tensor:
    """Cut `count` random 7x7 patches, [count, C * 49]."""
    num_images, channels, size, _ = images.shape
    generator = torch.Generator().manual_seed(seed)
    image_rows = torch.randint(num_images, (count,), generator=generator)
    top, left = torch.randint(size - PATCH_SIZE + 1, (2, count), generator=generator)
    offsets = torch.arange(PATCH_SIZE)
    rows, columns = top[:, None, None] + offsets[:, None], left[:, None, None] + offsets
    patches = images.permute(0, 2, 3, 1)[image_rows[:, None, None], rows, columns]
    return patches.permute(0, 3, 1, 2).reshape(count, channels * PATCH_SIZE * PATCH_SIZE)


def _normalize_channels(patches: Tensor, num_channels: int) -> Tensor:
    """Normalize each channel to mean 0 and standard deviation 1 over all patches."""
    channels = patches.view(len(patches), num_channels, -1)
    mean = channels.mean((0, 2), keepdim=True)
    std = channels.std((0, 2), keepdim=True).clamp_min(1e-8)
    return ((channels - mean) / std).view_as(patches)


def _channel_std(images: Tensor) -> Tensor:
    return images.transpose(0, 1).flatten(1).std(1)


def swd_per_level(
    real: Tensor, fake: Tensor, num_patches: int = NUM_PATCHES, num_projections: int = NUM_PROJECTIONS
) -> list[SWDLevel]:
    """Compare real and fake images at each level of a Laplacian pyramid.

    The method is that of Karras et al. 2018, arXiv 1710.10196, section 5. The paper takes 128 patches from each of
    16,384 images. Here `num_patches` come from each set and level.

    Args:
        real: float [M, C, S, S] in [-1, 1].
        fake: float [N, C, S, S] in [-1, 1].
        num_patches: patches per set and level.
        num_projections: number of directions.

    Returns:
        one entry per level, the finest first.
    """
    results = []
    for a, b in zip(laplacian_pyramid(real, NUM_LEVELS), laplacian_pyramid(fake, NUM_LEVELS), strict=True):
        channels, size = a.shape[1], a.shape[-1]
        patches_a = _normalize_channels(_sample_patches(a, 0, num_patches), channels)
        patches_b = _normalize_channels(_sample_patches(b, 1, num_patches), channels)
        swd = sliced_wasserstein_distance(patches_a, patches_b, num_projections)
        mean_shift = float((a.mean((0, 2, 3)) - b.mean((0, 2, 3))).abs().max())
        std_shift = float((_channel_std(a) - _channel_std(b)).abs().max())
        results.append(SWDLevel(size, swd * SWD_SCALE, mean_shift * SWD_SCALE, std_shift * SWD_SCALE))
    return results
