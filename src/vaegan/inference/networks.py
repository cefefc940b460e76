"""The networks of a weights file, and how they compute in batches."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, load_into_meta_model, open_safetensors
from vaegan.models.prior import Prior
from vaegan.models.vae import Decoder, Encoder
from vaegan.utils.images import to_float, to_uint8

INFERENCE_BATCH_SIZE = 64


def load_networks(info: WeightsInfo, device: torch.device) -> tuple[Decoder, Encoder | None, Prior]:
    """Load the networks of a weights file.

    Args:
        info: description of the file.
        device: of decoder and encoder. The prior stays on the CPU.

    Returns:
        decoder, encoder (None for a GAN that was trained from scratch) and prior, in evaluation mode.

    Raises:
        VaeganError: if the file is damaged.
    """
    with open_safetensors(info.path) as file:
        has_encoder = any(name.startswith("encoder.") for name in file.keys())  # noqa: SIM118
    # Built without memory first: the metadata may claim a model that the file does not hold.
    with torch.device("meta"):
        networks = torch.nn.ModuleDict({"decoder": Decoder(info.config), "prior": Prior(info.config)})
        if has_encoder:
            networks["encoder"] = Encoder(info.config)
    load_into_meta_model(networks, info.path)
    networks.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    decoder, prior = networks["decoder"], networks["prior"].cpu()
    encoder = networks["encoder"] if has_encoder else None
    assert isinstance(decoder, Decoder) and isinstance(prior, Prior) and isinstance(encoder, Encoder | None)
    return decoder, encoder, prior


@torch.no_grad()
def decode_in_batches(decoder: Decoder, latents: Tensor, class_weights: Tensor, device: torch.device) -> Tensor:
    """Decode latents. A latent gives the same image however many are decoded together.

    Args:
        decoder: the decoder.
        latents: float [N, d], N at least 1.
        class_weights: float [N, num_classes].
        device: of the decoder.

    Returns:
        uint8 [N, C, S, S], on the CPU.
    """
    images = []
    for start in range(0, len(latents), INFERENCE_BATCH_SIZE):
        rows = slice(start, start + INFERENCE_BATCH_SIZE)
        # Kernels may round differently for other batch sizes, so every batch is full.
        batch, weights = (pad_batch(values[rows]).to(device) for values in (latents, class_weights))
        decoded: Tensor = decoder(batch, weights)[: len(latents[rows])]
        images.append(to_uint8(decoded).cpu().contiguous())
    return torch.cat(images)


def pad_batch(rows: Tensor) -> Tensor:
    """Append rows of zeros to a batch until it is full.

    Kernels may round differently for other batch sizes.

    Args:
        rows: float [N, d], N at most INFERENCE_BATCH_SIZE.

    Returns:
        float32 [INFERENCE_BATCH_SIZE, d].
    """
    batch = torch.zeros(INFERENCE_BATCH_SIZE, rows.shape[1])
    batch[: len(rows)] = rows
    return batch


@torch.no_grad()
def encode_in_batches(encoder: Encoder, images: Tensor, seed: int | None, device: torch.device) -> Tensor:
    """Encode images to the means of their posteriors, or to a sample of each.

    Args:
        encoder: the encoder.
        images: uint8 [N, C, S, S], N at least 1.
        seed: of the samples; None for the means.
        device: of the encoder.

    Returns:
        float32 [N, d], on the CPU.
    """
    generator, latents = None if seed is None else torch.Generator().manual_seed(seed), []
    for batch in torch.split(images, INFERENCE_BATCH_SIZE):
        posterior = encoder(to_float(batch).to(device))
        if generator is None:
            latents.append(posterior.mean.cpu())
        else:
            noise = torch.randn(posterior.mean.shape, generator=generator)
            latents.append(posterior.sample(noise.to(device)).cpu())
    return torch.cat(latents)


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
