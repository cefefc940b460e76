"""What both networks are built of: strided convolutions down, transposed ones up, and their initialisation.

No normalisation layer: batch norm breaks gradient penalties (Gulrajani et al. 2017, section 4) and makes a
step depend on how it is split over processes; He initialisation (He et al. 2015, eq. 15) keeps the signal's size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

LEAKY_RELU_SLOPE = 0.2
BOX_FILTER = (1.0, 1.0)
BILINEAR_FILTER = (0.25, 0.75, 0.75, 0.25)
"""Taps of an interpolation that doubles a side: each output pixel's add up to 1."""


def channel_widths(width: int, size: int) -> list[int]:
    """Channels at sides size/2, size/4, ..., 4: doubling from `width`, at most eight times it."""
    return [min(width * 2**level, width * 8) for level in range(int(math.log2(size)) - 2)]


def init_he(layer: nn.Module, fan_in: int, gain: float = 1.0) -> None:
    """Normal weights of variance gain^2 * 2 / ((1 + slope^2) fan_in), zero biases."""
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    if weight.is_meta:  # to be filled from a file; and torch would import its compiler for it, for over a second
        return
    nn.init.normal_(weight, std=gain * math.sqrt(2 / (1 + LEAKY_RELU_SLOPE**2) / fan_in))
    nn.init.zeros_(bias)


def downsample_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Halve the side: 4x4 convolution, stride 2."""
    layer = nn.Conv2d(in_channels, out_channels, 4, 2, 1)
    init_he(layer, in_channels * 16)
    return layer


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Keep the side: 3x3 convolution."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    init_he(layer, in_channels * 9)
    return layer


def convolve_with_filter(kernel: Tensor, taps: Sequence[float]) -> Tensor:
    """Convolve a kernel [m, n, h, w] with taps along both sides: [m, n, h + len(taps) - 1, w + len(taps) - 1].

    Its layout in memory stays what it is: a kernel turned over makes the convolution after it a quarter slower.
    """
    last = len(taps) - 1
    for side in (0, 2):
        parts = []
        for k, tap in enumerate(taps):
            frame = [0, 0, 0, 0]
            frame[side : side + 2] = k, last - k
            part = nn.functional.pad(kernel, frame)
            parts.append(part if tap == 1 else tap * part)
        kernel = reduce(torch.add, parts)
    return kernel


def to_subpixel_kernel(kernel: Tensor) -> Tensor:
    """Kernel of a transposed convolution of stride 2, [m, n, 2 k, 2 k] -> of a convolution, [4 n, m, k, k].

    Its outputs are the phases (even and odd rows, even and odd columns) of each output, as `pixel_shuffle` takes them.
    """
    inputs, outputs, side, _ = kernel.shape
    parts = kernel.view(inputs, outputs, side // 2, 2, side // 2, 2).flip(2, 4)
    return parts.permute(1, 3, 5, 0, 2, 4).reshape(4 * outputs, inputs, side // 2, side // 2)


def upsample_2x(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Enlarge by a kernel of a transposed convolution of stride 2, [m, n, 2 k, 2 k], or by what `phased` made of it."""
    side = kernel.shape[-1]
    if side % 2:
        return nn.functional.pixel_shuffle(nn.functional.conv2d(x, kernel, bias, padding=side // 2), 2)
    return nn.functional.conv_transpose2d(x, kernel, bias, stride=2, padding=side // 2 - 1)


class FilteredUpsampleConv(nn.Module):
    """Double the side: a transposed convolution of stride 2 whose kernel is a 3x3 one smeared by an interpolation's.

    That is, to the number, an enlargement followed by a 3x3 convolution (Odena et al. 2016, "Deconvolution and
    checkerboard artifacts"): flat input gives flat output, which a free 4x4 kernel does not: its four phases drift
    apart, and pictures get a weave of 2 pixels. Smeared by a box it is a nearest-neighbour enlargement, at 4
    multiplications an output pixel instead of 9, whose steps are still seen as a faint grid where no later layer
    covers them. Bilinear, it is smooth, at 9, and worked out as a convolution of the small side for each of the four
    phases (Shi et al. 2016, "Real-time single image and video super-resolution", fig. 1), which suits few outputs.
    """

    def __init__(
        self, in_channels: int, out_channels: int, taps: Sequence[float] = BOX_FILTER, gain: float = 1.0
    ) -> None:
        """weight: [inputs, outputs, 3, 3]; taps: of the interpolation along one side, an even number that sum to 2."""
        super().__init__()
        self.taps = tuple(taps)
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        init_he(self, in_channels * 9, gain)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, S, S] -> [B, outputs, 2 S, 2 S]."""
        return upsample_2x(x, *self.effective_kernel_and_bias())

    def filtered_kernel(self) -> Tensor:
        """The smeared kernel, [inputs, outputs, taps + 2, taps + 2]."""
        return convolve_with_filter(self.weight, self.taps)

    def effective_kernel_and_bias(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias as `doubled` takes them."""
        if len(self.taps) % 4:
            return self.filtered_kernel(), self.bias
        return to_subpixel_kernel(self.filtered_kernel()), self.bias.repeat_interleave(
            4
        )  # all phases see the same odd square of inputs

    def to_frozen(self) -> FrozenUpsampleConv:
        """The same layer for weights that no longer change: its kernel, dear beside a single picture, is made once."""
        return FrozenUpsampleConv(*self.effective_kernel_and_bias())


class FrozenUpsampleConv(nn.Module):
    """An `Up` that does not train."""

    def __init__(self, kernel: Tensor, bias: Tensor) -> None:
        """As `Up.ready` gives them."""
        super().__init__()
        self.kernel, self.bias = kernel.detach().contiguous(memory_format=torch.channels_last), bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, S, S] -> [B, outputs, 2 S, 2 S]."""
        return upsample_2x(x, self.kernel, self.bias)


class ConvTrunk(nn.Module):
    """Picture [B, C, S, S] in [-1, 1] -> features [B, F, 4, 4]: the body of encoder and discriminator."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        """Build log2(size) - 2 halvings."""
        super().__init__()
        widths = [channels, *channel_widths(width, size)]
        self.layers = nn.ModuleList(downsample_conv(a, b) for a, b in itertools.pairwise(widths))
        self.num_features = widths[-1] * 16

    def forward(self, images: Tensor) -> Tensor:
        """Apply every halving with a leaky ReLU."""
        return self.multiscale_features(images)[-1]

    def multiscale_features(self, images: Tensor) -> list[Tensor]:
        """Features at every side: [B, F, S / 2, S / 2], ..., [B, F, 4, 4]."""
        levels, x = [], images
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), LEAKY_RELU_SLOPE)
            levels.append(x)
        return levels
