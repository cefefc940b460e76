"""A published model in use: sampling, encoding, decoding, and walking through its latent space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import Weights, adopt, opened, read_weights
from vaegan.errors import UsageError, VaeganError
from vaegan.models.interpolation import default_path, walk
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder
from vaegan.utils.device import choose_device
from vaegan.utils.images import to_float, to_uint8

BATCH = 64


class Model:
    """A decoder (the GAN's generator), with its encoder where the file holds one.

    Pictures are uint8 [N, C, S, S] in 0..255, latents float32 [N, d]; both on the CPU, whatever the device.
    """

    def __init__(
        self, weights: Weights, decoder: Decoder, encoder: Encoder | None, prior: Prior, device: torch.device
    ) -> None:
        """Hold what `load` read; the prior on the CPU."""
        self.weights, self.decoder, self.encoder, self.prior, self.device = weights, decoder, encoder, prior, device

    @property
    def latent_dim(self) -> int:
        """Length of a latent."""
        return self.weights.config.latent_dim

    def latents(self, seeds: Sequence[int], truncation: float = 1.0) -> Tensor:
        """Latents of seeds, float32 [len(seeds), d], scaled by `truncation` towards the average face at 0."""
        return self.prior.of(seeds) * truncation

    def decode(self, latents: Tensor) -> Tensor:
        """Latents float [N, d] -> pictures. Raises UsageError for another d."""
        if latents.dim() != 2 or latents.shape[1] != self.latent_dim:
            raise UsageError(f"latents of shape {list(latents.shape)}: expected [N, {self.latent_dim}]")
        parts = [self._decode(part) for part in torch.split(latents, BATCH)]
        config = self.weights.config
        return (
            torch.cat(parts) if parts else torch.empty(0, config.channels, config.size, config.size, dtype=torch.uint8)
        )

    @torch.no_grad()
    def _decode(self, part: Tensor) -> Tensor:
        # always BATCH rows: kernels may round differently for other counts, and a seed is one picture at any -n
        full = torch.zeros(BATCH, self.latent_dim)
        full[: len(part)] = part
        pictures: Tensor = self.decoder(full.to(self.device))[: len(part)]
        return to_uint8(pictures).cpu().contiguous()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures -> posterior means. Raises VaeganError where there is no encoder or the pictures do not fit."""
        encoder = self._encoder()
        self._fits(pictures)
        parts = [encoder(to_float(part).to(self.device)).mean.cpu() for part in torch.split(pictures, BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self.latent_dim)

    def _encoder(self) -> Encoder:
        if self.encoder is None:
            raise VaeganError(f"{self.weights.path} holds no encoder: it is a GAN that was trained from scratch")
        return self.encoder

    def _fits(self, pictures: Tensor) -> None:
        config = self.weights.config
        if pictures.dtype != torch.uint8 or pictures.shape[1:] != (config.channels, config.size, config.size):
            raise VaeganError(
                f"pictures of shape {list(pictures.shape)} and type {pictures.dtype}: expected uint8"
                f" [N, {config.channels}, {config.size}, {config.size}]"
            )

    @torch.no_grad()
    def reconstruct(self, pictures: Tensor, seed: int | None = None) -> Tensor:
        """Pictures -> decoded again: from the posteriors' means, or with a seed from one sample of each posterior.

        Raises as `encode` does.
        """
        self._fits(pictures)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        latents = []
        for part in torch.split(pictures, BATCH):
            posterior = self._encoder()(to_float(part).to(self.device))
            if generator is None:
                latents.append(posterior.mean.cpu())
            else:
                noise = torch.randn(len(part), self.latent_dim, generator=generator)
                latents.append(posterior.sample(noise.to(self.device)).cpu())
        return self.decode(torch.cat(latents) if latents else torch.empty(0, self.latent_dim))

    def batches(self, seeds: Sequence[int], truncation: float = 1.0) -> Iterator[Tensor]:
        """Pictures of seeds, a batch at a time: memory does not grow with their number."""
        for start in range(0, len(seeds), BATCH):
            yield self.decode(self.latents(seeds[start : start + BATCH], truncation))

    def sample(self, n: int = 64, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """Return `n` pictures, of seeds seed, seed + 1, ...; a seed's picture never depends on the others."""
        return torch.cat(list(self.batches(range(seed, seed + n), truncation)))

    def interpolate(
        self,
        seeds: Sequence[int],
        frames: int = 32,
        path: str | None = None,
        truncation: float = 1.0,
        easing: str = "linear",
        loop: bool = False,
    ) -> Tensor:
        """Pictures on the path from seed to seed, `frames` for each leg, ends included; see `models.latents.walk`.

        path: "slerp" or "lerp", by itself what suits the prior.
        """
        path = path or default_path(self.weights.config.prior)
        return self.decode(walk(self.latents(seeds, truncation), frames, path, easing, loop))


def load(path: Path | str, device: str = "auto") -> Model:
    """Open a run, a checkpoint or a weights file. Raises VaeganError when it is missing, damaged or not ours."""
    weights = read_weights(Path(path))
    place = choose_device(device)
    with opened(weights.path) as file:
        has_encoder = any(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118
    with torch.device("meta"):
        parts = torch.nn.ModuleDict({"decoder": Decoder(weights.config), "prior": Prior(weights.config)})
        if has_encoder:
            parts["encoder"] = Encoder(weights.config)
    adopt(parts, weights.path)
    parts.to(place).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    encoder, decoder, prior = parts["encoder"] if has_encoder else None, parts["decoder"], parts["prior"].cpu()
    assert isinstance(decoder, Decoder) and isinstance(prior, Prior) and isinstance(encoder, Encoder | None)
    return Model(weights, decoder, encoder, prior, place)
