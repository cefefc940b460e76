"""A convolutional variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig, channel_widths
from vaegan.models.class_embedding import ConditionalModule, embed_classes, make_class_embedding
from vaegan.models.color_layers import COLOR_LAYER_SIZE, ColorLayers
from vaegan.models.dense_skips import SKIP_SIZE, LatentMap, SkipFeatures
from vaegan.models.layers import (
    BILINEAR_FILTER,
    BOX_FILTER,
    ConvTrunk,
    FilteredUpsampleConv,
    activate,
    conv3x3,
    init_he,
    last_channels,
)
from vaegan.models.modulation import Modulation
from vaegan.models.prior import Prior

EMBEDDING_GAIN = 8.0
"""Factor of the class embedding, which starts at 0. Adam's steps do not depend on the size of the gradient: without the
factor, the embedding would take thousands of steps to become as large as the other terms (equalized learning rate,
Karras et al. 2018, arXiv 1710.10196, section 4.1)."""


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, M diag(exp(log_var)) M^T) for a batch of images.

    mean, log_var: float [B, d]. cov_factor: M, float [d, d], or None for the identity. M differs from the identity only
    after latent whitening (`vaegan.models.latent_whitening`).
    """

    mean: Tensor
    log_var: Tensor
    cov_factor: Tensor | None = None

    def sample(self, noise: Tensor) -> Tensor:
        """Sample mean + M (sigma * noise) (reparameterization, arXiv 1312.6114, eq. 10).

        Args:
            noise: N(0, I), float [B, d].

        Returns:
            latents [B, d].
        """
        deviation = (0.5 * self.log_var).exp() * noise
        return self.mean + (deviation if self.cov_factor is None else deviation @ self.cov_factor.T)


class Encoder(nn.Module):
    """Images -> parameters of q(z|x)."""

    cov_factor: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = ConvTrunk(config.channels, config.size, config.base_channels)
        num_features, self.skip_features = self.trunk.num_features, None
        if config.skip_channels:
            self.skip_features = SkipFeatures(config.max_skip_channels, config.num_encoder_skip_channels)
            num_features += config.num_encoder_skip_channels * SKIP_SIZE**2
        self.mean_head = nn.Linear(num_features, config.latent_dim)
        self.log_var_head = nn.Linear(num_features, config.latent_dim)
        init_he(self.mean_head, num_features)
        init_he(self.log_var_head, num_features, 0.1)
        self.register_buffer("cov_factor", torch.zeros(config.latent_dim, config.latent_dim).fill_diagonal_(1))

    def forward(self, images: Tensor) -> Posterior:
        """Encode images.

        Args:
            images: float [B, C, S, S] in [-1, 1].

        Returns:
            their posterior in float32.
        """
        levels = self.trunk.multiscale_features(images)
        features = levels[-1].flatten(1)
        if self.skip_features is not None:
            features = torch.cat([features, self.skip_features.of_levels(levels)], 1)
        log_var = self.log_var_head(features).float().clamp(-16, 8)
        # The latents are whitened after training, so while training the factor is the identity.
        return Posterior(self.mean_head(features).float(), log_var, None if self.training else self.cov_factor)


