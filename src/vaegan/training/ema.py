"""An exponential moving average of a model's weights, its half-life counted in pictures."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
EMA_RAMPUP_RATIO = 0.05


class EMA(Generic[M]):
    """Averaged copy of a model; buffers are copied, parameters averaged.

    The half-life grows with training up to `halflife`, as a share RAMP of the pictures seen (Karras et al. 2020,
    arXiv 2006.06676, EMA ramp-up), so that the first weights are soon forgotten.
    """

    def __init__(self, model: M, halflife: int) -> None:
        """Start from the model as it is; halflife in pictures, 0 keeps no average."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.halflife = halflife

    @torch.no_grad()
    def update(self, model: M, images_seen: int, batch_size: int) -> None:
        """Move towards `model` after a step of `batch_size` pictures, `images` having been seen in all."""
        halflife = min(self.halflife, images_seen * EMA_RAMPUP_RATIO)
        keep = 0.5 ** (batch_size / halflife) if halflife > 0 else 0.0
        averaged: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(averaged, current, 1 - keep)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
