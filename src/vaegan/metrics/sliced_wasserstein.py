"""Sliced Wasserstein distance of patches in a Laplacian pyramid (Karras et al. 2018, 1710.10196, sec. 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.utils.laplacian import laplacian_pyramid

PATCH_SIZE = 7
NUM_LEVELS = 3
NUM_PATCHES = 16_384
NUM_PROJECTIONS = 128
SWD_SCALE = 1000.0


@dataclass(frozen=True)
class SWDLevel:
    """One level of the pyramid, `side` pixels wide.

    sliced: sliced Wasserstein distance of the normalised patches, times 1000 as published; mean, deviation: largest
    difference between the channels' means and deviations, in the pictures' range of 2, times 1000: the normalisation
    hides them.
    """

    size: int
    swd: float
    mean_shift: float
    std_shift: float


def sliced_wasserstein_distance(a: Tensor, b: Tensor, num_projections: int = NUM_PROJECTIONS, seed: int = 0) -> float:
    """Mean over random directions of the 1-D Wasserstein distance between points [P, d] and [P, d]."""
    if a.shape != b.shape or a.dim() != 2:
        raise ValueError(f"points of shape {list(a.shape)} and {list(b.shape)}: expected [P, d] twice")
    toward = torch.randn(a.shape[1], num_projections, generator=torch.Generator().manual_seed(seed)).to(a)
    toward /= toward.norm(dim=0)
    gaps = []
    for part in torch.split(toward, 64, 1):
        gaps.append(((a @ part).T.sort(1).values - (b @ part).T.sort(1).values).abs().mean(1))
    return float(torch.cat(gaps).mean())


def _sample_patches(images: Tensor, seed: int, count: int) -> Tensor:
    """`count` random 7x7 patches, [count, C * 49]; channels that differ in mean and deviation are kept so."""
    pictures, channels, side, _ = images.shape
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(pictures, (count,), generator=generator)
    top, left = torch.randint(side - PATCH_SIZE + 1, (2, count), generator=generator)
    reach = torch.arange(PATCH_SIZE)
    rows, columns = top[:, None, None] + reach[:, None], left[:, None, None] + reach
    patches = images.permute(0, 2, 3, 1)[which[:, None, None], rows, columns]
    return patches.permute(0, 3, 1, 2).reshape(count, channels * PATCH_SIZE * PATCH_SIZE)


def _normalize_channels(patches: Tensor, num_channels: int) -> Tensor:
    grouped = patches.view(len(patches), num_channels, -1)
    mean = grouped.mean((0, 2), keepdim=True)
    deviation = grouped.std((0, 2), keepdim=True).clamp_min(1e-8)
    return ((grouped - mean) / deviation).view_as(patches)


def swd_per_level(
    real: Tensor, fake: Tensor, num_patches: int = NUM_PATCHES, num_projections: int = NUM_PROJECTIONS, seed: int = 0
) -> list[SWDLevel]:
    """Compare pictures [M, C, S, S] and [N, C, S, S] in [-1, 1], level by level, the finest first.

    Patches of 7x7 pixels, as many from either set, normalised by the mean and deviation of each channel; the
    published measure takes 128 patches of each of 16,384 pictures, this one `patches` of each set.
    """
    found = []
    for a, b in zip(laplacian_pyramid(real, NUM_LEVELS), laplacian_pyramid(fake, NUM_LEVELS), strict=True):
        channels, side = a.shape[1], a.shape[-1]
        from_a, from_b = _sample_patches(a, seed, num_patches), _sample_patches(b, seed + 1, num_patches)
        sliced = sliced_wasserstein_distance(
            _normalize_channels(from_a, channels), _normalize_channels(from_b, channels), num_projections, seed
        )
        mean = (a.mean((0, 2, 3)) - b.mean((0, 2, 3))).abs().max()
        deviation = (_channel_std(a) - _channel_std(b)).abs().max()
        found.append(SWDLevel(side, sliced * SWD_SCALE, float(mean) * SWD_SCALE, float(deviation) * SWD_SCALE))
    return found


def _channel_std(level: Tensor) -> Tensor:
    return level.transpose(0, 1).flatten(1).std(1)
