"""Validation metrics of a VAE and of a GAN, and the quick evaluation of samples during training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vaegan.checkpoint import BEST_KID_STATE_KEY, MAX_STATE_VALUE, state_tensor
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.errors import VaeganError
from vaegan.losses.vae import LIKELIHOODS, LOG_NORMALIZERS, kl_per_dim
from vaegan.metrics.dimensionality import active_units, effective_rank
from vaegan.metrics.distances import kid
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.metrics.prdc import duplicate_radius, has_near_duplicate, prdc
from vaegan.metrics.random_features import LEVELS, RandomFeatures, Whitening, concat_features
from vaegan.models.discriminator import Discriminator, GANForInference, Generator
from vaegan.models.latent_whitening import aggregated_moments
from vaegan.models.vae import VAE
from vaegan.training.augment import MIN_LOGIT_MARGIN
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import derive_seed, fixed_permutation
from vaegan.training.trainer import make_class_weights
from vaegan.utils.images import to_float

VALIDATION_BATCH_SIZE = 64
GAN_VALIDATION_IMAGES = 256
GRAY_LEVELS_PER_UNIT = 127.5
"""8-bit gray levels per unit of the range [-1, 1]."""

QUICK_EVAL_IMAGES = 512
FEATURE_WHITENING_IMAGES = 1024
MIN_EVAL_IMAGES = 8
FEATURE_BATCH_SIZE = 64
MIN_IMAGES_PER_EVALUATION, MIN_IMAGES_PER_FLAT_EVALUATION = 16_000, 2_500
"""Images between two evaluations, and with --stop-when flat, which decides by them."""
MAX_EVALUATIONS = 50
NO_BEST_STEP = -1
MIN_KID = -1e6
"""The unbiased estimate is below 0 by chance, but never by so much."""


def per_dim_metrics(metrics: Mapping[str, Tensor], num_dims: int) -> dict[str, Tensor]:
    """Convert reconstruction loss and KL from nats per image to nats and bits per pixel value.

    Args:
        metrics: scalars by name.
        num_dims: pixel values per image.

    Returns:
        the converted ones by name.
    """
    per_dim = {}
    for name in ("recon_loss", "kl"):
        if name in metrics:
            per_dim[f"{name}_nats_per_dim"] = metrics[name] / num_dims
            per_dim[f"{name}_bits_per_dim"] = metrics[name] / (num_dims * math.log(2))
    return per_dim


def compute_bits_per_dim(negative_elbo: float, likelihood: str, num_dims: int) -> float | None:
    """Convert the negative ELBO from nats per image to bits per 8-bit pixel value.

    This is an upper bound on the length of a lossless code (Theis et al. 2016, arXiv 1511.01844, section 3.1).

    Args:
        negative_elbo: nats per image.
        likelihood: name of the likelihood.
        num_dims: pixel values per image.

    Returns:
        bits per pixel value; None for a likelihood that is not a normalized density of pixels.
    """
    log_normalizer = LOG_NORMALIZERS.get(likelihood)
    if log_normalizer is None:
        return None
    return (negative_elbo / num_dims + log_normalizer) / math.log(2) + math.log2(GRAY_LEVELS_PER_UNIT)


class VAEOutputs:
    """Posteriors and reconstructions of a VAE, as one value or vector per image.

    Args:
        images: uint8 [N, C, S, S].
        likelihood: if given, also compute SSIM and the reconstruction loss, the latter for the mean and for one sample
            of each posterior.
        seed: of these samples.
        class_weights: float [N, num_classes], for a conditional VAE.
    """

    @torch.no_grad()
    def __init__(
        self,
        vae: VAE,
        images: Tensor,
        device_ctx: DeviceContext,
        likelihood: str = "",
        seed: int = 0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.values: dict[str, list[Tensor]] = {}
        generator = torch.Generator().manual_seed(derive_seed(seed, "measure"))
        for start in range(0, len(images), VALIDATION_BATCH_SIZE):
            rows = slice(start, start + VALIDATION_BATCH_SIZE)
            real = to_float(images[rows]).to(memory_format=torch.channels_last)
            batch_weights = None if class_weights is None else class_weights[rows].to(real.device)
            with device_ctx.autocast():
                posterior = vae.encoder(real)
                decoded = vae.decoder(posterior.mean, batch_weights).float()
            self._append(means=posterior.mean, log_vars=posterior.log_var, psnr=psnr(real, decoded))
            if likelihood:
                noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
                with device_ctx.autocast():
                    decoded_sample = vae.decoder(posterior.sample(noise), batch_weights).float()
                loss = LIKELIHOODS[likelihood]
                self._append(
                    ssim=ssim(real, decoded),
                    recon_loss=loss(real, decoded, None),
                    sampled_recon_loss=loss(real, decoded_sample, None),
                )

    def _append(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value.float().cpu())

    def __getitem__(self, name: str) -> Tensor:
        """Return the values of that name, float [N, ...]."""
        return torch.cat(self.values[name])

    def mean(self, name: str) -> float:
        """Return the mean over the images.

        Args:
            name: name of the output.

        Returns:
            the mean.
        """
        return float(self[name].mean())

    def mean_kl_per_dim(self) -> Tensor:
        """Return the mean KL of every latent dimension in nats, float [d].

        Returns:
            float [d], nats.
        """
        return kl_per_dim(self["means"], self["log_vars"]).mean(0)

    def negative_elbo(self) -> float:
        """Return the mean negative ELBO per image in nats, without the likelihood's constant.

        Returns:
            nats per image.
        """
        return self.mean("sampled_recon_loss") + float(self.mean_kl_per_dim().sum())


def validate_vae(
    vae: VAE,
    val_images: Tensor,
    train_images: Tensor,
    likelihood: str,
    device_ctx: DeviceContext,
    seed: int,
    class_weights: tuple[Tensor | None, Tensor | None] = (None, None),
) -> dict[str, float]:
    """Compute the metrics of a VAE before latent whitening.

    Args:
        vae: the averaged weights.
        val_images: uint8 [N, C, S, S]; if empty, the metrics of validation images are left out.
        train_images: uint8 [N, C, S, S].
        likelihood: name of the reconstruction loss.
        device_ctx: where to compute.
        seed: of the posterior samples.
        class_weights: of the validation and the training images, float [N, num_classes], for a conditional VAE.

    Returns:
        Losses in nats per image at the posterior means, PSNR in dB, and the use of the latents and the moments of the
        aggregated posterior on training images.
    """
    metrics: dict[str, float] = {}
    if len(val_images):
        val = VAEOutputs(vae, val_images, device_ctx, likelihood, seed, class_weights[0])
        metrics = {f"val_{name}": val.mean(name) for name in ("recon_loss", "psnr", "ssim")}
        metrics["val_kl"] = float(val.mean_kl_per_dim().sum())
        bits_per_dim = compute_bits_per_dim(val.negative_elbo(), likelihood, val_images[0].numel())
        if bits_per_dim is not None:
            metrics["val_bits_per_dim"] = bits_per_dim
    train = VAEOutputs(vae, train_images, device_ctx, class_weights=class_weights[1])
    kl = train.mean_kl_per_dim()
    moments = aggregated_moments(train["means"], train["log_vars"])
    variances = moments.covariance.diagonal()
    return metrics | {
        "train_psnr": train.mean("psnr"),
        "train_kl": float(kl.sum()),
        "active_units": float(active_units(train["means"])),
        "kl_per_dim_min": float(kl.min()),
        "kl_per_dim_median": float(kl.median()),
        "kl_per_dim_max": float(kl.max()),
        "agg_posterior_mean_absmax": float(moments.mean.abs().max()),
        "agg_posterior_var_min": float(variances.min()),
        "agg_posterior_var_max": float(variances.max()),
    }


@torch.no_grad()
def validate_gan(
    model: GANForInference,
    generator: Generator,
    discriminator: Discriminator,
    train_images: Tensor,
    val_images: Tensor,
    train_class_weights: Tensor,
    val_class_weights: Tensor,
) -> dict[str, float]:
    """Measure the discriminator's overfitting, and how well the encoder still fits the generator.

    Args:
        model: the EMA generator, with the encoder and the prior.
        generator: the generator that the discriminator is trained against.
        discriminator: its logits are compared.
        train_images: uint8 [N, C, S, S].
        val_images: uint8 [M, C, S, S], not empty.
        train_class_weights: float [N, num_classes].
        val_class_weights: float [M, num_classes].

    Returns:
        ada_rv: r_v of ADA (Karras et al. 2020, arXiv 2006.06676, eq. 1), from 0 (validation images have the logits of
            training images) to 1 (those of generated images); left out where the discriminator separates nothing.
        val_psnr: PSNR in dB of encoded and decoded validation images; left out without an encoder.
    """

    def split(tensor: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tensor, VALIDATION_BATCH_SIZE)

    def mean_logit(images: Tensor, class_weights: Tensor) -> float:
        order = fixed_permutation(len(images)).to(images.device)
        batches = zip(split(images[order]), split(class_weights[order]), strict=True)
        return float(torch.cat([discriminator(*batch) for batch in batches]).mean())

    seeds, num_classes = range(GAN_VALIDATION_IMAGES), model.prior.num_classes
    class_ids = model.prior.sample_classes(seeds) if num_classes else None
    class_weights = make_class_weights(class_ids, len(seeds), num_classes)
    latents = model.prior.sample_seeds(seeds, class_weights=class_weights).to(val_images.device)
    class_weights = class_weights.to(latents)
    fake = torch.cat([generator(*batch) for batch in zip(split(latents), split(class_weights), strict=True)])
    val = to_float(val_images)
    train_logit = mean_logit(to_float(train_images), train_class_weights)
    val_logit, fake_logit = mean_logit(val, val_class_weights), mean_logit(fake, class_weights)
    metrics = {}
    if train_logit - fake_logit > MIN_LOGIT_MARGIN:
        metrics["ada_rv"] = (train_logit - val_logit) / (train_logit - fake_logit)
    if model.encoder is not None:
        real_batches = split(val.contiguous(memory_format=torch.channels_last))
        values = [
            psnr(real, model.decoder(model.encoder(real).mean, weights))
            for real, weights in zip(real_batches, split(val_class_weights), strict=True)
        ]
        metrics["val_psnr"] = float(torch.cat(values).mean())
    return metrics


def evaluation_interval(
    total_steps: int,
    batch_size: int,
    sample_every: int,
    needs_whitening: bool,
    min_images: int = MIN_IMAGES_PER_EVALUATION,
) -> int:
    """Choose the number of steps between quick evaluations; there are at most about 50.

    Args:
        total_steps: length of the training.
        batch_size: images per step.
        sample_every: steps between previews.
        needs_whitening: samples need latent whitening. Then steps with a preview are chosen, which has done it already.
        min_images: smallest number of images between two evaluations.

    Returns:
        number of steps.
    """
    interval = max(math.ceil(min_images / batch_size), math.ceil(total_steps / MAX_EVALUATIONS))
    return math.ceil(interval / sample_every) * sample_every if needs_whitening else interval


class QuickEvaluator:
    """KID, coverage and diversity of samples during training, in random features at three scales.

    Args:
        train_images: uint8 [N, C, S, S]; the features are whitened by them.
        val_images: uint8 [N, C, S, S]; with fewer than 8, `is_enabled` is False.
        device: where features are computed.
    """

    num_samples = QUICK_EVAL_IMAGES

    def __init__(self, train_images: ImageArray, val_images: Tensor, device: torch.device) -> None:
        self.best_kid, self.best_step = math.inf, NO_BEST_STEP
        self.device = device
        self.train_val_images = (
            strided_subset(train_images, FEATURE_WHITENING_IMAGES),
            strided_subset(val_images, QUICK_EVAL_IMAGES),
        )
        self.is_enabled = min(len(train_images), len(val_images)) >= MIN_EVAL_IMAGES
        self._val_features: dict[str, Tensor] | None = None
        self._feature_whitening: dict[str, Whitening] = {}
        self._feature_network = RandomFeatures().to(device) if self.is_enabled else None

    @torch.no_grad()
    def evaluate(self, samples: Tensor) -> dict[str, float]:
        """Compare samples with the validation images.

        Args:
            samples: uint8 [N, C, S, S], N at least 8.

        Returns:
            kid, kid_stderr: mean over the scales (Binkowski et al. 2018, arXiv 1801.01401); `kid_<scale>`: each scale.
                coverage: fraction of validation images with a sample nearby (Naeem et al. 2020, arXiv 2002.09797, eq.
                4). effective_rank_ratio: effective rank of the samples' features, relative to that of the validation
                images. duplicate_fraction: fraction of samples that nearly repeat another one, at the coarse scale.
        """
        train_images, val_images = self.train_val_images
        if self._val_features is None:
            train_features = self._extract_features(train_images)
            self._feature_whitening = {name: Whitening(values) for name, values in train_features.items()}
            self._val_features = self._whiten_features(self._extract_features(val_images))
        real, fake = self._val_features, self._whiten_features(self._extract_features(samples))
        kid_per_level, stderrs = {}, []
        for level in LEVELS:
            kid_per_level[f"kid_{level}"], stderr = kid(real[level], fake[level])
            stderrs.append(stderr)
        return {
            "kid": sum(kid_per_level.values()) / len(LEVELS),
            "kid_stderr": sum(stderrs) / len(LEVELS),
            **kid_per_level,
            **_coverage_and_diversity(real, fake),
        }

    def _extract_features(self, images: Tensor) -> dict[str, Tensor]:
        assert self._feature_network is not None
        batches = [
            self._feature_network(to_float(batch.to(self.device))) for batch in torch.split(images, FEATURE_BATCH_SIZE)
        ]
        return {name: values.cpu() for name, values in concat_features(batches).items()}

    def _whiten_features(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self._feature_whitening[name](values) for name, values in features.items()}

    def update_best(self, kid_value: float, step: int) -> bool:
        """Record the KID of a step.

        Args:
            kid_value: the KID.
            step: the step.

        Returns:
            whether it is the best so far.
        """
        if not kid_value < self.best_kid:
            return False
        self.best_kid, self.best_step = kid_value, step
        return True

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint.

        Returns:
            the best KID and its step as float64 [2].
        """
        return {BEST_KID_STATE_KEY: torch.tensor([self.best_kid, self.best_step], dtype=torch.float64)}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned; without it, no step is the best yet.

        Args:
            tensors: all tensors of the checkpoint.

        Raises:
            VaeganError: if the best KID or its step is not valid.
        """
        self.best_kid, self.best_step = math.inf, NO_BEST_STEP
        best = state_tensor(tensors, BEST_KID_STATE_KEY, (2,), min_value=MIN_KID)
        if best is not None:
            if not best[1] <= MAX_STATE_VALUE:
                raise VaeganError(f"{BEST_KID_STATE_KEY} holds bad numbers")
            self.best_kid, self.best_step = best[0], int(best[1])


def _coverage_and_diversity(real: dict[str, Tensor], fake: dict[str, Tensor]) -> dict[str, float]:
    """Compute the metrics of `QuickEvaluator.evaluate` except KID, from features {level: float [N, F]}."""
    coarse = LEVELS[-1]
    # more samples than validation images would cover more of them, and have a higher rank
    count = min(len(real[coarse]), len(fake[coarse]))
    coverages = [prdc(real[level], fake[level][:count]).coverage for level in LEVELS]
    ranks = [effective_rank(fake[level][:count]) / max(effective_rank(real[level]), 1e-9) for level in LEVELS]
    return {
        "coverage": sum(coverages) / len(LEVELS),
        "effective_rank_ratio": sum(ranks) / len(LEVELS),
        "duplicate_fraction": float(has_near_duplicate(fake[coarse], duplicate_radius(real[coarse])).double().mean()),
    }
