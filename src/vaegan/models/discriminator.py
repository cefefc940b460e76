"""The discriminator. The generator is `vaegan.models.vae.Decoder`: one class, so weights move one to one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig
from vaegan.models.layers import ConvTrunk, init_he
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder

Generator = Decoder


MBSTD_GROUP_SIZE = 4
"""Rows whose spread is told together."""
MBSTD_FEATURES = 16
"""Inputs of the head that say it: a channel of 4x4."""


class Discriminator(nn.Module):
    """Picture [B, C, S, S] in [-1, 1] -> one logit each, float32 [B]: high where it looks real."""

    def __init__(self, config: ModelConfig, minibatch_std: bool = False) -> None:
        """Build the trunk and one linear head; minibatch_std: whether the head also sees how pictures differ."""
        super().__init__()
        self.trunk = ConvTrunk(config.channels, config.size, config.base_channels)
        self.minibatch_std = minibatch_std
        inputs = self.trunk.num_features + MBSTD_FEATURES * minibatch_std
        self.head = nn.Linear(inputs, 1)
        init_he(self.head, inputs)

    def forward(self, images: Tensor, num_chunks: int = 1) -> Tensor:
        """Judge every picture; see `look`."""
        return self.forward_with_features(images, num_chunks)[0]

    def forward_with_features(self, images: Tensor, num_chunks: int = 1) -> tuple[Tensor, list[Tensor]]:
        """Return the logits, and the trunk's features at every side that they come from.

        sources: of how many equal stretches of rows each comes from one source; pictures are judged by themselves, or,
        with minibatch_std, beside their neighbours of the same stretch.
        """
        levels = self.trunk.multiscale_features(images)
        flat, head = levels[-1].flatten(1), self.head
        if not self.minibatch_std:
            return head(flat).float().squeeze(1), levels
        weight, told = head.weight[:, :-MBSTD_FEATURES], head.weight[:, -MBSTD_FEATURES:]
        spread = torch.cat([minibatch_stddev(part) for part in flat.chunk(num_chunks)])
        logits = nn.functional.linear(flat, weight, head.bias).float().squeeze(1) + told.sum() * spread
        return logits, levels


class GANForInference(nn.Module):
    """The generator, named as in a VAE, the VAE's encoder where there was one, and the prior."""

    def __init__(self, decoder: Generator, encoder: Encoder | None, prior: Prior) -> None:
        """Hold all."""
        super().__init__()
        self.decoder, self.encoder, self.prior = decoder, encoder, prior


def minibatch_stddev(features: Tensor) -> Tensor:
    """How far the pictures of a group differ, for each: [B, F] -> [B], in float32 at least.

    The mean over all features of their standard deviation within the group (Karras et al. 2018, arXiv 1710.10196,
    section 3). Groups are GROUP neighbours; what is left over at the end is told the spread of the last GROUP rows.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    count = len(features)
    if not count:
        return features.new_zeros(0)
    size = min(MBSTD_GROUP_SIZE, count)
    whole = count // size * size

    def spread(groups: Tensor) -> Tensor:
        apart = groups - groups.mean(1, keepdim=True)
        return (apart.square().mean(1) + 1e-8).sqrt().mean(1)

    found = spread(features[:whole].reshape(-1, size, features.shape[1])).repeat_interleave(size)
    left = count - whole
    return torch.cat([found, spread(features[-size:].unsqueeze(0)).expand(left)]) if left else found
