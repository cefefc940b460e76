"""Load a trained model and sample, encode, decode and interpolate with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, load_into_meta_model, open_safetensors, read_weights_info
from vaegan.errors import UsageError, VaeganError
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder
from vaegan.utils.device import choose_device
from vaegan.utils.images import to_float, to_uint8

if TYPE_CHECKING:
    from vaegan.inference.attributes import AttributeSet

INFERENCE_BATCH_SIZE = 64


class Model:
    """A VAE, or a GAN's generator, which is a decoder too; it may come with the encoder of its VAE.

    Images are uint8 [N, C, S, S], latents float32 [N, d]. Both are on the CPU, whatever the model's device.

    The networks are on `device`. The prior is on the CPU, so that a seed gives the same latent on every machine. The
    encoder is None for a GAN that was trained from scratch.
    """

    def __init__(
        self, info: WeightsInfo, decoder: Decoder, encoder: Encoder | None, prior: Prior, device: torch.device
    ) -> None:
        self.info, self.decoder, self.encoder, self.prior, self.device = info, decoder, encoder, prior, device

    @property
    def latent_dim(self) -> int:
        """Number of latents d."""
        return self.info.config.latent_dim

    def latents_from_seeds(self, seeds: Sequence[int], truncation: float = 1.0) -> Tensor:
        """Sample one latent per seed from the prior.

        Args:
            seeds: whole numbers from 0.
            truncation: a value below 1 moves each latent towards the mean of its own component of a mixture prior,
                which decodes to a typical face of its kind, or towards the mean of another prior.

        Returns:
            float32 [len(seeds), d].
        """
        return self.prior.sample_seeds(seeds, truncation)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to images.

        Args:
            latents: float [N, d].

        Returns:
            uint8 [N, C, S, S].

        Raises:
            UsageError: if the latents have another shape.
        """
        if latents.dim() != 2 or latents.shape[1] != self.latent_dim:
            raise UsageError(f"latents of shape {list(latents.shape)}: expected [N, {self.latent_dim}]")
        if not len(latents):
            config = self.info.config
            return torch.empty(0, config.channels, config.size, config.size, dtype=torch.uint8)
        return torch.cat([self._decode_batch(batch) for batch in torch.split(latents, INFERENCE_BATCH_SIZE)])

    @torch.no_grad()
    def _decode_batch(self, latents: Tensor) -> Tensor:
        # Kernels may round differently for other batch sizes. A full batch, padded with zeros, gives a latent the same
        # image however many are decoded together.
        batch = torch.zeros(INFERENCE_BATCH_SIZE, self.latent_dim)
        batch[: len(latents)] = latents
        images: Tensor = self.decoder(batch.to(self.device))[: len(latents)]
        return to_uint8(images).cpu().contiguous()

    @torch.no_grad()
    def encode(self, images: Tensor, seed: int | None = None) -> Tensor:
        """Encode images to the means of their posteriors, or with a seed to a sample of each.

        Args:
            images: uint8 [N, C, S, S].
            seed: seed of the samples; None takes the means.

        Returns:
            float32 [N, d].

        Raises:
            VaeganError: if the model has no encoder, or the images have another shape or type than the model's.
        """
        config = self.info.config
        if self.encoder is None:
            raise VaeganError(f"{self.info.path} holds no encoder: it is a GAN that was trained from scratch")
        if images.dtype != torch.uint8 or images.shape[1:] != (config.channels, config.size, config.size):
            raise VaeganError(
                f"images of shape {list(images.shape)} and type {images.dtype}: expected uint8"
                f" [N, {config.channels}, {config.size}, {config.size}]"
            )
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        latents = [torch.empty(0, self.latent_dim)]
        for batch in torch.split(images, INFERENCE_BATCH_SIZE) if len(images) else ():
            posterior = self.encoder(to_float(batch).to(self.device))
            if generator is None:
                latents.append(posterior.mean.cpu())
            else:
                noise = torch.randn(len(batch), self.latent_dim, generator=generator)
                latents.append(posterior.sample(noise.to(self.device)).cpu())
        return torch.cat(latents)

    def reconstruct(self, images: Tensor, seed: int | None = None) -> Tensor:
        """Encode and decode images.

        Args:
            images: uint8 [N, C, S, S].
            seed: as in `encode`.

        Returns:
            uint8 [N, C, S, S].

        Raises:
            VaeganError: if the model has no encoder, or the images have another shape or type than the model's.
        """
        return self.decode(self.encode(images, seed))

    def sample_batches(self, seeds: Sequence[int], truncation: float = 1.0) -> Iterator[Tensor]:
        """Sample images in batches, so that memory does not grow with their number.

        Args:
            seeds: one per image.
            truncation: as in `latents_from_seeds`.

        Yields:
            uint8 [B, C, S, S], B at most INFERENCE_BATCH_SIZE.
        """
        for start in range(0, len(seeds), INFERENCE_BATCH_SIZE):
            yield self.decode(self.latents_from_seeds(seeds[start : start + INFERENCE_BATCH_SIZE], truncation))

    def sample(
        self,
        n: int = 64,
        seed: int = 0,
        truncation: float = 1.0,
        where: Mapping[str, str | bool | float] | None = None,
    ) -> Tensor:
        """Sample images. An image depends on its own seed only.

        Args:
            n: number of images, at least 1.
            seed: of the first image; the next ones have the seeds `seed` + 1, `seed` + 2, ...
            truncation: as in `latents_from_seeds`.
            where: attributes that the images shall have, such as {"glasses": True, "hair_color": "red"}; the seeds of
                other images are passed over.

        Returns:
            uint8 [n, C, S, S].

        Raises:
            UsageError: if there is no such attribute or value.
            VaeganError: if the model has no attributes, or too few seeds have them.
        """
        seeds: Sequence[int] = range(seed, seed + n)
        if where:
            from vaegan.inference.edit import parse_conditions, sample_where

            seeds = sample_where(self, parse_conditions(self.attributes, where), n, seed, truncation).seeds
        return torch.cat(list(self.sample_batches(seeds, truncation)))

    @cached_property
    def attributes(self) -> AttributeSet:
        """The attributes that `vaegan attributes` has learned. Raises VaeganError if there are none."""
        from vaegan.inference.attributes import attributes_path, load_attributes

        return load_attributes(attributes_path(self.info.path), self)

    def edit(
        self, images: Tensor, hold: Sequence[str] = (), strength: float = 1.0, **values: str | bool | float
    ) -> Tensor:
        """Reconstruct images with attributes changed, as in `model.edit(images, glasses=True)`.

        Args:
            images: uint8 [N, C, S, S].
            hold: names of attributes that shall not change, or ["all"].
            strength: factor on the change.
            **values: True, False, a value such as "red", or a change such as "+2"; see `vaegan.inference.edit`.

        Returns:
            uint8 [N, C, S, S].

        Raises:
            UsageError: if there is no such attribute or value.
            VaeganError: if the model has no encoder or no attributes.
        """
        from vaegan.inference.edit import edit_latents, parse_changes

        changes = parse_changes(self.attributes, values)
        return self.decode(edit_latents(self.attributes, self.encode(images), changes, hold, strength))

    def interpolate(
        self,
        seeds: Sequence[int],
        frames: int = 32,
        method: str | None = None,
        truncation: float = 1.0,
        easing: str = "linear",
        loop: bool = False,
    ) -> Tensor:
        """Decode a path through the latents of seeds.

        Args:
            seeds: two or more.
            frames: images from one seed to the next, both included.
            method: "slerp" or "lerp"; None takes the one that suits the prior.
            truncation: as in `latents_from_seeds`.
            easing: "linear" or "smooth".
            loop: return from the last seed to the first.

        Returns:
            uint8 [segments * (frames - 1) + 1, C, S, S].

        Raises:
            UsageError: if the method or the easing is unknown.
        """
        method = method or default_method(self.info.config.prior)
        return self.decode(interpolate_path(self.latents_from_seeds(seeds, truncation), frames, method, easing, loop))


