"""The discriminator. The generator is the VAE's decoder class, so weights can be copied one to one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig
from vaegan.models.class_embedding import embed_classes, make_class_embedding
from vaegan.models.layers import ConvTrunk, FilteredUpsampleConv, activate, conv3x3, init_he
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder

Generator = Decoder

MBSTD_GROUP_SIZE = 4
MBSTD_FEATURES = 16  # one more channel of the 4x4 features
RECONSTRUCTION_SIZE = 32
"""Side in pixels of the images that are reconstructed from the discriminator's features."""
FEATURE_DECODER_PREFIX = "feature_decoder."
"""What the names of a `FeatureDecoder`'s tensors begin with in the state_dict of a `Discriminator`."""


class FeatureDecoder(nn.Module):
    """The trunk's last features [B, F, 4, 4] -> images [B, C, s, s], s being RECONSTRUCTION_SIZE.

    It is trained with the discriminator on real images. So the features keep what is in an image, also where this does
    not help to tell real images from generated ones (Liu et al. 2021, arXiv 2101.04775, section 3.2).
    """

    def __init__(self, num_channels: int, image_channels: int) -> None:
        super().__init__()
        widths = [num_channels, num_channels // 4, num_channels // 8, num_channels // 16]  # at 4, 8, 16 and 32 pixels
        self.upsampling = nn.ModuleList(FilteredUpsampleConv(a, b) for a, b in itertools.pairwise(widths))
        self.output_layer = conv3x3(widths[-1], image_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Decode features.

        Args:
            features: [B, F, 4, 4].

        Returns:
            images [B, C, RECONSTRUCTION_SIZE, RECONSTRUCTION_SIZE]; not limited to [-1, 1].
        """
        for layer in self.upsampling:
            features = activate(layer(features))
        images: Tensor = self.output_layer(features)
        return images


class Discriminator(nn.Module):
    """Images [B, C, S, S] in [-1, 1] -> one logit each, float32 [B]; higher means more likely real.

    With classes it is a projection discriminator (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3): the inner product of
    the class's embedding and the trunk's features is added to the logit.

    Args:
        config: architecture.
        minibatch_std: whether it has the minibatch standard deviation feature.
        reconstructs: whether it has a `FeatureDecoder`.
    """

    def __init__(self, config: ModelConfig, minibatch_std: bool = False, reconstructs: bool = False) -> None:
        super().__init__()
        self.trunk = ConvTrunk(config.channels, config.size, config.base_channels)
        self.minibatch_std = minibatch_std
        num_features = self.trunk.num_features + MBSTD_FEATURES * minibatch_std
        self.head = nn.Linear(num_features, 1)
        init_he(self.head, num_features)
        self.class_embedding = make_class_embedding(config.num_classes, self.trunk.num_features)
        num_channels = self.trunk.num_features // 16
        self.feature_decoder = FeatureDecoder(num_channels, config.channels) if reconstructs else None

    def forward(self, images: Tensor, class_weights: Tensor | None = None, num_chunks: int = 1) -> Tensor:
        """Return the logits of images.

        Args:
            images: float [B, C, S, S] in [-1, 1].
            class_weights: see `forward_with_features`.
            num_chunks: see `forward_with_features`.

        Returns:
            float32 [B].
        """
        return self.forward_with_features(images, class_weights, num_chunks)[0]

    def forward_with_features(
        self, images: Tensor, class_weights: Tensor | None = None, num_chunks: int = 1
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of images, and the trunk's features.

        Args:
            images: float [B, C, S, S] in [-1, 1].
            class_weights: float [B, num_classes]; ignored by an unconditional discriminator.
            num_chunks: number of equal chunks in the batch, such as 2 for real, then fake images. The minibatch
                standard deviation is computed within each chunk.

        Returns:
            logits, float32 [B], and features [B, F, s, s], from the finest level to s = 4.
        """
        features = self.trunk.multiscale_features(images)
        flat = features[-1].flatten(1)
        logits = self._head_logits(flat, num_chunks)
        if self.class_embedding is not None:
            logits = logits + (embed_classes(self.class_embedding, class_weights) * flat).float().sum(1)
        return logits, features

    def _head_logits(self, flat: Tensor, num_chunks: int) -> Tensor:
        """Return the logits that do not depend on the class, of features [B, F]."""
        if not self.minibatch_std:
            logits: Tensor = self.head(flat).float().squeeze(1)
            return logits
        # This equals a head on the features and one more 4x4 channel, filled with each row's standard deviation:
        # the 16 weights of a constant channel act by their sum.
        weight, std_weight = self.head.weight[:, :-MBSTD_FEATURES], self.head.weight[:, -MBSTD_FEATURES:].sum()
        stddev = torch.cat([minibatch_stddev(chunk) for chunk in flat.chunk(num_chunks)])
        return nn.functional.linear(flat, weight, self.head.bias).float().squeeze(1) + std_weight * stddev


class GANForInference(nn.Module):
    """The networks in a GAN's weights file: generator, prior and, if there is one, the VAE's encoder.

    The generator is called `decoder`, as in a VAE, so tensors have the same names in both files.
    """

    def __init__(self, decoder: Generator, encoder: Encoder | None, prior: Prior) -> None:
        super().__init__()
        self.decoder, self.encoder, self.prior = decoder, encoder, prior


def split_feature_decoder(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split the tensors of a discriminator.

    Args:
        tensors: its state_dict.

    Returns:
        the tensors that every discriminator has, and those of the `FeatureDecoder`, if there is one, by name.
    """
    names = {name for name in tensors if name.startswith(FEATURE_DECODER_PREFIX)}
    return {name: tensors[name] for name in tensors if name not in names}, {name: tensors[name] for name in names}


def minibatch_stddev(features: Tensor) -> Tensor:
    """Return the standard deviation within each row's group, averaged over the features.

    It shows the discriminator whether samples repeat (Karras et al. 2018, arXiv 1710.10196, section 3). Each
    MBSTD_GROUP_SIZE neighboring rows are a group. The rows left over at the end get the value of the last
    MBSTD_GROUP_SIZE rows.

    Args:
        features: float [B, F].

    Returns:
        [B], float32 or the wider dtype of `features`.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    batch_size = len(features)
    if not batch_size:
        return features.new_zeros(0)
    group_size = min(MBSTD_GROUP_SIZE, batch_size)
    num_left_over = batch_size % group_size
    groups = features[: batch_size - num_left_over].reshape(-1, group_size, features.shape[1])
    stddev = _group_stddev(groups).repeat_interleave(group_size)
    if num_left_over:
        last = _group_stddev(features[-group_size:].unsqueeze(0))
        stddev = torch.cat([stddev, last.expand(num_left_over)])
    return stddev


def _group_stddev(groups: Tensor) -> Tensor:
    """Return the mean standard deviation of the features: [num_groups, group_size, F] -> [num_groups]."""
    deviations = groups - groups.mean(1, keepdim=True)
    return (deviations.square().mean(1) + 1e-8).sqrt().mean(1)
