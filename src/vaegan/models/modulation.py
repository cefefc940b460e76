"""Scales and shifts of the decoder's channels, computed from the latents.

In a plain decoder, the latents enter at 4x4 pixels only. What they say of the whole image, such as the color of the
skin, must then pass through all layers and come out alike at every pixel. With modulation, the latents also scale and
shift every channel of every upsampling layer, at all pixels alike (FiLM, Perez et al. 2018, arXiv 1709.07871, eq. 1;
the styles of Karras et al. 2019, arXiv 1812.04948, section 2, without normalization).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vaegan.models.layers import activate, init_he


class LayerModulation(NamedTuple):
    """How one layer's output changes: x -> (1 + scale) * x + shift. Both are [B, channels]."""

    scale: Tensor
    shift: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Scale and shift the channels of a layer's output.

        Args:
            x: [B, channels, S, S].

        Returns:
            of the same shape and dtype.
        """
        scale, shift = (values[:, :, None, None].to(x.dtype) for values in self)
        return torch.addcmul(shift, x, 1 + scale)


class Modulation(nn.Module):
    """Latents [B, d] -> the `LayerModulation` of each layer, and shifts of the outputs.

    It is a network with one hidden layer. Its last layer starts at 0, so that at first it changes nothing.

    Args:
        latent_dim: number of latents d.
        hidden_dim: units of the hidden layer.
        widths: channels of the layers that are scaled and shifted.
        shift_widths: channels of the outputs that are only shifted.

    Attributes:
        sizes: lengths of the parts of the last layer's output: scale and shift of each layer, then the other shifts.
        num_layer_parts: number of these parts that belong to layers.
    """

    def __init__(self, latent_dim: int, hidden_dim: int, widths: Sequence[int], shift_widths: Sequence[int]) -> None:
        super().__init__()
        layer_parts = [width for width in widths for _ in LayerModulation._fields]
        self.sizes, self.num_layer_parts = [*layer_parts, *shift_widths], len(layer_parts)
        self.proj_in = nn.Linear(latent_dim, hidden_dim)
        self.proj_out = nn.Linear(hidden_dim, sum(self.sizes))
        init_he(self.proj_in, latent_dim)
        init_he(self.proj_out, hidden_dim, 0.0)

    def forward(self, latents: Tensor) -> tuple[list[LayerModulation], list[Tensor]]:
        """Compute scales and shifts.

        Args:
            latents: float [B, d].

        Returns:
            scale and shift of each layer, and the shifts of the outputs, each [B, channels].
        """
        parts = self.proj_out(activate(self.proj_in(latents))).split(self.sizes, 1)
        layer_parts, shifts = parts[: self.num_layer_parts], parts[self.num_layer_parts :]
        pairs = zip(layer_parts[::2], layer_parts[1::2], strict=True)
        return [LayerModulation(*pair) for pair in pairs], list(shifts)
