"""How like a picture its reconstruction is."""

from __future__ import annotations

from torch import Tensor


def psnr(pictures: Tensor, decoded: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture [B, C, S, S] in [-1, 1] (peak to peak 2), in dB; float [B]."""
    error = (pictures - decoded).square().flatten(1).mean(1).clamp_min(1e-10)
    return 10 * (4 / error).log10()
