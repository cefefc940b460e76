"""A published model in use: sampling, encoding, decoding, and walking through its latent space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, load_into_meta_model, open_safetensors, read_weights_info
from vaegan.errors import UsageError, VaeganError
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder
from vaegan.utils.device import choose_device
from vaegan.utils.images import to_float, to_uint8

INFERENCE_BATCH_SIZE = 64


class Model:
    """A decoder (the GAN's generator), with its encoder where the file holds one.

    Pictures are uint8 [N, C, S, S] in 0..255, latents float32 [N, d]; both on the CPU, whatever the device.
    """

    def __init__(
        self, info: WeightsInfo, decoder: Decoder, encoder: Encoder | None, prior: Prior, device: torch.device
    ) -> None:
        """Hold what `load` read; the prior on the CPU."""
        self.info, self.decoder, self.encoder, self.prior, self.device = info, decoder, encoder, prior, device

    @property
    def latent_dim(self) -> int:
        """Length of a latent."""
        return self.info.config.latent_dim

    def latents_from_seeds(self, seeds: Sequence[int], truncation: float = 1.0) -> Tensor:
        """Latents of seeds, float32 [len(seeds), d], scaled by `truncation` towards the average face at 0."""
        return self.prior.sample_seeds(seeds) * truncation

    def decode(self, latents: Tensor) -> Tensor:
        """Latents float [N, d] -> pictures. Raises UsageError for another d."""
        if latents.dim() != 2 or latents.shape[1] != self.latent_dim:
            raise UsageError(f"latents of shape {list(latents.shape)}: expected [N, {self.latent_dim}]")
        parts = [self._decode_batch(part) for part in torch.split(latents, INFERENCE_BATCH_SIZE)]
        config = self.info.config
        return (
            torch.cat(parts) if parts else torch.empty(0, config.channels, config.size, config.size, dtype=torch.uint8)
        )

    @torch.no_grad()
    def _decode_batch(self, latents: Tensor) -> Tensor:
        # always BATCH rows: kernels may round differently for other counts, and a seed is one picture at any -n
        full = torch.zeros(INFERENCE_BATCH_SIZE, self.latent_dim)
        full[: len(latents)] = latents
        pictures: Tensor = self.decoder(full.to(self.device))[: len(latents)]
        return to_uint8(pictures).cpu().contiguous()

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Pictures -> posterior means. Raises VaeganError where there is no encoder or the pictures do not fit."""
        encoder = self._require_encoder()
        self._check_images(images)
        parts = [
            encoder(to_float(part).to(self.device)).mean.cpu() for part in torch.split(images, INFERENCE_BATCH_SIZE)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.latent_dim)

    def _require_encoder(self) -> Encoder:
        if self.encoder is None:
            raise VaeganError(f"{self.info.path} holds no encoder: it is a GAN that was trained from scratch")
        return self.encoder

    def _check_images(self, images: Tensor) -> None:
        config = self.info.config
        if images.dtype != torch.uint8 or images.shape[1:] != (config.channels, config.size, config.size):
            raise VaeganError(
                f"pictures of shape {list(images.shape)} and type {images.dtype}: expected uint8"
                f" [N, {config.channels}, {config.size}, {config.size}]"
            )

    @torch.no_grad()
    def reconstruct(self, images: Tensor, seed: int | None = None) -> Tensor:
        """Pictures -> decoded again: from the posteriors' means, or with a seed from one sample of each posterior.

        Raises as `encode` does.
        """
        self._check_images(images)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        latents = []
        for part in torch.split(images, INFERENCE_BATCH_SIZE):
            posterior = self._require_encoder()(to_float(part).to(self.device))
            if generator is None:
                latents.append(posterior.mean.cpu())
            else:
                noise = torch.randn(len(part), self.latent_dim, generator=generator)
                latents.append(posterior.sample(noise.to(self.device)).cpu())
        return self.decode(torch.cat(latents) if latents else torch.empty(0, self.latent_dim))

    def sample_batches(self, seeds: Sequence[int], truncation: float = 1.0) -> Iterator[Tensor]:
        """Pictures of seeds, a batch at a time: memory does not grow with their number."""
        for start in range(0, len(seeds), INFERENCE_BATCH_SIZE):
            yield self.decode(self.latents_from_seeds(seeds[start : start + INFERENCE_BATCH_SIZE], truncation))

    def sample(self, n: int = 64, seed: int = 0, truncation: float = 1.0) -> Tensor:
        """Return `n` pictures, of seeds seed, seed + 1, ...; a seed's picture never depends on the others."""
        return torch.cat(list(self.sample_batches(range(seed, seed + n), truncation)))

    def interpolate(
        self,
        seeds: Sequence[int],
        frames: int = 32,
        method: str | None = None,
        truncation: float = 1.0,
        easing: str = "linear",
        loop: bool = False,
    ) -> Tensor:
        """Pictures on the path from seed to seed, `frames` for each leg, ends included; see `models.latents.walk`.

        path: "slerp" or "lerp", by itself what suits the prior.
        """
        method = method or default_method(self.info.config.prior)
        return self.decode(interpolate_path(self.latents_from_seeds(seeds, truncation), frames, method, easing, loop))


def load(path: Path | str, device: str = "auto") -> Model:
    """Open a run, a checkpoint or a weights file. Raises VaeganError when it is missing, damaged or not ours."""
    weights = read_weights_info(Path(path))
    place = choose_device(device)
    with open_safetensors(weights.path) as file:
        has_encoder = any(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118
    with torch.device("meta"):
        parts = torch.nn.ModuleDict({"decoder": Decoder(weights.config), "prior": Prior(weights.config)})
        if has_encoder:
            parts["encoder"] = Encoder(weights.config)
    load_into_meta_model(parts, weights.path)
    parts.to(place).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    encoder, decoder, prior = parts["encoder"] if has_encoder else None, parts["decoder"], parts["prior"].cpu()
    assert isinstance(decoder, Decoder) and isinstance(prior, Prior) and isinstance(encoder, Encoder | None)
    return Model(weights, decoder, encoder, prior, place)