def encoder_sha256(encoder: Encoder) -> str:
    """Return the SHA-256 of an encoder's weights.

    A VAE and the GANs that were initialized from it have it in common.

    Args:
        encoder: the encoder.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load(path: Path | str, device: str = "auto") -> Model:
    """Load a model from a run directory, a checkpoint directory or a .safetensors file.

    Args:
        path: run, checkpoint or weights file.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        the model, ready to use.

    Raises:
        VaeganError: if the file is missing, damaged or not a model of vaegan, or the device is not available.
    """
    info = read_weights_info(Path(path))
    torch_device = choose_device(device)
    with open_safetensors(info.path) as file:
        has_encoder = any(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118
    # Built without memory first: the metadata may claim a model that the file does not hold.
    with torch.device("meta"):
        networks = torch.nn.ModuleDict({"decoder": Decoder(info.config), "prior": Prior(info.config)})
        if has_encoder:
            networks["encoder"] = Encoder(info.config)
    load_into_meta_model(networks, info.path)
    networks.to(torch_device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    decoder, prior = networks["decoder"], networks["prior"].cpu()
    encoder = networks["encoder"] if has_encoder else None
    assert isinstance(decoder, Decoder) and isinstance(prior, Prior) and isinstance(encoder, Encoder | None)
    return Model(info, decoder, encoder, prior, torch_device)
