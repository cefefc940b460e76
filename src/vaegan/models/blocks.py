"""What both networks are built of: strided convolutions down, transposed ones up, and their initialisation.

No normalisation layer: batch norm breaks gradient penalties (Gulrajani et al. 2017, section 4) and makes a
step depend on how it is split over processes; He initialisation (He et al. 2015, eq. 15) keeps the signal's size.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

SLOPE = 0.2


def pyramid(width: int, size: int) -> list[int]:
    """Channels at sides size/2, size/4, ..., 4: doubling from `width`, at most eight times it."""
    return [min(width * 2**level, width * 8) for level in range(int(math.log2(size)) - 2)]


def init_he(layer: nn.Module, fan_in: int, gain: float = 1.0) -> None:
    """Normal weights of variance gain^2 * 2 / ((1 + slope^2) fan_in), zero biases."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    nn.init.normal_(weight, std=gain * math.sqrt(2 / (1 + SLOPE**2) / fan_in))
    nn.init.zeros_(bias)


def down(inputs: int, outputs: int) -> nn.Conv2d:
    """Halve the side: 4x4 convolution, stride 2."""
    layer = nn.Conv2d(inputs, outputs, 4, 2, 1)
    init_he(layer, inputs * 16)
    return layer


class Up(nn.Module):
    """Double the side: a 4x4 transposed convolution of stride 2 whose kernel is a 3x3 one smeared by a 2x2 box.

    That is, to the number, a nearest-neighbour enlargement followed by a 3x3 convolution (Odena et al. 2016,
    "Deconvolution and checkerboard artifacts"), at 4 multiplications an output pixel instead of 9. Flat input gives
    flat output, which a free 4x4 kernel does not: its four phases drift apart, and pictures get a weave of 2 pixels.
    """

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        """weight: [inputs, outputs, 3, 3]."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 3, 3))
        self.bias = nn.Parameter(torch.empty(outputs))
        init_he(self, inputs * 9, gain)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, S, S] -> [B, outputs, 2 S, 2 S]."""
        pad, weight = nn.functional.pad, self.weight
        rows = pad(weight, (0, 0, 0, 1)) + pad(weight, (0, 0, 1, 0))
        kernel = pad(rows, (0, 1)) + pad(rows, (1, 0))
        return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class Trunk(nn.Module):
    """Picture [B, C, S, S] in [-1, 1] -> features [B, F, 4, 4]: the body of encoder and discriminator."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        """Build log2(size) - 2 halvings."""
        super().__init__()
        widths = [channels, *pyramid(width, size)]
        self.layers = nn.ModuleList(down(a, b) for a, b in itertools.pairwise(widths))
        self.features = widths[-1] * 16

    def forward(self, pictures: Tensor) -> Tensor:
        """Apply every halving with a leaky ReLU."""
        return self.levels(pictures)[-1]

    def levels(self, pictures: Tensor) -> list[Tensor]:
        """Features at every side: [B, F, S / 2, S / 2], ..., [B, F, 4, 4]."""
        levels, x = [], pictures
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), SLOPE)
            levels.append(x)
        return levels
