"""The forgetting gauge: what a generator draws now, beside what the VAE's decoder that it started as drew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.discriminator import Generator
from vaegan.models.prior import Prior
from vaegan.models.vae import Encoder
from vaegan.utils.images import make_grid, to_float, to_uint8

IMAGES_PER_ROW = 8
NUM_SAMPLED = 2 * IMAGES_PER_ROW
COARSE_SIZE = 16
"""Side in pixels of the small pictures whose distance is taken: a face that only became sharper has not moved."""


def _downsample_and_flatten(images: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C * 16 * 16]."""
    return F.adaptive_avg_pool2d(to_float(images), COARSE_SIZE).flatten(1)


@dataclass(frozen=True)
class DecoderDrift:
    """Latents float [N, d] and the decoder's pictures of them, uint8 [N, C, S, S], kept for as long as the run lasts.

    The first 16 latents are those of seeds 0 to 15; the other 8, where there are that many, are encoded held-out faces.
    """

    latents: Tensor
    decoder_images: Tensor

    @classmethod
    @torch.no_grad()
    def from_decoder(cls, decoder: Generator, encoder: Encoder, prior: Prior, val_images: Tensor) -> DecoderDrift:
        """Draw with the decoder as it is; held_out: uint8 [M, C, S, S], may be empty."""
        place = next(decoder.parameters()).device
        latents = [prior.sample_seeds(range(NUM_SAMPLED)).to(place)]
        if len(val_images) >= IMAGES_PER_ROW:
            latents.append(encoder(to_float(val_images[:IMAGES_PER_ROW])).mean)
        every = torch.cat(latents)
        return cls(every, to_uint8(decoder(every)))

    @torch.no_grad()
    def distance(self, generator: Generator) -> float:
        """How far the generator's pictures of the drawn latents are from the decoder's: 0 where they are the same.

        The mean distance of the two pictures of a latent, divided by that of the decoder's pictures of two latents:
        1 where a latent's face has become any other. Root mean squared differences at 16x16 pixels.
        """
        was, now = (
            _downsample_and_flatten(self.decoder_images[:NUM_SAMPLED]),
            _downsample_and_flatten(to_uint8(generator(self.latents[:NUM_SAMPLED]))),
        )
        return float((now - was).norm(dim=1).mean() / torch.pdist(was).mean().clamp_min(1e-6))

    @torch.no_grad()
    def preview_grid(self, generator: Generator, val_images: Tensor) -> Tensor:
        """Rows of 8, uint8 [C, H, W]: the decoder's pictures above the generator's, twice; faces above both of theirs.

        held_out: uint8 [M, C, S, S], the faces that were encoded.
        """
        now = to_uint8(generator(self.latents))
        rows = []
        for start in range(0, len(self.latents), IMAGES_PER_ROW):
            if start == NUM_SAMPLED:
                rows.append(val_images[:IMAGES_PER_ROW])
            rows += [self.decoder_images[start : start + IMAGES_PER_ROW], now[start : start + IMAGES_PER_ROW]]
        return make_grid(torch.cat([row.cpu() for row in rows]), columns=IMAGES_PER_ROW)

    def state_dict(self) -> dict[str, Tensor]:
        """Both tensors, so that a resumed run needs no VAE."""
        return {"latents": self.latents, "pictures": self.decoder_images}

    @classmethod
    def from_state_dict(
        cls, tensors: Mapping[str, Tensor], model_config: ModelConfig, device: torch.device
    ) -> DecoderDrift | None:
        """Put back what `stateful` gave; None for a run from scratch, or an older version's.

        Raises VaeganError where the tensors are no such pictures.
        """
        if not tensors:
            return None
        latents, pictures = (tensors.get(name, torch.empty(0)) for name in ("latents", "pictures"))
        count, side = len(latents), model_config.size
        fits = latents.shape == (count, model_config.latent_dim) and pictures.shape == (
            count,
            model_config.channels,
            side,
            side,
        )
        if count not in (NUM_SAMPLED, NUM_SAMPLED + IMAGES_PER_ROW) or not fits or pictures.dtype != torch.uint8:
            raise VaeganError("what is kept of the VAE's decoder is no set of its pictures")
        return cls(latents.to(device, copy=True), pictures.to(device, copy=True))
