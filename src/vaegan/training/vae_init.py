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
from vaegan.utils.images import grid, to_float, to_uint8

ROW = 8
DRAWN = 2 * ROW
COARSE = 16
"""Side in pixels of the small pictures whose distance is taken: a face that only became sharper has not moved."""


def _coarse(pictures: Tensor) -> Tensor:
    """uint8 [N, C, S, S] -> float [N, C * 16 * 16]."""
    return F.adaptive_avg_pool2d(to_float(pictures), COARSE).flatten(1)


@dataclass(frozen=True)
class Drift:
    """Latents float [N, d] and the decoder's pictures of them, uint8 [N, C, S, S], kept for as long as the run lasts.

    The first 16 latents are those of seeds 0 to 15; the other 8, where there are that many, are encoded held-out faces.
    """

    latents: Tensor
    pictures: Tensor

    @classmethod
    @torch.no_grad()
    def begin(cls, decoder: Generator, encoder: Encoder, prior: Prior, held_out: Tensor) -> Drift:
        """Draw with the decoder as it is; held_out: uint8 [M, C, S, S], may be empty."""
        place = next(decoder.parameters()).device
        latents = [prior.of(range(DRAWN)).to(place)]
        if len(held_out) >= ROW:
            latents.append(encoder(to_float(held_out[:ROW])).mean)
        every = torch.cat(latents)
        return cls(every, to_uint8(decoder(every)))

    @torch.no_grad()
    def distance(self, generator: Generator) -> float:
        """How far the generator's pictures of the drawn latents are from the decoder's: 0 where they are the same.

        The mean distance of the two pictures of a latent, divided by that of the decoder's pictures of two latents:
        1 where a latent's face has become any other. Root mean squared differences at 16x16 pixels.
        """
        was, now = _coarse(self.pictures[:DRAWN]), _coarse(to_uint8(generator(self.latents[:DRAWN])))
        return float((now - was).norm(dim=1).mean() / torch.pdist(was).mean().clamp_min(1e-6))

    @torch.no_grad()
    def sheet(self, generator: Generator, held_out: Tensor) -> Tensor:
        """Rows of 8, uint8 [C, H, W]: the decoder's pictures above the generator's, twice; faces above both of theirs.

        held_out: uint8 [M, C, S, S], the faces that were encoded.
        """
        now = to_uint8(generator(self.latents))
        rows = []
        for start in range(0, len(self.latents), ROW):
            if start == DRAWN:
                rows.append(held_out[:ROW])
            rows += [self.pictures[start : start + ROW], now[start : start + ROW]]
        return grid(torch.cat([row.cpu() for row in rows]), columns=ROW)

    def stateful(self) -> dict[str, Tensor]:
        """Both tensors, so that a resumed run needs no VAE."""
        return {"latents": self.latents, "pictures": self.pictures}

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor], config: ModelConfig, device: torch.device) -> Drift | None:
        """Put back what `stateful` gave; None for a run from scratch, or an older version's.

        Raises VaeganError where the tensors are no such pictures.
        """
        if not tensors:
            return None
        latents, pictures = (tensors.get(name, torch.empty(0)) for name in ("latents", "pictures"))
        count, side = len(latents), config.size
        fits = latents.shape == (count, config.latent_dim) and pictures.shape == (count, config.channels, side, side)
        if count not in (DRAWN, DRAWN + ROW) or not fits or pictures.dtype != torch.uint8:
            raise VaeganError("what is kept of the VAE's decoder is no set of its pictures")
        return cls(latents.to(device, copy=True), pictures.to(device, copy=True))
