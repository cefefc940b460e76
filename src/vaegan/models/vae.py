"""A convolutional variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig
from vaegan.models.layers import (
    BILINEAR_FILTER,
    BOX_FILTER,
    LEAKY_RELU_SLOPE,
    ConvTrunk,
    FilteredUpsampleConv,
    channel_widths,
    conv3x3,
    init_he,
)
from vaegan.models.prior import Prior


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, M diag(exp(log_var)) M^T), with M = `mix`, or the identity where it is None.

    mean, log_var: float [B, d]. M is only there after folding (`vaegan.models.latent_whitening`).
    """

    mean: Tensor
    log_var: Tensor
    cov_factor: Tensor | None = None

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterise (1312.6114, eq. 10): z = mean + sigma * noise, noise standard normal [B, d]."""
        deviation = (0.5 * self.log_var).exp() * noise
        return self.mean + (deviation if self.cov_factor is None else deviation @ self.cov_factor.T)


class Encoder(nn.Module):
    """Picture -> parameters of q(z|x)."""

    cov_factor: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build the trunk and two linear heads."""
        super().__init__()
        self.trunk = ConvTrunk(config.channels, config.size, config.base_channels)
        self.mean_head = nn.Linear(self.trunk.num_features, config.latent_dim)
        self.log_var_head = nn.Linear(self.trunk.num_features, config.latent_dim)
        init_he(self.mean_head, self.trunk.num_features)
        init_he(self.log_var_head, self.trunk.num_features, 0.1)
        self.register_buffer("cov_factor", torch.zeros(config.latent_dim, config.latent_dim).fill_diagonal_(1))

    def forward(self, images: Tensor) -> Posterior:
        """Picture float [B, C, S, S] in [-1, 1] -> Posterior, in float32."""
        features = self.trunk(images).flatten(1)
        log_var = self.log_var_head(features).float().clamp(-16, 8)
        return Posterior(self.mean_head(features).float(), log_var, None if self.training else self.cov_factor)


class Decoder(nn.Module):
    """Latent [B, d] -> picture [B, C, S, S] in [-1, 1]. The GAN's generator is this class."""

    def __init__(self, config: ModelConfig) -> None:
        """Build a linear layer to 4x4, log2(size) - 2 doublings and, where they are refined, a convolution."""
        super().__init__()
        self.latent_dim = config.latent_dim
        refined = config.upsampling == "refined"
        last = max(8, config.base_channels // 2) if refined else config.channels
        widths = [*reversed(channel_widths(config.base_channels, config.size)), last]
        self.proj_in = nn.Linear(config.latent_dim, widths[0] * 16)
        init_he(self.proj_in, config.latent_dim)
        taps = [BOX_FILTER] * (len(widths) - 2) + [BOX_FILTER if config.upsampling == "nearest" else BILINEAR_FILTER]
        doublings = [
            FilteredUpsampleConv(a, b, by) for (a, b), by in zip(itertools.pairwise(widths), taps, strict=True)
        ]
        self.layers = nn.ModuleList([*doublings, conv3x3(last, config.channels)] if refined else doublings)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode; a tanh at the end keeps pictures inside [-1, 1]."""
        x = self.proj_in(latents).unflatten(1, (-1, 4, 4))
        for layer in self.layers:
            x = layer(nn.functional.leaky_relu(x, LEAKY_RELU_SLOPE))
        return torch.tanh(x)


class VAE(nn.Module):
    """Encoder and decoder together, with the prior that latents are drawn from after training."""

    def __init__(self, config: ModelConfig) -> None:
        """Build for `config`."""
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.prior = Prior(config)

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        """Return the reconstruction of a posterior sample, and the posterior."""
        posterior = self.encoder(images)
        return self.decoder(posterior.sample(noise)), posterior

    def reconstruct(self, images: Tensor) -> Tensor:
        """Decode the posterior's mean."""
        images = self.decoder(self.encoder(images).mean)
        return images
