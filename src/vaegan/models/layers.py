"""Layers of the encoder, the decoder and the discriminator.

There are no normalization layers. Batch norm breaks gradient penalties (Gulrajani et al. 2017, section 4), and with it
a step depends on how the batch is split over processes. He initialization (He et al. 2015, eq. 15) keeps the variance
of the signal instead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from vaegan.config.model_config import channel_widths

LEAKY_RELU_SLOPE = 0.2
MIN_LAST_CHANNELS = 8

# One-dimensional filters of upsampling by 2. An output pixel sees every second tap, and those sum to 1.
BOX_FILTER = (1.0, 1.0)  # nearest neighbor
BILINEAR_FILTER = (0.25, 0.75, 0.75, 0.25)


def last_channels(base_channels: int) -> int:
    """Return the channels of the decoder at full resolution.

    Args:
        base_channels: channels at half of it.

    Returns:
        half as many, at least MIN_LAST_CHANNELS.
    """
    return max(MIN_LAST_CHANNELS, base_channels // 2)


def init_he(layer: nn.Module, fan_in: int, gain: float = 1.0) -> None:
    """Draw weights from a normal of variance gain^2 * 2 / ((1 + slope^2) * fan_in); set biases to 0.

    He initialization (He et al. 2015, arXiv 1502.01852, eq. 15) for leaky ReLU of LEAKY_RELU_SLOPE.

    Args:
        layer: linear or convolution layer, changed in place.
        fan_in: number of inputs of one output.
        gain: factor of the standard deviation.
    """
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    if weight.is_meta:  # no values to set; and torch would import its compiler for it, which takes over a second
        return
    nn.init.normal_(weight, std=gain * math.sqrt(2 / (1 + LEAKY_RELU_SLOPE**2) / fan_in))
    nn.init.zeros_(bias)


def downsample_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 4x4 convolution of stride 2, which halves the size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Returns:
        a layer [B, in, S, S] -> [B, out, S / 2, S / 2].
    """
    layer = nn.Conv2d(in_channels, out_channels, 4, 2, 1)
    init_he(layer, in_channels * 16)
    return layer


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 3x3 convolution, which keeps the size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Returns:
        a layer [B, in, S, S] -> [B, out, S, S].
    """
    layer = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
    init_he(layer, in_channels * 9)
    return layer


def activate(x: Tensor) -> Tensor:
    """Apply leaky ReLU, in place where possible: a step is bound by memory there.

    Args:
        x: any shape; it must not be needed afterwards.

    Returns:
        of the same shape.
    """
    # After a change of a view, autograd would copy the tensor behind it.
    return nn.functional.leaky_relu(x, LEAKY_RELU_SLOPE, inplace=not x._is_view())


def upsample_conv_kernel(weight: Tensor, taps: Sequence[float]) -> Tensor:
    """Merge upsampling by 2 and the convolution that follows it into one transposed convolution's kernel.

    It is the kernel convolved with the filter over rows and columns.

    Args:
        weight: kernel of the convolution, [in, out, k, k].
        taps: one-dimensional upsampling filter.

    Returns:
        [in, out, k + len(taps) - 1, k + len(taps) - 1].
    """
    # The convolution is a sum of shifted copies. conv2d would change the kernel's memory layout, which makes the
    # layer slower.
    kernel, last = weight, len(taps) - 1
    for is_width in (True, False):
        copies = []
        for i, tap in enumerate(taps):
            copy = nn.functional.pad(kernel, (i, last - i, 0, 0) if is_width else (0, 0, i, last - i))
            copies.append(copy if tap == 1 else tap * copy)
        kernel = reduce(torch.add, copies)
    return kernel


def to_subpixel_kernel(kernel: Tensor) -> Tensor:
    """Convert a transposed convolution of stride 2 to a convolution followed by `interleave_phases`.

    A transposed convolution computes even and odd output pixels from different taps of its kernel. In one dimension,
    with the kernel K0 ... K5:

        output[2 j]     = K4 x[j - 1] + K2 x[j] + K0 x[j + 1]    (even phase)
        output[2 j + 1] = K5 x[j - 1] + K3 x[j] + K1 x[j + 1]    (odd phase)

    Each phase is a convolution of the input. In two dimensions there are four: (even row, even column), (even, odd),
    (odd, even), (odd, odd). The shape changes from [in, out, 2 k, 2 k] to [4 out, in, k, k].

    Args:
        kernel: of the transposed convolution, [in, out, 2 k, 2 k].

    Returns:
        kernel of the convolution, [4 out, in, k, k].
    """
    in_channels, out_channels, size, _ = kernel.shape
    phases = kernel.view(in_channels, out_channels, size // 2, 2, size // 2, 2).flip(2, 4)
    return phases.permute(3, 5, 1, 0, 2, 4).reshape(4 * out_channels, in_channels, size // 2, size // 2)


def interleave_phases(x: Tensor) -> Tensor:
    """Put the four phases of `to_subpixel_kernel` at their pixels.

    It is a pixel shuffle with another order of channels: all channels of a phase are neighbors. In channels_last layout
    they are copied together, which takes a third of the time.

    Args:
        x: [B, 4 C, S, S].

    Returns:
        [B, C, 2 S, 2 S], in channels_last layout.
    """
    # In the order of memory first: so the backward pass copies only once, too.
    rows = torch.unflatten(x.permute(0, 2, 3, 1), 3, (2, 2, -1)).transpose(2, 3)
    return rows.flatten(1, 2).flatten(2, 3).permute(0, 3, 1, 2)


def upsample_2x(x: Tensor, kernel: Tensor, bias: Tensor, is_subpixel: bool) -> Tensor:
    """Upsample by 2 with a transposed convolution, or with the kernel that `to_subpixel_kernel` returns.

    Args:
        x: [B, in, S, S].
        kernel: of a transposed convolution, or that of `to_subpixel_kernel`.
        bias: [out], or [4 out] for a subpixel kernel.
        is_subpixel: which of the two the kernel is.

    Returns:
        [B, out, 2 S, 2 S].
    """
    if is_subpixel:
        phases = nn.functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
        return interleave_phases(phases)
    return nn.functional.conv_transpose2d(x, kernel, bias, stride=2, padding=kernel.shape[-1] // 2 - 1)


class FilteredUpsampleConv(nn.Module):
    """Upsampling by 2 and a 3x3 convolution, merged into one layer: [B, in, S, S] -> [B, out, 2 S, 2 S].

    A transposed convolution with free weights computes even and odd pixels from different weights, which causes
    checkerboard artifacts (Odena et al. 2016, "Deconvolution and checkerboard artifacts"). Here all pixels are computed
    from one 3x3 kernel, so constant input gives constant output.

    - BOX_FILTER equals nearest-neighbor upsampling. The merged 4x4 kernel takes 4 multiplications per output pixel
      instead of 9.
    - BILINEAR_FILTER has a 6x6 kernel and is computed as a subpixel convolution (Shi et al. 2016, "Real-time single
      image and video super-resolution", fig. 1), which is faster for few output channels.
    """

    def __init__(self, in_channels: int, out_channels: int, taps: Sequence[float] = BOX_FILTER) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, 3, 3))
        self.bias = nn.Parameter(torch.empty(out_channels))
        init_he(self, in_channels * 9)

    @property
    def is_subpixel(self) -> bool:
        """Whether the layer is computed as a subpixel convolution."""
        return self.taps == BILINEAR_FILTER

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve.

        Args:
            x: [B, in, S, S].

        Returns:
            [B, out, 2 S, 2 S].
        """
        return upsample_2x(x, *self.effective_kernel_and_bias(), self.is_subpixel)

    def filtered_kernel(self) -> Tensor:
        """Return the kernel of the transposed convolution.

        Returns:
            [in, out, len(taps) + 2, len(taps) + 2].
        """
        return upsample_conv_kernel(self.weight, self.taps)

    def effective_kernel_and_bias(self) -> tuple[Tensor, Tensor]:
        """Return kernel and bias in the form that `upsample_2x` expects.

        Returns:
            kernel and bias.
        """
        kernel = self.filtered_kernel()
        if self.is_subpixel:
            return to_subpixel_kernel(kernel), self.bias.repeat(4)  # an output has the same bias in each phase
        return kernel, self.bias

    def to_frozen(self) -> FrozenUpsampleConv:
        """Return the same layer for inference, with a kernel that is computed only once.

        Returns:
            a layer without parameters.
        """
        return FrozenUpsampleConv(*self.effective_kernel_and_bias(), self.is_subpixel)


class FrozenUpsampleConv(nn.Module):
    """A `FilteredUpsampleConv` with a precomputed kernel, which cannot be trained."""

    def __init__(self, kernel: Tensor, bias: Tensor, is_subpixel: bool) -> None:
        super().__init__()
        self.kernel, self.bias = kernel.detach().contiguous(memory_format=torch.channels_last), bias.detach()
        self.is_subpixel = is_subpixel

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve.

        Args:
            x: [B, in, S, S].

        Returns:
            [B, out, 2 S, 2 S].
        """
        return upsample_2x(x, self.kernel, self.bias, self.is_subpixel)


class ConvTrunk(nn.Module):
    """Body of encoder and discriminator: images [B, C, S, S] in [-1, 1] -> features [B, F, 4, 4]."""

    def __init__(self, channels: int, size: int, base_channels: int) -> None:
        super().__init__()
        widths = [channels, *channel_widths(base_channels, size)]
        self.layers = nn.ModuleList(downsample_conv(a, b) for a, b in itertools.pairwise(widths))
        self.num_features = widths[-1] * 16

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the last layer.

        Args:
            images: float [B, C, S, S] in [-1, 1].

        Returns:
            [B, F, 4, 4].
        """
        return self.multiscale_features(images)[-1]

    def multiscale_features(self, images: Tensor) -> list[Tensor]:
        """Return the features of every layer.

        Args:
            images: float [B, C, S, S] in [-1, 1].

        Returns:
            [B, F, S / 2, S / 2], ..., [B, F, 4, 4].
        """
        features, x = [], images
        for layer in self.layers:
            x = activate(layer(x))
            features.append(x)
        return features
