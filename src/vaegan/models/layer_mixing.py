"""The mix of color layers, computed in a CPU's caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

MIXED_VALUES = 2**18
"""Values of enlarged layers that are computed at once: 1 MiB."""


def mix_layers(layers: Tensor, weights: Tensor, enlarge: Tensor) -> Tensor:
    """Enlarge layers and mix them: image = sum over k of weights_k * (E layer_k E^T).

    Args:
        layers: float [B, C * K, s, s].
        weights: float [B, K, S, S].
        enlarge: the interpolation matrix E, float [S, s].

    Returns:
        float [B, C, S, S].
    """
    if layers.device.type == "cpu" and not torch.compiler.is_compiling():  # nor exporting to ONNX
        mixed: Tensor = _MixInCaches.apply(layers, weights, enlarge)  # type: ignore[no-untyped-call]
        return mixed
    return (_enlarged(layers, enlarge, weights.shape[1]) * weights[:, None]).sum(2)


def _enlarged(layers: Tensor, enlarge: Tensor, num_layers: int) -> Tensor:
    """Enlarge [B, C * K, s, s] to [B, C, K, S, S]."""
    return torch.unflatten(enlarge @ layers @ enlarge.T, 1, (-1, num_layers))


class _MixInCaches(torch.autograd.Function):
    """The mix of a few images at a time, which gives the same values and gradients.

    The enlarged layers are by far the largest tensors of a decoder. A few images of them stay in the caches, so it is
    faster to compute them again for the gradient than to keep them in memory.
    """

    @staticmethod
    def forward(ctx: Any, layers: Tensor, weights: Tensor, enlarge: Tensor) -> Tensor:
        ctx.save_for_backward(layers, weights, enlarge)
        images = []
        for part_layers, part_weights in _split(layers, weights):
            products = _enlarged(part_layers, enlarge, weights.shape[1]).mul_(part_weights[:, None])
            images.append(products.sum(2))
        return torch.cat(images)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        layers, weights, enlarge = ctx.saved_tensors
        grad_layers, grad_weights = torch.empty_like(layers), torch.empty_like(weights)
        tensors = (layers, weights, grad.contiguous(), grad_layers, grad_weights)
        for part_layers, part_weights, part_grad, out_layers, out_weights in _split(*tensors):
            products = _enlarged(part_layers, enlarge, weights.shape[1]).mul_(part_grad[:, :, None])
            torch.sum(products, 1, out=out_weights)
            torch.mul(part_grad[:, :, None], part_weights[:, None], out=products)
            torch.matmul(enlarge.T, products.flatten(1, 2) @ enlarge, out=out_layers)
        return grad_layers, grad_weights, None


def _split(layers: Tensor, weights: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors with a row per image so that MIXED_VALUES of enlarged layers, or one image, are in each part."""
    count = max(1, MIXED_VALUES // (layers.shape[1] * weights[0, 0].numel()))
    return zip(*(torch.split(tensor, count) for tensor in (layers, weights, *others)), strict=True)
