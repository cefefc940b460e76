"""Initialization of a GAN's generator from a VAE's decoder, and its drift from there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.class_embedding import one_hot
from vaegan.models.class_prior import class_component_weights, class_mean_shifts
from vaegan.models.discriminator import Generator
from vaegan.models.latent_whitening import AutocastFactory, encode_batches
from vaegan.models.prior import Prior
from vaegan.models.vae import VAE, Encoder
from vaegan.training.trainer import IMAGES_PER_ROW, class_frequencies, load_with_new_classes, make_class_weights
from vaegan.utils.images import make_grid, to_float, to_uint8
from vaegan.utils.neighbors import find_nearest

NUM_SAMPLED = 2 * IMAGES_PER_ROW
ENCODING_BATCH_SIZE = 128
COARSE_SIZE = 16
"""Side in pixels at which images are compared, so that added sharpness alone does not count as drift."""


@torch.no_grad()
def init_generator_from_decoder(vae: VAE, generator: Generator) -> float:
    """Copy a decoder's weights into a generator, and compare the images of both.

    Args:
        vae: the VAE.
        generator: changed in place.

    Returns:
        the largest absolute difference of their images, which are in [-1, 1].

    Raises:
        VaeganError: if the shapes differ.
    """
    # An unconditional VAE has no class embedding: that of the generator stays 0, so that all classes decode alike.
    load_with_new_classes(generator, vae.decoder.state_dict(), Path("the VAE's decoder"))
    device = next(generator.parameters()).device
    decoder = vae.decoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    latents, class_weights = vae.prior.sample_seeds(range(16)).to(device), torch.zeros(16, 0)
    if generator.class_embedding is not None:
        num_classes = generator.class_embedding.num_embeddings
        class_weights = one_hot(torch.arange(16, device=device) % num_classes, num_classes)
    return float((decoder(latents, class_weights) - generator(latents, class_weights)).abs().max())


@torch.no_grad()
def add_classes_to_prior(
    vae: VAE, config: ModelConfig, images: Tensor, class_ids: Tensor, seed: int, autocast: AutocastFactory
) -> Prior:
    """Return the mixture prior of an unconditional VAE with weights of its components for each class.

    Args:
        vae: the VAE, its encoder on the device to compute on.
        config: conditional configuration with the mixture's sizes.
        images: training images, uint8 [N, C, S, S].
        class_ids: number of each image's class, int64 [N].
        seed: of the posterior samples.
        autocast: returns the context in which images are encoded.

    Returns:
        the prior, on the CPU.
    """
    latents, generator = [], torch.Generator().manual_seed(seed)
    for (posterior,) in encode_batches(vae.encoder, torch.split(images, ENCODING_BATCH_SIZE), autocast):
        noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
        latents.append(posterior.sample(noise).float().cpu())
    mixture = copy.deepcopy(vae.prior).cpu().mixture()
    encodings = torch.cat(latents)
    leading = encodings[:, None, : mixture.means.shape[1]]
    component_weights = class_component_weights(mixture, leading, class_ids, config.num_classes)
    buffers = {
        "class_frequencies": class_frequencies(class_ids, config.num_classes),
        "class_component_weights": component_weights,
        "class_shifts": class_mean_shifts(mixture, component_weights, leading, class_ids),
    }
    if vae.prior.num_references:
        references = vae.prior.references.cpu()
        buffers["references"] = references
        buffers["reference_offsets"] = vae.prior.reference_offsets.cpu()
        if vae.prior.num_groups:
            buffers |= {"group_axes": vae.prior.group_axes.cpu(), "group_offsets": vae.prior.group_offsets.cpu()}
        # The VAE does not know the classes of its references. Their nearest encodings are most often the same images.
        buffers["reference_classes"] = class_ids[find_nearest(references, encodings)[1]]
    return Prior.from_mixture(config, mixture, **buffers)


@torch.no_grad()
def reconstruction_error(decoder: Generator, encoder: Encoder, images: Tensor, class_weights: Tensor) -> float:
    """Return the mean squared error of encoded images.

    Args:
        decoder: the VAE's decoder, or the generator of a GAN.
        encoder: the VAE's encoder.
        images: uint8 [N, C, S, S].
        class_weights: float [N, num_classes].

    Returns:
        the mean over values in [-1, 1].
    """
    real = to_float(images)
    decoded = decoder(encoder(real).mean, class_weights)
    return float(F.mse_loss(decoded.float(), real))


@dataclass(frozen=True)
class DecoderDrift:
    """Fixed latents and the decoder's images of them, to measure how far a generator has drifted.

    Attributes:
        latents: float [N, d]: samples of the prior with seeds 0 to 15, then the encodings of 8 validation images, if
            there are as many.
        decoder_images: uint8 [N, C, S, S].
        class_weights: float [N, num_classes].
    """

    latents: Tensor
    decoder_images: Tensor
    class_weights: Tensor

    @classmethod
    @torch.no_grad()
    def from_decoder(
        cls,
        decoder: Generator,
        encoder: Encoder,
        prior: Prior,
        val_images: Tensor,
        val_class_weights: Tensor | None = None,
    ) -> DecoderDrift:
        """Decode the fixed latents with the decoder as it is now.

        Args:
            decoder: the VAE's decoder.
            encoder: the VAE's encoder.
            prior: the VAE's prior.
            val_images: uint8 [M, C, S, S], may be empty.
            val_class_weights: float [M, num_classes], for a conditional decoder.

        Returns:
            latents and images.
        """
        device = next(decoder.parameters()).device
        class_ids = prior.sample_classes(range(NUM_SAMPLED)) if prior.num_classes else None
        class_weights = make_class_weights(class_ids, NUM_SAMPLED, prior.num_classes, device)
        latents = prior.sample_seeds(range(NUM_SAMPLED), class_weights=class_weights).to(device)
        if len(val_images) >= IMAGES_PER_ROW:
            encoded = encoder(to_float(val_images[:IMAGES_PER_ROW])).mean
            latents = torch.cat([latents, encoded])
            if val_class_weights is None:
                val_class_weights = class_weights.new_zeros(IMAGES_PER_ROW, 0)
            class_weights = torch.cat([class_weights, val_class_weights[:IMAGES_PER_ROW]])
        return cls(latents, to_uint8(decoder(latents, class_weights)), class_weights)

    @torch.no_grad()
    def distance(self, generator: Generator) -> float:
        """Return the mean distance between the decoder's and the generator's images of the sampled latents.

        It is relative to the mean distance between the decoder's images of different latents: 0 if nothing has moved,
        about 1 if each latent gives an unrelated image. Distances are Euclidean, at 16 x 16 pixels.

        Args:
            generator: the generator as it is now.

        Returns:
            from 0.
        """
        generator_images = to_uint8(generator(self.latents[:NUM_SAMPLED], self.class_weights[:NUM_SAMPLED]))
        decoded = _downsample_and_flatten(self.decoder_images[:NUM_SAMPLED])
        generated = _downsample_and_flatten(generator_images)
        return float((generated - decoded).norm(dim=1).mean() / torch.pdist(decoded).mean().clamp_min(1e-6))

    @torch.no_grad()
    def preview_grid(self, generator: Generator, val_images: Tensor) -> Tensor:
        """Return rows of 8 images: the decoder's above the generator's, with the encoded images above both.

        Args:
            generator: the generator as it is now.
            val_images: uint8 [M, C, S, S], as given to `from_decoder`.

        Returns:
            uint8 [C, H, W].
        """
        generator_images = to_uint8(generator(self.latents, self.class_weights))
        rows = []
        for start in range(0, len(self.latents), IMAGES_PER_ROW):
            if start == NUM_SAMPLED:
                rows.append(val_images[:IMAGES_PER_ROW])
            columns = slice(start, start + IMAGES_PER_ROW)
            rows += [self.decoder_images[columns], generator_images[columns]]
        return make_grid(torch.cat([row.cpu() for row in rows]), columns=IMAGES_PER_ROW)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors: a resumed run does not need the VAE.

        Returns:
            the tensors by name; those of an unconditional model have no class weights.
        """
        tensors = {"latents": self.latents, "decoder_images": self.decoder_images}
        return tensors | ({"class_weights": self.class_weights} if self.class_weights.shape[1] else {})

    @classmethod
    def from_state_dict(
        cls, tensors: Mapping[str, Tensor], model_config: ModelConfig, device: torch.device
    ) -> DecoderDrift | None:
        """Restore what `state_dict` returned.

        Args:
            tensors: tensors by name; empty for a run from scratch.
            model_config: sizes of the model.
            device: where to keep them.

        Returns:
            latents and images; None for a run from scratch.

        Raises:
            VaeganError: a tensor is missing or of the wrong shape.
        """
        if not tensors:
            return None
        latents, images = (tensors.get(name, torch.empty(0)) for name in ("latents", "decoder_images"))
        count = len(latents)
        class_weights = tensors.get("class_weights", torch.zeros(count, 0))
        image_shape = (model_config.channels, model_config.size, model_config.size)
        if (
            count not in (NUM_SAMPLED, NUM_SAMPLED + IMAGES_PER_ROW)
            or latents.shape != (count, model_config.latent_dim)
            or class_weights.shape != (count, model_config.num_classes)
            or images.shape != (count, *image_shape)
            or images.dtype != torch.uint8
        ):
            raise VaeganError("the checkpoint's drift reference does not hold the images of the VAE's decoder")
        return cls(*(tensor.to(device, copy=True) for tensor in (latents, images, class_weights)))


def _downsample_and_flatten(images: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C * 16 * 16]."""
    return F.adaptive_avg_pool2d(to_float(images), COARSE_SIZE).flatten(1)
