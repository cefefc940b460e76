"""From a picture to the latent that decodes closest to it, by gradient descent through the decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaegan.events import EventHandler, TaskProgress
from vaegan.inference.model import INFERENCE_BATCH_SIZE, Model
from vaegan.losses.vae import squared_error
from vaegan.metrics.image_quality import psnr
from vaegan.utils.images import to_float

INVERSION_LR = 0.1
UNIFORM_PRIOR_BOUND = math.sqrt(3)


def decode_psnr(model: Model, images: Tensor, latents: Tensor) -> Tensor:
    """PSNR in dB, float [N], of what the latents [N, d] decode to beside the pictures, uint8 [N, C, S, S]."""
    return psnr(to_float(images), to_float(model.decode(latents)))


def invert(model: Model, images: Tensor, initial_latents: Tensor, steps: int, emit: EventHandler) -> Tensor:
    """Latents [N, d] of pictures, uint8 [N, C, S, S], from `start` [N, d] on by `steps` steps of Adam.

    What is maximised is log p(x|z) + log p(z), with the likelihood `squared` and a standard normal prior: without
    the latter a latent leaves the region that the decoder knows, and no walk can start there. A latent that got no
    closer to its picture, in PSNR, stays what it was. Zhu et al. 2016 (arXiv 1609.03552, section 3).
    """
    found = []
    parts = list(
        zip(torch.split(images, INFERENCE_BATCH_SIZE), torch.split(initial_latents, INFERENCE_BATCH_SIZE), strict=True)
    )
    for place, (part, latents) in enumerate(parts):
        moved = _optimize_latents(model, part, latents, steps, place, len(parts), emit)
        closer = decode_psnr(model, part, moved) > decode_psnr(model, part, latents)
        found.append(torch.where(closer[:, None], moved, latents))
    return torch.cat(found)


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _optimize_latents(
    model: Model,
    images: Tensor,
    initial_latents: Tensor,
    steps: int,
    chunk_index: int,
    num_chunks: int,
    emit: EventHandler,
) -> Tensor:
    target = to_float(images).to(model.device)
    latents = initial_latents.to(model.device).clone().requires_grad_()
    best, least = latents.detach().clone(), torch.full((len(initial_latents),), math.inf, device=model.device)
    uniform = model.info.config.prior == "uniform"
    optimizer = torch.optim.Adam([latents], lr=INVERSION_LR)
    for step in range(steps + 1):
        decoded = model.decoder(latents)
        cost = squared_error(target, decoded) + (0.0 if uniform else 0.5 * latents.square().sum(1))
        lower = cost.detach() < least
        best = torch.where(lower[:, None], latents.detach(), best)
        least = torch.where(lower, cost.detach(), least)
        error = float(psnr(target, decoded.detach()).mean())
        emit(
            TaskProgress(
                "Optimizing",
                chunk_index * (steps + 1) + step + 1,
                num_chunks * (steps + 1),
                "steps",
                0,
                f"{error:.1f} dB",
            )
        )
        if step == steps:
            break
        (latents.grad,) = torch.autograd.grad(cost.sum(), [latents])
        optimizer.param_groups[0]["lr"] = INVERSION_LR * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
        if uniform:  # the prior is flat inside of a cube and nothing outside
            latents.data.clamp_(-UNIFORM_PRIOR_BOUND, UNIFORM_PRIOR_BOUND)
    return best.cpu()
