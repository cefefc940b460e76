"""What a GAN takes over from a VAE: the decoder's weights, one to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from vaegan.checkpoint import load_strict
from vaegan.models.discriminator import Generator
from vaegan.models.vae import VAE


@dataclass(frozen=True)
class DecoderTransfer:
    """What moved from VAE to generator: how many tensors and numbers, and the largest difference of pictures."""

    num_tensors: int
    num_values: int
    max_abs_difference: float


@torch.no_grad()
def init_generator_from_decoder(vae: VAE, generator: Generator) -> DecoderTransfer:
    """Copy the decoder's weights into the generator, tensor by tensor, and compare what both draw."""
    tensors = vae.decoder.state_dict()
    load_strict(generator, tensors, Path("the VAE's decoder"))
    device = next(generator.parameters()).device
    latents = vae.prior.sample_seeds(range(16))
    decoder = vae.decoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    difference = (decoder(latents.to(device)) - generator(latents.to(device))).abs().max()
    return DecoderTransfer(len(tensors), sum(tensor.numel() for tensor in tensors.values()), float(difference))
