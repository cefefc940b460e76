"""Growth of trained networks to images of twice the side: one more stage, with the old weights kept.

At every resolution, a larger network is at least as wide as the smaller one. So the old weights fill the first channels
of each layer. Weights from new channels to old ones are 0, so the old channels compute what they did. New channels
start at random. The trunk's new stage halves the image, and the decoder's new stage doubles the image that the old
decoder drew (after Karras et al. 2018, arXiv 1710.10196, and Chen et al. 2016, arXiv 1511.05641). All weights can
change from the first step on.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.discriminator import MBSTD_FEATURES, Discriminator
from vaegan.models.layers import LEAKY_RELU_SLOPE, ConvTrunk, FilteredUpsampleConv, last_channels
from vaegan.models.modulation import Modulation
from vaegan.models.vae import VAE, Decoder, Encoder

PAIR_GAIN = 1 + LEAKY_RELU_SLOPE
"""Of a pair of channels x and -x: leaky_relu(x) - leaky_relu(-x) = PAIR_GAIN * x, so a pair passes on signed values."""


def grown_config(config: ModelConfig) -> ModelConfig:
    """Return the configuration of the grown networks.

    Args:
        config: of the trained networks.

    Returns:
        the same with twice the image size.

    Raises:
        VaeganError: if the networks are too narrow for a new stage, or the size is not supported.
    """
    # each color of an image, and each output of the last convolution, takes two channels of the new stage
    num_outputs = config.num_color_layers or config.channels
    needed = next(width for width in itertools.count(2 * config.channels) if last_channels(width) >= 2 * num_outputs)
    if config.base_channels < needed:
        raise VaeganError(
            f"networks of {config.base_channels} base channels are too narrow to grow: at least {needed} are needed"
        )
    return replace(config, size=2 * config.size)


def grow_vae(vae: VAE, config: ModelConfig) -> VAE:
    """Return a VAE for images of twice the side. It encodes them as `vae` does at half the size.

    Args:
        vae: the trained VAE.
        config: what `grown_config` returns.

    Returns:
        the VAE in evaluation mode, with the prior of `vae`.
    """
    grown = VAE(config)
    grown.encoder, grown.decoder = _grow_encoder(vae.encoder, config), grow_decoder(vae.decoder, config)
    grown.prior = vae.prior
    return grown.eval()


@torch.no_grad()
def _grow_encoder(encoder: Encoder, config: ModelConfig) -> Encoder:
    grown = Encoder(config)
    _grow_trunk(encoder.trunk, grown.trunk)
    for name in ("mean_head", "log_var_head"):
        old, new = getattr(encoder, name), getattr(grown, name)
        num_features = encoder.trunk.num_features  # the weights of skip channels follow
        new.weight.zero_()[:, :num_features] = old.weight[:, :num_features]
        new.weight[:, grown.trunk.num_features :] = old.weight[:, num_features:]
        new.bias.copy_(old.bias)
    if encoder.skip_features is not None and grown.skip_features is not None:
        _embed(encoder.skip_features, grown.skip_features)
    grown.cov_factor.copy_(encoder.cov_factor)
    return grown.eval()


@torch.no_grad()
def grow_decoder(decoder: Decoder, config: ModelConfig) -> Decoder:
    """Return a decoder whose images look like those of `decoder` at twice the side.

    They are not equal: the filters of upsampling differ, and the last 3x3 convolution acts on pixels of half the size.

    Args:
        decoder: the trained decoder or generator.
        config: what `grown_config` returns.

    Returns:
        the decoder, in evaluation mode.
    """
    grown = Decoder(config)
    num_rows = len(decoder.proj_in.weight)
    if decoder.class_embedding is not None and grown.class_embedding is not None:
        grown.class_embedding.weight[:, :num_rows] = decoder.class_embedding.weight
    grown.proj_in.weight[:num_rows], grown.proj_in.bias[:num_rows] = decoder.proj_in.weight, decoder.proj_in.bias
    *upsampling, last = decoder.layers
    for old, new in zip(upsampling, grown.layers, strict=False):
        _embed(old, new, is_transposed=True)
    if decoder.color_layers is not None and grown.color_layers is not None:
        _embed(decoder.color_layers.conv, grown.color_layers.conv)
    if decoder.modulation is not None and grown.modulation is not None:
        _grow_modulation(decoder.modulation, grown.modulation)
    if decoder.latent_map is not None and grown.latent_map is not None:
        grown.latent_map.load_state_dict(decoder.latent_map.state_dict())
    # the new stage draws the old image, or the weights of the color layers, as pairs of channels, and the last
    # convolution joins them
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    stage, output = grown.layers[-2], grown.layers[-1]
    assert isinstance(stage, FilteredUpsampleConv) and isinstance(output, nn.Conv2d)
    output.weight.zero_()
    for channel in range(len(last.weight)):
        for sign, row in ((1, 2 * channel), (-1, 2 * channel + 1)):
            stage.weight[:, row] = 0
            # a transposed convolution applies the flipped kernel
            stage.weight[: last.in_channels, row] = sign * last.weight[channel].flip(1, 2)
            stage.bias[row] = sign * last.bias[channel]
            output.weight[channel, row, 1, 1] = sign / PAIR_GAIN
    return grown.eval()


def _grow_modulation(old: Modulation, new: Modulation) -> None:
    """Fill a modulation of one more layer, the last. That layer's scale and shift stay 0."""
    new.proj_in.load_state_dict(old.proj_in.state_dict())
    for name in ("weight", "bias"):
        old_parts, new_parts = (list(getattr(m.proj_out, name).split(m.sizes)) for m in (old, new))
        del new_parts[old.num_layer_parts : new.num_layer_parts]
        for source, target in zip(old_parts, new_parts, strict=True):
            target[: len(source)] = source


