"""Latent whitening: change the latents of a trained VAE so that they have mean 0 and covariance I.

The decoder was not trained on N(0, I), but on the aggregated posterior q(z) = E_x q(z|x), of mean m and covariance C.
With A A^T = C, the latents z' = A^-1 (z - m) have mean 0 and covariance I. A is folded into the decoder's first layers
and A^-1 into the encoder's mean head and covariance factor. These are linear, so reconstructions do not change.

A is unique up to a rotation. It is chosen such that the latent axes are sorted by how much the image changes along
them: the eigenvectors of E[J^T J], where J is the decoder's Jacobian in z'.

Whitened latents need not be normally distributed. Where they form clusters, the prior becomes a Gaussian mixture
(`vaegan.models.prior`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.class_embedding import one_hot
from vaegan.models.class_prior import class_component_weights, class_mean_shifts, fit_class_normals
from vaegan.models.prior import GaussianMixture, Prior, fit_mixture
from vaegan.models.reference_latents import fit_leading_mixture
from vaegan.models.vae import VAE, Encoder, Posterior
from vaegan.utils.images import to_float

AutocastFactory = Callable[[], AbstractContextManager[object]]
SAMPLES_PER_IMAGE = 2  # for fitting the mixture; one of the image and one of its mirror image, if there is one
NUM_JACOBIAN_LATENTS = 512
MAX_VARIANCE = 1e12


@dataclass(frozen=True)
class Moments:
    """Mean float64 [d] and covariance float64 [d, d] of the aggregated posterior."""

    mean: Tensor
    covariance: Tensor


def aggregated_moments(means: Tensor, log_vars: Tensor) -> Moments:
    """Return the moments of the aggregated posterior q(z).

    The mean is that of the posterior means. The covariance is Cov(means) + E[diag(sigma^2)].

    Args:
        means: posterior means, float [N, d].
        log_vars: log variances, float [N, d].

    Returns:
        both moments in float64.
    """
    means, variances = means.double(), log_vars.double().exp()
    mean = means.mean(0)
    covariance_of_means = (means - mean).T @ (means - mean) / len(means)
    return Moments(mean, covariance_of_means + variances.mean(0).diag())


def whiten_latents(
    vae: VAE,
    images: Iterable[Tensor],
    seed: int = 0,
    mirror: bool = False,
    autocast: AutocastFactory = nullcontext,
    class_ids: Tensor | None = None,
) -> VAE:
    """Return a copy of `vae` whose aggregated posterior has mean 0 and covariance I.

    Args:
        vae: a trained VAE; it is not changed.
        images: Batches uint8 [B, C, S, S], some thousands of training images in all.
        seed: of the posterior samples that the mixture is fitted to.
        mirror: Whether the VAE was trained on mirror images as well.
        autocast: Returns the context in which images are encoded; the one that the VAE was trained in.
        class_ids: Number of each image's class, int64 [N], for a conditional VAE.

    Returns:
        The whitened VAE in float32. Its config and prior are those of the fitted mixture, or N(0, I). The prior of a
            conditional VAE is always a mixture.

    Raises:
        VaeganError: If the latents are not finite, or huge.
    """
    vae = copy.deepcopy(vae).float().eval()
    device = next(vae.parameters()).device
    generator = torch.Generator().manual_seed(seed)

    # Moments of the aggregated posterior. C = V diag(scale)^2 V^T gives A = V diag(scale), up to a rotation.
    image_means, image_log_vars = _encode_posteriors(vae, images, mirror, autocast)
    means, log_vars = image_means.flatten(0, 1), image_log_vars.flatten(0, 1)
    moments = aggregated_moments(means, log_vars)
    _require_moderate(moments.covariance)
    eigenvalues, eigenvectors = torch.linalg.eigh(moments.covariance)
    scale = eigenvalues.clamp_min(1e-8).sqrt()
    mixing_matrix = eigenvectors * scale

    # Rotation that sorts the axes by how much the image changes along them. The sign of an axis is arbitrary; it is
    # fixed by making the sum of its entries positive.
    noise = torch.randn(min(NUM_JACOBIAN_LATENTS, len(means)), means.shape[1], generator=generator)
    latents = means[: len(noise)] + (0.5 * log_vars[: len(noise)]).exp() * noise
    class_weights = None
    if class_ids is not None:
        class_weights = one_hot(class_ids, vae.config.num_classes).to(device)
        class_weights = class_weights.repeat_interleave(image_means.shape[1], 0)[: len(noise)]
    jacobian_gram = _jacobian_gram(vae, latents.to(device), class_weights, generator)
    gram = mixing_matrix.T @ jacobian_gram @ mixing_matrix
    _require_moderate(gram)
    image_changes, rotation = (part.flip(-1) for part in torch.linalg.eigh(gram))
    rotation = rotation * rotation.sum(0).sign().where(rotation.sum(0) != 0, torch.ones(()).double())

    # Fold A and its inverse into the linear layers around the latents.
    whitening_matrix = rotation.T @ (eigenvectors / scale).T
    _apply_whitening(vae, mixing_matrix @ rotation, whitening_matrix, moments.mean)

    # Prior: a mixture of the whitened posterior samples, where it describes them better than N(0, I).
    noise = torch.randn(len(image_means), SAMPLES_PER_IMAGE, means.shape[1], generator=generator)
    samples = (image_means + (0.5 * image_log_vars).exp() * noise).double() - moments.mean
    samples = (samples @ whitening_matrix.T).float()
    axis_scales = image_changes.clamp_min(0).sqrt().float()
    vae.config, vae.prior = _fit_prior(vae, samples, axis_scales, seed, class_ids)
    vae.prior.to(device)
    return vae


def _fit_prior(
    vae: VAE, samples: Tensor, axis_scales: Tensor, seed: int, class_ids: Tensor | None
) -> tuple[ModelConfig, Prior]:
    """Fit the prior to whitened posterior samples [N, draws, d]; return it with the config that states its sizes.

    axis_scales [d]: how much the image changes along each latent.
    """
    mixture, buffers = fit_mixture(samples, seed), dict[str, Tensor]()
    if mixture is None and class_ids is None:
        config = vae.config.with_normal_prior()
        return config, Prior(config)
    if mixture is not None and (fitted := fit_leading_mixture(samples, len(mixture.means), axis_scales, seed)):
        mixture = fitted.mixture
        buffers = {"references": fitted.references, "reference_offsets": fitted.reference_offsets}
        if fitted.group_axes is not None and fitted.group_offsets is not None:
            buffers |= {"group_axes": fitted.group_axes, "group_offsets": fitted.group_offsets}
        if class_ids is not None:
            buffers["reference_classes"] = class_ids[fitted.reference_rows]
    if class_ids is not None:
        num_classes = vae.config.num_classes
        buffers["class_frequencies"] = vae.prior.class_frequencies.cpu()
        if mixture is None:  # a normal for each class
            mixture = fit_class_normals(samples, class_ids, num_classes)
            buffers["class_component_weights"] = torch.eye(num_classes)
            buffers["class_shifts"] = torch.zeros_like(mixture.means)
        else:
            leading = samples[:, :, : mixture.means.shape[1]]
            component_weights = class_component_weights(mixture, leading, class_ids, num_classes)
            buffers["class_component_weights"] = component_weights
            buffers["class_shifts"] = class_mean_shifts(mixture, component_weights, leading, class_ids)
    assert mixture is not None
    config = _with_mixture(vae.config, mixture, buffers)
    return config, Prior.from_mixture(config, mixture, **buffers)


def _with_mixture(config: ModelConfig, mixture: GaussianMixture, buffers: Mapping[str, Tensor]) -> ModelConfig:
    """Return the config with the sizes of a mixture, and of the references and groups in `buffers`."""
    num_components, local_dim, mixture_dim = mixture.local_factors.shape
    num_references = len(buffers.get("references", ()))
    num_groups, _, group_dim = buffers["group_axes"].shape if "group_axes" in buffers else (0, 0, 0)
    return replace(
        config,
        prior="mixture",
        num_components=num_components,
        local_dim=local_dim,
        leading_dim=mixture_dim if num_references else 0,
        num_references=num_references,
        num_groups=num_groups,
        group_dim=group_dim,
    )


def _require_moderate(matrix: Tensor) -> None:
    """Raise VaeganError if a matrix of the latents cannot be decomposed."""
    if not bool(matrix.abs().max() < MAX_VARIANCE):  # NaN compares false
        raise VaeganError(
            "the VAE's latents are not finite, or huge: its weights are damaged, or training diverged; train with a"
            " lower --lr"
        )


def undo_whitening(vae: VAE) -> VAE:
    """Return a copy of a whitened VAE that can be trained: its posteriors have diagonal covariances again.

    The covariance factor W of the encoder is what whitening multiplied the latents by. With z = W^-1 z', the mean head
    is multiplied by W^-1, the decoder's first layers by W, and the factor becomes the identity. Reconstructions do not
    change. The latents keep the mean 0 that whitening gave them.

    Args:
        vae: a VAE whose latents were whitened, or not; it is not changed.

    Returns:
        the VAE in float32, with the prior N(0, I).

    Raises:
        VaeganError: If W cannot be inverted, or is not finite.
    """
    vae = copy.deepcopy(vae).float()
    vae.config = vae.config.with_normal_prior()
    vae.prior = Prior(vae.config)
    whitening_matrix = vae.encoder.cov_factor.cpu().double()
    inverse, error = torch.linalg.inv_ex(whitening_matrix)
    if int(error) or not bool(inverse.abs().max() < MAX_VARIANCE):  # NaN compares false
        raise VaeganError("the covariance factor of the VAE's encoder cannot be inverted: its weights are damaged")
    _apply_whitening(vae, whitening_matrix, inverse, torch.zeros(len(inverse)).double())
    with torch.no_grad():
        vae.encoder.cov_factor.zero_().fill_diagonal_(1)  # exactly, without the rounding of W^-1 W
    return vae


@torch.no_grad()
def encode_batches(
    encoder: Encoder, images: Iterable[Tensor], autocast: AutocastFactory, mirror: bool = False
) -> Iterator[list[Posterior]]:
    """Encode batches of images.

    Args:
        encoder: the encoder; it computes on its own device.
        images: batches uint8 [B, C, S, S].
        autocast: returns the context in which images are encoded.
        mirror: whether to encode mirror images too.

    Yields:
        the posterior of each batch, and that of its mirror images.
    """
    device = next(encoder.parameters()).device
    for batch in images:
        real = to_float(batch.to(device)).contiguous(memory_format=torch.channels_last)
        with autocast():
            posteriors = [encoder(view) for view in ((real, real.flip(3)) if mirror else (real,))]
        yield posteriors


@torch.no_grad()
def _encode_posteriors(
    vae: VAE, images: Iterable[Tensor], mirror: bool, autocast: AutocastFactory
) -> tuple[Tensor, Tensor]:
    """Return means and log-variances on the CPU, [N, 1, d] each, or [N, 2, d] with mirror images."""
    means, log_vars = [], []
    for posteriors in encode_batches(vae.encoder, images, autocast, mirror):
        means.append(torch.stack([posterior.mean for posterior in posteriors], 1).float())
        log_vars.append(torch.stack([posterior.log_var for posterior in posteriors], 1).float())
    return torch.cat(means).cpu(), torch.cat(log_vars).cpu()


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _jacobian_gram(vae: VAE, latents: Tensor, class_weights: Tensor | None, generator: torch.Generator) -> Tensor:
    """Estimate E[J^T J] of the decoder, float64 [d, d], as E[g g^T] with g = J^T v and v ~ N(0, I)."""
    gram = torch.zeros(latents.shape[1], latents.shape[1], dtype=torch.float64)
    for start in range(0, len(latents), 64):
        rows = slice(start, start + 64)
        batch = latents[rows].detach().requires_grad_()
        images = vae.decoder(batch, None if class_weights is None else class_weights[rows])
        v = torch.randn(images.shape, generator=generator).to(images)
        (gradient,) = torch.autograd.grad((images * v).sum(), batch)
        gram += gradient.cpu().double().T @ gradient.cpu().double()
    return gram / len(latents)


@torch.no_grad()
def _apply_whitening(vae: VAE, mixing_matrix: Tensor, whitening_matrix: Tensor, center: Tensor) -> None:
    """Fold z = A z' + m into the decoder's first layers and z' = A^-1 (z - m) into the encoder."""
    mean_head, cov_factor = vae.encoder.mean_head, vae.encoder.cov_factor
    new_values: dict[Tensor, Tensor] = {
        mean_head.bias: whitening_matrix @ (mean_head.bias.cpu().double() - center),
        mean_head.weight: whitening_matrix @ mean_head.weight.cpu().double(),
        cov_factor: whitening_matrix @ cov_factor.cpu().double(),
    }
    for layer in vae.decoder.latent_layers:
        weight = layer.weight.cpu().double()
        new_values |= {
            layer.bias: layer.bias.cpu().double() + weight @ center,
            layer.weight: weight @ mixing_matrix,
        }
    for tensor, value in new_values.items():
        tensor.copy_(value.to(tensor.dtype))  # converted on the CPU: not every device supports float64
