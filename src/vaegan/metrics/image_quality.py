"""How like a picture its reconstruction is."""

from __future__ import annotations

import torch
from torch import Tensor

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def psnr(images: Tensor, decoded: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture [B, C, S, S] in [-1, 1] (peak to peak 2), in dB; float [B]."""
    error = (images - decoded).square().flatten(1).mean(1).clamp_min(1e-10)
    return 10 * (4 / error).log10()


def ssim(images: Tensor, decoded: Tensor) -> Tensor:
    """Structural similarity of each picture [B, C, S, S] in [-1, 1], at most 1, which only equal ones have; float [B].

    Wang et al. 2004 ("Image quality assessment", eq. 13), as they compute it: windows of 11x11 pixels weighted by a
    Gaussian of deviation 1.5, those that lie inside of the picture; the mean over windows and channels. S is 11 at
    least.
    """
    both = (torch.cat([images, decoded]).float() + 1) / 2  # its luminance term is of values from 0 on
    inner = both.shape[-1] - SSIM_WINDOW + 1
    offset = torch.arange(both.shape[-1]) - torch.arange(inner)[:, None] - SSIM_WINDOW // 2
    band = torch.exp(-offset.float().square() / (2 * SSIM_SIGMA**2)) * (offset.abs() <= SSIM_WINDOW // 2)
    band = (band / band.sum(1, keepdim=True)).to(both)  # a window a row: far faster than a convolution on a CPU

    def smooth(values: Tensor) -> Tensor:
        return band @ values @ band.T

    mean, square = smooth(both), smooth(both.square())
    (one, other), (square_one, square_other) = mean.chunk(2), square.chunk(2)
    product = smooth(both.chunk(2)[0] * both.chunk(2)[1])
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    light = (2 * one * other + c1) / (one.square() + other.square() + c1)
    variances = square_one - one.square() + square_other - other.square()
    shape = (2 * (product - one * other) + c2) / (variances + c2)
    return (light * shape).flatten(1).mean(1)