class Decoder(ConditionalModule):
    """Latents [B, d] -> images [B, C, S, S] in [-1, 1]. The generator of the GAN is this class.

    A conditional decoder adds the embedding of the class to the output of its first layer. With modulation, the
    latents also scale and shift the channels of the layers after it. With a dense skip connection, they also add a map
    to the features of 16x16 pixels.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.latent_dim = config.latent_dim
        widths = [*reversed(channel_widths(config.base_channels, config.size)), last_channels(config.base_channels)]
        self.proj_in = nn.Linear(config.latent_dim, widths[0] * 16)
        init_he(self.proj_in, config.latent_dim)
        self.class_embedding = make_class_embedding(config.num_classes, widths[0] * 16)
        # Nearest-neighbor upsampling is cheaper, but at full size its steps would be visible.
        filters = [BOX_FILTER] * (len(widths) - 2) + [BILINEAR_FILTER]
        upsampling = [
            FilteredUpsampleConv(in_channels, out_channels, taps)
            for (in_channels, out_channels), taps in zip(itertools.pairwise(widths), filters, strict=True)
        ]
        # An interpolated image has no sharp edges. One more convolution after a nonlinearity can draw them. It draws
        # the weights of the color layers, or the image itself.
        num_outputs = config.num_color_layers or config.channels
        self.layers = nn.ModuleList([*upsampling, conv3x3(widths[-1], num_outputs)])
        self.color_layers: ColorLayers | None = None
        if config.num_color_layers:
            in_channels = widths[COLOR_LAYER_SIZE.bit_length() - 3]  # of 4, 8, 16, ... pixels
            self.color_layers = ColorLayers(in_channels, config.channels, config.num_color_layers)
        self.modulation: Modulation | None = None
        if config.modulation_dim:
            num_colors = [config.channels * config.num_color_layers] if config.num_color_layers else []
            shifted = [num_outputs, *num_colors]
            self.modulation = Modulation(config.latent_dim, config.modulation_dim, widths[1:], shifted)
        self.latent_map = LatentMap(config.latent_dim, config.skip_channels) if config.skip_channels else None

    @property
    def latent_layers(self) -> list[nn.Linear]:
        """The linear layers that take the latents."""
        layers = [self.proj_in, None if self.modulation is None else self.modulation.proj_in, self.latent_map]
        return [layer for layer in layers if layer is not None]

    def forward(self, latents: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Decode latents.

        Args:
            latents: float [B, d].
            class_weights: float [B, num_classes]; ignored by an unconditional decoder.

        Returns:
            images [B, C, S, S] in [-1, 1].

        Raises:
            ValueError: if the decoder is conditional and there are no class weights.
        """
        x = self.proj_in(latents)
        if self.class_embedding is not None:
            class_weights = self.with_fixed_class(class_weights, latents, self.class_embedding.num_embeddings)
            x = x + EMBEDDING_GAIN * embed_classes(self.class_embedding, class_weights)
        x = color_features = torch.unflatten(activate(x), 1, (-1, 4, 4))
        *upsampling, output_layer = self.layers
        modulations, shifts = ([], []) if self.modulation is None else self.modulation(latents)
        for index, layer in enumerate(upsampling):
            x = layer(x)
            if modulations:
                x = modulations[index].apply(x)
            if self.latent_map is not None and x.shape[-1] == SKIP_SIZE:
                x = self.latent_map.add_to(x, latents)
            x = activate(x)
            if x.shape[-1] == COLOR_LAYER_SIZE:
                color_features = x
        x = output_layer(x)
        if shifts:
            x = x + shifts[0][:, :, None, None]
        if self.color_layers is None:
            return torch.tanh(x)
        images: Tensor = self.color_layers(color_features, x, shifts[1] if shifts else None)
        return images


class VAE(nn.Module):
    """Encoder, decoder, and the prior that latents are sampled from after training."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.prior = Prior(config)

    def forward(self, images: Tensor, noise: Tensor, class_weights: Tensor | None = None) -> tuple[Tensor, Posterior]:
        """Decode one posterior sample of each image.

        Args:
            images: float [B, C, S, S] in [-1, 1].
            noise: N(0, I), float [B, d].
            class_weights: float [B, num_classes], for a conditional VAE.

        Returns:
            decoded images [B, C, S, S] in [-1, 1], and the posterior.
        """
        posterior = self.encoder(images)
        return self.decoder(posterior.sample(noise), class_weights), posterior

    def reconstruct(self, images: Tensor, class_weights: Tensor | None = None) -> Tensor:
        """Decode the posterior mean of each image.

        Args:
            images: float [B, C, S, S] in [-1, 1].
            class_weights: float [B, num_classes], for a conditional VAE.

        Returns:
            [B, C, S, S] in [-1, 1].
        """
        decoded: Tensor = self.decoder(self.encoder(images).mean, class_weights)
        return decoded
