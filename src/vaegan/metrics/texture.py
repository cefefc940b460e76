"""How calm flat regions are, and how much detail images have: local deviations and the power spectrum.

A generator can be sharp and still paint: its flat regions carry blotches and color fringes that real images lack.
Distances of features hardly see it, because a face's content varies far more. These two measures look at nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 3
QUANTILES = (0.10, 0.25, 0.50)
BANDS = ((0.2, 0.3), (0.3, 0.4), (0.4, 0.5))
BAND_NAMES = ("low", "middle", "high")
"""Bands of spatial frequency in cycles per pixel; 0.5 is the highest that pixels can show."""
MAX_WINDOWS = 2_000_000
IMAGES_PER_CHUNK = 256


@dataclass(frozen=True)
class LocalDeviation:
    """Standard deviations within 3x3 windows in gray levels of 255, as one value per entry of QUANTILES.

    luminance: of the mean over the color channels. chroma: of the red channel minus that mean; zeros for grayscale.
    """

    luminance: tuple[float, ...]
    chroma: tuple[float, ...]


def local_deviation(images: Tensor) -> LocalDeviation:
    """Measure how calm the calm regions of images are.

    The low quantiles over all windows describe flat regions, as long as these make up that fraction of the images.

    Args:
        images: uint8 [N, C, S, S].

    Returns:
        quantiles of the standard deviation in 3x3 windows.
    """
    luminance, chroma = [], []
    for chunk in torch.split(images, IMAGES_PER_CHUNK):
        values = chunk.float()
        mean = values.mean(1, keepdim=True)
        luminance.append(_window_deviations(mean))
        chroma.append(_window_deviations(values[:, :1] - mean))
    return LocalDeviation(_quantiles(torch.cat(luminance)), _quantiles(torch.cat(chroma)))


def _window_deviations(values: Tensor) -> Tensor:
    """Return the standard deviation in every 3x3 window, flat, from float [N, 1, S, S]."""
    mean = F.avg_pool2d(values, WINDOW, 1)
    # The mean of the squares minus the square of the mean would lose small deviations to rounding in float32.
    windows = values.unfold(2, WINDOW, 1).unfold(3, WINDOW, 1)
    return (windows - mean[..., None, None]).square().mean((-2, -1)).sqrt().flatten()


def _quantiles(values: Tensor) -> tuple[float, ...]:
    """Return the QUANTILES of a long vector."""
    if len(values) > MAX_WINDOWS:
        values = values[:: len(values) // MAX_WINDOWS + 1]
    ordered = values.sort().values
    return tuple(float(ordered[round(quantile * (len(ordered) - 1))]) for quantile in QUANTILES)


def band_powers(images: Tensor) -> tuple[float, ...]:
    """Return the mean power of the luminance per coefficient in each band of frequencies.

    The power is |DFT|^2 of gray levels from 0 to 255. Bands are rings around frequency 0 in the plane of frequencies.
    A Hann window hides the jump between opposite borders.

    Args:
        images: uint8 [N, C, S, S].

    Returns:
        one value per entry of BANDS.
    """
    size = images.shape[-1]
    frequencies = torch.fft.fftfreq(size)
    radius = (frequencies[:, None].square() + frequencies.square()).sqrt()
    window = torch.hann_window(size, periodic=True)
    power = torch.zeros(size, size, dtype=torch.float64)
    for chunk in torch.split(images, IMAGES_PER_CHUNK):
        luminance = chunk.float().mean(1)
        luminance = (luminance - luminance.mean((1, 2), keepdim=True)) * window[:, None] * window
        power += torch.fft.fft2(luminance).abs().double().square().sum(0)
    power /= len(images)
    return tuple(float(power[(radius >= low) & (radius < high)].mean()) for low, high in BANDS)
