"""From a picture to the latent that decodes closest to it, by gradient descent through the decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaegan.events import Counted, Emit
from vaegan.inference.model import BATCH, Model
from vaegan.losses.vae import squared
from vaegan.metrics.image_quality import psnr
from vaegan.utils.images import to_float

RATE = 0.1
UNIFORM_EDGE = math.sqrt(3)


def quality(model: Model, pictures: Tensor, latents: Tensor) -> Tensor:
    """PSNR in dB, float [N], of what the latents [N, d] decode to beside the pictures, uint8 [N, C, S, S]."""
    return psnr(to_float(pictures), to_float(model.decode(latents)))


def invert(model: Model, pictures: Tensor, start: Tensor, steps: int, emit: Emit) -> Tensor:
    """Latents [N, d] of pictures, uint8 [N, C, S, S], from `start` [N, d] on by `steps` steps of Adam.

    What is maximised is log p(x|z) + log p(z), with the likelihood `squared` and a standard normal prior: without
    the latter a latent leaves the region that the decoder knows, and no walk can start there. A latent that got no
    closer to its picture, in PSNR, stays what it was. Zhu et al. 2016 (arXiv 1609.03552, section 3).
    """
    found = []
    parts = list(zip(torch.split(pictures, BATCH), torch.split(start, BATCH), strict=True))
    for place, (part, latents) in enumerate(parts):
        moved = _descend(model, part, latents, steps, place, len(parts), emit)
        closer = quality(model, part, moved) > quality(model, part, latents)
        found.append(torch.where(closer[:, None], moved, latents))
    return torch.cat(found)


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _descend(model: Model, pictures: Tensor, start: Tensor, steps: int, part: int, parts: int, emit: Emit) -> Tensor:
    target = to_float(pictures).to(model.device)
    latents = start.to(model.device).clone().requires_grad_()
    best, least = latents.detach().clone(), torch.full((len(start),), math.inf, device=model.device)
    uniform = model.weights.config.prior == "uniform"
    optimizer = torch.optim.Adam([latents], lr=RATE)
    for step in range(steps + 1):
        decoded = model.decoder(latents)
        cost = squared(target, decoded) + (0.0 if uniform else 0.5 * latents.square().sum(1))
        lower = cost.detach() < least
        best = torch.where(lower[:, None], latents.detach(), best)
        least = torch.where(lower, cost.detach(), least)
        error = float(psnr(target, decoded.detach()).mean())
        emit(Counted("Optimizing", part * (steps + 1) + step + 1, parts * (steps + 1), "steps", 0, f"{error:.1f} dB"))
        if step == steps:
            break
        (latents.grad,) = torch.autograd.grad(cost.sum(), [latents])
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
        if uniform:  # the prior is flat inside of a cube and nothing outside
            latents.data.clamp_(-UNIFORM_EDGE, UNIFORM_EDGE)
    return best.cpu()
