"""The decoder's output as a mixture of a few smooth images, the color layers, with weights for every pixel.

Flat areas with sharp outlines are hard for a convolution that draws each pixel by itself. Here the decoder draws K
layers of low resolution and, for each pixel, K weights that sum to 1. All colors come from smooth images. An edge is a
place where the weights change. Any image can still be drawn, because the weights of every pixel are free. Layers with
weights are how soft color segmentation describes an image (Aksoy et al. 2017, "Unmixing-based soft color segmentation
for image manipulation", eq. 1).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from vaegan.models.layer_mixing import mix_layers
from vaegan.models.layers import conv3x3

COLOR_LAYER_SIZE = 16
"""Side of a layer in pixels, before it is enlarged."""


class ColorLayers(nn.Module):
    """Features of a low resolution and logits of the full one -> images."""

    def __init__(self, in_channels: int, image_channels: int, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.conv = conv3x3(in_channels, image_channels * num_layers)

    def forward(self, features: Tensor, logits: Tensor, shift: Tensor | None = None) -> Tensor:
        """Draw the layers and mix them: image = sum over k of softmax(logits)_k * tanh(layer_k + shift_k).

        Args:
            features: float [B, in_channels, s, s].
            logits: of the weights, float [B, K, S, S].
            shift: added to all pixels of a layer, float [B, C * K]; None for 0.

        Returns:
            images [B, C, S, S] in [-1, 1], float32.
        """
        layers = self.conv(features).float()
        if shift is not None:
            layers = layers + shift.float()[:, :, None, None]
        layers = layers.tanh().contiguous()
        # float32, since bfloat16 would round flat areas to about one gray level
        with without_autocast(features.device.type):
            enlarge = interpolation_matrix(layers.shape[-1], logits.shape[-1], layers.device)
            return mix_layers(layers, logits.float().contiguous().softmax(1), enlarge)


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Return a context in which autocast is off; there is nothing to turn off on the meta device.

    Args:
        device_type: "cpu", "cuda", "mps" or "meta".

    Returns:
        a context manager.
    """
    is_available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if is_available else nullcontext()


def interpolation_matrix(size: int, new_size: int, device: torch.device | None = None) -> Tensor:
    """Return the matrix of bilinear interpolation along one axis.

    On a CPU, products with it are faster than `nn.functional.interpolate`.

    Args:
        size: number of pixels.
        new_size: number of pixels afterwards.
        device: where it is computed, the CPU by default.

    Returns:
        float [new_size, size]; rows sum to 1.
    """
    unit = torch.eye(size, device=device)[None, None]
    return nn.functional.interpolate(unit, size=(new_size, size), mode="bilinear")[0, 0]
