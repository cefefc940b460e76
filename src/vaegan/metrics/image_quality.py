"""Similarity of images and their reconstructions: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def psnr(images: Tensor, decoded: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio.

    Args:
        images: float [B, C, S, S] in [-1, 1].
        decoded: of the same shape.

    Returns:
        dB, float [B]; at most 106 for equal images.
    """
    return psnr_of_error((images - decoded).square().flatten(1).mean(1))


def psnr_of_error(error: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of mean squared errors.

    Args:
        error: of values in [-1, 1], float of any shape.

    Returns:
        dB, of the same shape; at most 106.
    """
    return 10 * (4 / error.clamp_min(1e-10)).log10()  # 4 = the squared range of the values


def ssim(images: Tensor, decoded: Tensor) -> Tensor:
    """Return the structural similarity (Wang et al. 2004, "Image quality assessment", eq. 13).

    As in the paper, statistics are of 11x11 windows inside the image, weighted by a Gaussian of standard deviation 1.5.

    Args:
        images: float [B, C, S, S] in [-1, 1], S at least 11.
        decoded: of the same shape.

    Returns:
        Float [B], at most 1: the mean over windows and channels. Only equal images have 1.
    """
    both = (torch.cat([images, decoded]).float() + 1) / 2  # the luminance term is defined for values from 0
    num_windows = both.shape[-1] - SSIM_WINDOW + 1
    # One row per window position. On a CPU, products with this matrix are much faster than a convolution.
    offset = torch.arange(both.shape[-1]) - torch.arange(num_windows)[:, None] - SSIM_WINDOW // 2
    window = torch.exp(-offset.float().square() / (2 * SSIM_SIGMA**2)) * (offset.abs() <= SSIM_WINDOW // 2)
    window = (window / window.sum(1, keepdim=True)).to(both)

    def window_mean(values: Tensor) -> Tensor:
        return window @ values @ window.T

    (x, y), (mean_x, mean_y) = both.chunk(2), window_mean(both).chunk(2)
    mean_square_x, mean_square_y = window_mean(both.square()).chunk(2)
    covariance = window_mean(x * y) - mean_x * mean_y
    variances = mean_square_x - mean_x.square() + mean_square_y - mean_y.square()
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return (luminance * structure).flatten(1).mean(1)