@torch.no_grad()
def grow_discriminator(discriminator: Discriminator, config: ModelConfig) -> Discriminator:
    """Return a discriminator that judges images as the old one does at half the size.

    Args:
        discriminator: the trained discriminator.
        config: what `grown_config` returns.

    Returns:
        the discriminator.
    """
    grown, num_features = Discriminator(config, discriminator.minibatch_std), discriminator.trunk.num_features
    _grow_trunk(discriminator.trunk, grown.trunk)
    grown.head.weight.zero_()[:, :num_features] = discriminator.head.weight[:, :num_features]
    if discriminator.minibatch_std:
        grown.head.weight[:, -MBSTD_FEATURES:] = discriminator.head.weight[:, -MBSTD_FEATURES:]
    grown.head.bias.copy_(discriminator.head.bias)
    if discriminator.class_embedding is not None and grown.class_embedding is not None:
        grown.class_embedding.weight[:, :num_features] = discriminator.class_embedding.weight
    return grown


def _grow_trunk(old: ConvTrunk, new: ConvTrunk) -> None:
    """Fill a trunk that has one more layer, the first."""
    first, second, *others = new.layers
    assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
    assert first.bias is not None and second.bias is not None
    entry = old.layers[0]
    assert isinstance(entry, nn.Conv2d) and entry.bias is not None
    second.weight[: len(entry.weight)] = 0
    second.bias[: len(entry.weight)] = entry.bias
    for channel in range(first.in_channels):
        for sign, row in ((1, 2 * channel), (-1, 2 * channel + 1)):
            first.weight[row] = 0
            first.weight[row, channel, 1:3, 1:3] = sign / 4  # the mean of 2 x 2 pixels
            first.bias[row] = 0
            second.weight[: len(entry.weight), row] = sign / PAIR_GAIN * entry.weight[:, channel]
    for old_layer, new_layer in zip(old.layers[1:], others, strict=True):
        _embed(old_layer, new_layer)


def _embed(old: nn.Module, new: nn.Module, is_transposed: bool = False) -> None:
    """Copy a convolution into the first channels of a wider one; its other inputs do not reach these channels."""
    assert isinstance(old.weight, Tensor) and isinstance(new.weight, Tensor)
    assert isinstance(old.bias, Tensor) and isinstance(new.bias, Tensor)
    source, target = (w.transpose(0, 1) if is_transposed else w for w in (old.weight, new.weight))
    num_outputs, num_inputs = source.shape[:2]
    target[:num_outputs] = 0
    target[:num_outputs, :num_inputs] = source
    new.bias[:num_outputs] = old.bias
