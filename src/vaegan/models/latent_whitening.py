"""Fold the aggregated posterior into a VAE, so that N(0, I) is what its decoder was trained on.

The decoder never saw N(0, I): it saw q(z) = E_x q(z|x), of mean m and covariance C. With A A^T = C, latents
z' = A^-1 (z - m) have mean 0 and covariance I; A goes into the decoder's first layer and A^-1 into the encoder's
head, both linear, so every reconstruction stays what it was. A is unique up to a rotation, which is used to sort the
axes by how much the picture moves along them: the eigenvectors of E[J^T J], J the decoder's Jacobian in z'.

What has the moments of N(0, I) need not have its shape: where the folded latents lie in clusters, a mixture of normals
becomes the prior (`vaegan.models.prior`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaegan.models.prior import Prior, fit_mixture
from vaegan.models.vae import VAE
from vaegan.utils.images import to_float

AutocastFactory = Callable[[], AbstractContextManager[object]]
SAMPLES_PER_IMAGE = 2
"""Latents that each picture gives to the mixture: of its posterior, or of its and its mirror image's."""


@dataclass(frozen=True)
class Moments:
    """Of the aggregated posterior: mean float64 [d], covariance float64 [d, d]."""

    mean: Tensor
    covariance: Tensor


def aggregated_moments(means: Tensor, log_vars: Tensor) -> Moments:
    """Moments of q(z) from every picture's posterior, float [N, d] each: Cov(mean) + E[diag(sigma^2)]."""
    means, variances = means.double(), log_vars.double().exp()
    centre = means.mean(0)
    spread = (means - centre).T @ (means - centre) / len(means)
    return Moments(centre, spread + variances.mean(0).diag())


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _jacobian_gram(vae: VAE, latents: Tensor, generator: torch.Generator) -> Tensor:
    """E[J^T J] of the decoder in its own latents, float64 [d, d]: E[g g^T] with g = J^T v, v standard normal."""
    gram = torch.zeros(latents.shape[1], latents.shape[1], dtype=torch.float64)
    for part in torch.split(latents, 64):
        part = part.detach().requires_grad_()
        pictures = vae.decoder(part)
        probe = torch.randn(pictures.shape, generator=generator).to(pictures)
        (gradient,) = torch.autograd.grad((pictures * probe).sum(), part)
        gram += gradient.cpu().double().T @ gradient.cpu().double()
    return gram / len(latents)


def whiten_latents(
    vae: VAE, images: Iterable[Tensor], seed: int = 0, mirror: bool = False, autocast: AutocastFactory = nullcontext
) -> VAE:
    """Return a copy of `vae` whose aggregated posterior over `pictures` has mean 0 and covariance I.

    pictures: batches uint8 [B, C, S, S], in all some thousands from the training split; mirror: whether the VAE was
    taught with their mirror images too, which are then a part of what its decoder saw. Axis 0 moves the picture most.
    autocast: gives the context in which the pictures are encoded, as the VAE was trained. The copy's config says which
    prior describes its latents best.
    """
    folded = copy.deepcopy(vae).float().eval()
    place = next(folded.parameters()).device
    each_means, each_log_vars = _encode_posteriors(folded, images, mirror, autocast)
    means, log_vars = each_means.flatten(0, 1), each_log_vars.flatten(0, 1)
    moments = aggregated_moments(means, log_vars)
    values, vectors = torch.linalg.eigh(moments.covariance)
    scale = values.clamp_min(1e-8).sqrt()
    spread = vectors * scale  # A before the rotation
    generator = torch.Generator().manual_seed(seed)
    count = min(512, len(means))
    noise = torch.randn(count, means.shape[1], generator=generator)
    seen = (means[:count] + (0.5 * log_vars[:count]).exp() * noise).to(place)
    gram = spread.T @ _jacobian_gram(folded, seen, generator) @ spread
    rotation = torch.linalg.eigh(gram).eigenvectors.flip(1)
    rotation = rotation * rotation.sum(0).sign().where(rotation.sum(0) != 0, torch.ones(()).double())
    inverse = rotation.T @ (vectors / scale).T
    _apply_whitening(folded, spread @ rotation, inverse, moments.mean)
    noise = torch.randn(len(each_means), SAMPLES_PER_IMAGE, means.shape[1], generator=generator)
    drawn = (each_means + (0.5 * each_log_vars).exp() * noise).double() - moments.mean
    mixture = fit_mixture((drawn @ inverse.T).float(), seed)
    if mixture is None:
        folded.config = folded.config.with_normal_prior()
        folded.prior = Prior(folded.config)
    else:
        components, directions, _ = mixture.local_factors.shape
        folded.config = replace(folded.config, prior="mixture", num_components=components, local_rank=directions)
        folded.prior = Prior.from_mixture(folded.config, mixture).to(place)
    return folded


@torch.no_grad()
def _encode_posteriors(
    vae: VAE, images: Iterable[Tensor], mirror: bool, autocast: AutocastFactory
) -> tuple[Tensor, Tensor]:
    """Means and log-variances of every picture and, if wanted, of its mirror image: [N, 1 or 2, d] each, on the CPU."""
    means, log_vars = [], []
    place = next(vae.parameters()).device
    for part in images:
        real = to_float(part.to(place)).contiguous(memory_format=torch.channels_last)
        with autocast():
            found = [vae.encoder(view) for view in ((real, real.flip(3)) if mirror else (real,))]
        means.append(torch.stack([posterior.mean for posterior in found], 1).float())
        log_vars.append(torch.stack([posterior.log_var for posterior in found], 1).float())
    return torch.cat(means).cpu(), torch.cat(log_vars).cpu()


@torch.no_grad()
def _apply_whitening(vae: VAE, mixing_matrix: Tensor, whitening_matrix: Tensor, center: Tensor) -> None:
    """Put z = A z' + m into the decoder's first layer and z' = A^-1 (z - m) into the encoder's head."""
    first, head, mix = vae.decoder.proj_in, vae.encoder.mean_head, vae.encoder.cov_factor
    weight = first.weight.cpu().double()
    folded = {
        first.bias: first.bias.cpu().double() + weight @ center,
        first.weight: weight @ mixing_matrix,
        head.bias: whitening_matrix @ (head.bias.cpu().double() - center),
        head.weight: whitening_matrix @ head.weight.cpu().double(),
        mix: whitening_matrix @ mix.cpu().double(),
    }
    for part, value in folded.items():
        part.copy_(value.to(part.dtype))  # rounded here: not every device knows float64
