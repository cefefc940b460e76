"""GAN inversion: find the latents that decode closest to given images, by gradient descent."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaegan.events import EventHandler, Note, TaskProgress
from vaegan.inference.class_weights import ClassChoice
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE
from vaegan.losses.vae import squared_error
from vaegan.metrics.image_quality import psnr
from vaegan.utils.images import to_float

INVERSION_LR = 0.1
UNIFORM_PRIOR_BOUND = math.sqrt(3)  # the uniform prior has unit variance: each latent lies in [-sqrt(3), sqrt(3)]


def decode_psnr(model: Model, images: Tensor, latents: Tensor, class_: ClassChoice = None) -> Tensor:
    """Decode latents and compare them with images.

    Args:
        model: the model.
        images: uint8 [N, C, S, S].
        latents: float [N, d].
        class_: as in `Model.decode`.

    Returns:
        PSNR in dB, float [N].
    """
    return psnr(to_float(images), to_float(model.decode(latents, class_)))


def encode_or_center(model: Model, images: Tensor, invert_steps: int, emit: EventHandler) -> Tensor:
    """Return the latents of images from which an inversion starts.

    Args:
        model: the model. Without an encoder, the inversion starts from the average face, z = 0.
        images: uint8 [N, C, S, S].
        invert_steps: steps of the inversion; with 0 the model needs an encoder.
        emit: receives a note where there is no encoder.

    Returns:
        float32 [N, d].

    Raises:
        VaeganError: if the model has no encoder and `invert_steps` is 0.
    """
    if model.encoder is None and invert_steps:
        emit(Note(f"{model.info.path} holds no encoder: optimizing from the average face"))
        return torch.zeros(len(images), model.latent_dim)
    return model.encode(images)


def invert(model: Model, images: Tensor, initial_latents: Tensor, steps: int, emit: EventHandler) -> Tensor:
    """Optimize latents to decode to the given images (Zhu et al. 2016, arXiv 1609.03552, section 3).

    Adam maximizes log p(x|z) + log p(z) with a Gaussian likelihood and a standard normal prior. The prior keeps latents
    where the decoder was trained, so that paths between them show faces. A latent whose PSNR did not rise is returned
    unchanged.

    Args:
        model: the model.
        images: uint8 [N, C, S, S].
        initial_latents: where to start, float [N, d], the shape of the result.
        steps: number of Adam steps.
        emit: receives progress.

    Returns:
        latents, float [N, d].
    """
    image_batches = torch.split(images, INFERENCE_BATCH_SIZE)
    latent_batches = torch.split(initial_latents, INFERENCE_BATCH_SIZE)
    result = []
    for index, (batch, start) in enumerate(zip(image_batches, latent_batches, strict=True)):
        optimized = _optimize_latents(model, batch, start, steps, index, len(image_batches), emit)
        is_closer = decode_psnr(model, batch, optimized) > decode_psnr(model, batch, start)
        result.append(torch.where(is_closer[:, None], optimized, start))
    return torch.cat(result)


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _optimize_latents(
    model: Model,
    images: Tensor,
    initial_latents: Tensor,
    steps: int,
    batch_index: int,
    num_batches: int,
    emit: EventHandler,
) -> Tensor:
    target = to_float(images).to(model.device)
    latents = initial_latents.to(model.device).clone().requires_grad_()
    best_latents = latents.detach().clone()
    best_loss = torch.full((len(initial_latents),), math.inf, device=model.device)
    has_uniform_prior = model.info.config.prior == "uniform"
    optimizer = torch.optim.Adam([latents], lr=INVERSION_LR)
    # One evaluation more than there are steps, so that the last step's result counts as well.
    for step in range(steps + 1):
        decoded = model.decoder(latents)
        loss = squared_error(target, decoded) + (0.0 if has_uniform_prior else 0.5 * latents.square().sum(1))
        is_lower = loss.detach() < best_loss
        best_latents = torch.where(is_lower[:, None], latents.detach(), best_latents)
        best_loss = torch.where(is_lower, loss.detach(), best_loss)
        mean_psnr = float(psnr(target, decoded.detach()).mean())
        done, total = batch_index * (steps + 1) + step + 1, num_batches * (steps + 1)
        emit(TaskProgress("Optimizing", done, total, "steps", 0, f"{mean_psnr:.1f} dB"))
        if step == steps:
            break
        (latents.grad,) = torch.autograd.grad(loss.sum(), [latents])
        optimizer.param_groups[0]["lr"] = INVERSION_LR * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
        if has_uniform_prior:  # its density is constant inside the cube and zero outside
            latents.data.clamp_(-UNIFORM_PRIOR_BOUND, UNIFORM_PRIOR_BOUND)
    return best_latents.cpu()
