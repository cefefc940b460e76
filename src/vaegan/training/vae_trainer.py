"""Training of a VAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import flatten_tensors, load_strict, save_model, strip_prefix
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import VAESettings
from vaegan.data.classes import ClassIds
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.diagnostics import describe_latent_usage, describe_reconstruction, vae_warnings
from vaegan.events import Event, Note, WarningMessage
from vaegan.losses.vae import BATCH_STATISTICS, LIKELIHOODS, kl_per_dim
from vaegan.models.latent_whitening import whiten_latents
from vaegan.models.vae import VAE, Posterior
from vaegan.training.accumulation import Batch, GradientAccumulator
from vaegan.training.augment import random_affine_and_color, random_hflip
from vaegan.training.optim import (
    EMA,
    inverse_sqrt_decay,
    linear_warmup,
    load_optimizer_state_dict,
    make_optimizer,
    optimizer_state_dict,
)
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import StepRandom, derive_seed, fork_rng_with_seed
from vaegan.training.start import LATENT_WHITENING_BATCH_SIZE, whitening_rows
from vaegan.training.trainer import (
    IMAGES_PER_ROW,
    MAX_PREVIEW_CLASSES,
    class_frequencies,
    decode_seeds,
    load_with_new_classes,
    make_class_weights,
    preview_classes,
)
from vaegan.training.validation import per_dim_metrics, validate_vae
from vaegan.utils.images import make_grid, to_float, to_uint8

ADAM_BETAS, MUON_MOMENTUM = (0.9, 0.99), 0.95
VALIDATION_IMAGES = 512
PREVIEW_RECONSTRUCTIONS, PREVIEW_SAMPLES = 16, 32


@dataclass
class VAEBatch(Batch):
    """Data of one step, a row per image of this rank.

    Attributes:
        real: training images, float [B, C, S, S] in [-1, 1].
        noise: standard normal float [B, d], to sample the posteriors.
        class_weights: float [B, num_classes].
    """

    real: Tensor
    noise: Tensor
    class_weights: Tensor


class VAETrainer:
    """Trains a VAE; see `Trainer`.

    The loss is the negative evidence lower bound (Kingma & Welling 2014, arXiv 1312.6114, eq. 3).

    Args:
        model_config: architecture of the VAE.
        settings: options of the training run.
        device_ctx: device and precision.
        train_images: uint8 [N, C, S, S]; only read for validation and for latent whitening, not by `step`.
        val_images: uint8 [N, C, S, S], may be empty.
        accumulator: splits batches over ranks and micro-batches; by default, there is one of each.
        image_options: options of preprocess for the weights' metadata.
        initial: VAE to start from, with latents that are not whitened; None for random weights.
        class_ids: classes of the images, for a conditional VAE.
    """

    kind = "vae"

    def __init__(
        self,
        model_config: ModelConfig,
        settings: VAESettings,
        device_ctx: DeviceContext,
        train_images: ImageArray,
        val_images: Tensor,
        accumulator: GradientAccumulator | None = None,
        image_options: Mapping[str, Any] | None = None,
        initial: VAE | None = None,
        class_ids: ClassIds | None = None,
    ) -> None:
        self.image_options = image_options
        self.model_config, self.settings, self.device_ctx = model_config, settings, device_ctx
        self.accumulator, self.lr_scale, self.penalty_scale = accumulator or GradientAccumulator(), 1.0, 1.0
        # statistics of the global batch; None if the loss sees the global batch at once and computes them itself
        self._likelihood_stat: Tensor | None = None
        self._is_penalized: Tensor | None = None

        with fork_rng_with_seed(settings.seed, "vae"):
            self.vae = VAE(model_config)
        if initial is not None:
            load_with_new_classes(self.vae, initial.state_dict(), Path("the VAE to start from"))
        if class_ids is not None:
            self.vae.prior.class_frequencies.copy_(class_frequencies(class_ids.train, model_config.num_classes))
        device_ctx.prepare(self.vae)
        self.ema = EMA(self.vae, settings.ema_halflife)
        self.optimizer = make_optimizer(
            settings.optimizer, self.vae, settings.lr, ADAM_BETAS, MUON_MOMENTUM, precision=device_ctx.precision
        )
        self.likelihood_loss = LIKELIHOODS[settings.likelihood]

        self.whitening_rows = whitening_rows(len(train_images), model_config.latent_dim, settings.seed)
        self.train_images = train_images
        self.train_subset = train_images[self.whitening_rows[:VALIDATION_IMAGES]]
        self.val_images = strided_subset(val_images, VALIDATION_IMAGES)
        train_ids, val_ids = (None, None) if class_ids is None else (class_ids.train, class_ids.val)
        self.whitening_class_ids = None if train_ids is None else train_ids[self.whitening_rows]
        subset_ids = None if train_ids is None else train_ids[self.whitening_rows[:VALIDATION_IMAGES]]
        self.train_class_weights = self._class_weights(subset_ids, len(self.train_subset))
        val_subset_ids = None if val_ids is None else strided_subset(val_ids, VALIDATION_IMAGES)
        self.val_class_weights = self._class_weights(val_subset_ids, len(self.val_images))
        self._whitened_model: VAE | None = None

    def _class_weights(self, class_ids: Tensor | None, count: int) -> Tensor:
        return make_class_weights(class_ids, count, self.model_config.num_classes, self.device_ctx.device)

    def step(self, images: Tensor, step: int, class_ids: Tensor | None = None) -> dict[str, Tensor] | None:
        """Take one optimizer step.

        Args:
            images: this rank's, uint8 [B, C, S, S].
            step: number of the step, from 0.
            class_ids: of a conditional VAE, the number of each image's class, int64 [B].

        Returns:
            Scalar metrics in nats per image; None if the step was skipped.
        """
        settings = self.settings
        batch = self._make_batch(images, step, class_ids)
        batch_size = self.accumulator.global_batch_size(len(images))
        images_seen = (step + 1) * batch_size
        lr = settings.lr * self.lr_scale * linear_warmup(images_seen, settings.lr_warmup)
        self.optimizer.param_groups[0]["lr"] = lr * inverse_sqrt_decay(images_seen, settings.lr_decay_start)
        # KL warm-up: the decoder learns to use the latents before they are regularized
        beta = settings.beta * linear_warmup(images_seen, settings.kl_warmup)

        self._likelihood_stat = self._is_penalized = None
        metrics = self.accumulator.step(
            self.optimizer,
            batch,
            partial(self._backward, beta=beta),
            settings.grad_clip,
            on_split=partial(self._compute_global_statistics, batch),
        )
        if metrics is None:
            return None
        self.ema.update(self.vae, images_seen, batch_size)
        self._whitened_model = None
        return metrics | per_dim_metrics(metrics, images[0].numel())

    def _make_batch(self, images: Tensor, step: int, class_ids: Tensor | None) -> VAEBatch:
        """Augment uint8 [B, C, S, S] and draw the noise; random numbers are drawn for the global batch."""
        settings, local_rows = self.settings, self.accumulator.local_rows
        batch_size = self.accumulator.global_batch_size(len(images))
        step_random = StepRandom(settings.seed, step, self.device_ctx.device)
        real = to_float(images)
        if settings.mirror:
            real = random_hflip(real, local_rows(step_random.uniform("mirror", batch_size)))
        if settings.train_augment:
            rand = local_rows(step_random.uniform("jitter", batch_size, 4 + 2 * self.model_config.channels))
            real = random_affine_and_color(real, rand, settings.train_augment)
        noise = local_rows(step_random.normal("noise", batch_size, self.model_config.latent_dim))
        class_weights = self._class_weights(class_ids, len(images))
        return VAEBatch(real.to(memory_format=torch.channels_last), noise, class_weights)

    def _backward(self, batch: VAEBatch, weight: float, beta: float) -> dict[str, Tensor]:
        """Accumulate the gradients of weight * loss of a micro-batch; return its metrics."""
        decoded, posterior = self._forward(batch)
        recon_loss = self.likelihood_loss(batch.real, decoded, self._likelihood_stat).mean()
        kl_dims = kl_per_dim(posterior.mean, posterior.log_var)
        kl = penalized_kl = kl_dims.sum(1).mean()
        if self.settings.free_bits:
            mean_kl_dims = kl_dims.mean(0)
            is_penalized = self._is_penalized
            if is_penalized is None:
                is_penalized = self._exceeds_free_bits(mean_kl_dims.detach())
            penalized_kl = (mean_kl_dims * is_penalized).sum()
        ((recon_loss + beta * penalized_kl) * weight).backward()  # type: ignore[no-untyped-call]
        return {"recon_loss": recon_loss.detach(), "kl": kl.detach()}

    def _forward(self, batch: VAEBatch) -> tuple[Tensor, Posterior]:
        with self.device_ctx.autocast():
            decoded, posterior = self.vae(batch.real, batch.noise, batch.class_weights)
        return decoded.float(), posterior

    def _compute_global_statistics(self, batch: VAEBatch) -> None:
        """Compute the means over the global batch that the loss of a micro-batch depends on."""
        statistic = BATCH_STATISTICS.get(self.settings.likelihood)
        if statistic is not None:
            self._likelihood_stat = self.accumulator.global_mean(
                batch, lambda micro_batch: statistic(micro_batch.real, self._forward(micro_batch)[0], None)
            )
        if self.settings.free_bits:
            self._is_penalized = self._exceeds_free_bits(self.accumulator.global_mean(batch, self._encode_kl_per_dim))

    def _encode_kl_per_dim(self, batch: VAEBatch) -> Tensor:
        with self.device_ctx.autocast():
            posterior = self.vae.encoder(batch.real)
        return kl_per_dim(posterior.mean, posterior.log_var)

    def _exceeds_free_bits(self, mean_kl_dims: Tensor) -> Tensor:
        """Return which latent dimensions the KL term counts, bool [d].

        Below the free bits, it is constant and has no gradient (Kingma et al. 2016, arXiv 1606.04934, eq. 15).
        """
        return mean_kl_dims > self.settings.free_bits * math.log(2)

    def validate(self) -> dict[str, float]:
        """Compute the metrics of `validate_vae` for the EMA weights.

        Returns:
            value by name.
        """
        settings, train_images = self.settings, self.train_subset.to(self.device_ctx.device)
        return validate_vae(
            self.ema.model,
            self.val_images,
            train_images,
            settings.likelihood,
            self.device_ctx,
            settings.seed,
            (self.val_class_weights, self.train_class_weights),
        )

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Describe reconstruction quality and latent usage, and warn of problems.

        Args:
            metrics: newest validation metrics.
            images_seen: training images seen.

        Returns:
            notes and warnings.
        """
        latent_dim = self.model_config.latent_dim
        descriptions = {
            "Validation images": describe_reconstruction(metrics),
            "Latents": describe_latent_usage(metrics, latent_dim),
        }
        warnings = vae_warnings(metrics, self.settings.beta, latent_dim, images_seen)
        return [
            *(Note(f"{name}: {text}") for name, text in descriptions.items() if text),
            *(WarningMessage(text) for text in warnings),
        ]

    def inference_model(self) -> VAE:
        """Return the networks for use; computed once per step.

        Returns:
            the EMA weights, with whitened latents and the fitted prior.
        """
        if self._whitened_model is None:
            batches = torch.split(self.whitening_rows, LATENT_WHITENING_BATCH_SIZE)
            self._whitened_model = whiten_latents(
                self.ema.model,
                (self.train_images[rows] for rows in batches),
                derive_seed(self.settings.seed, "fold") % 2**31,
                self.settings.mirror,
                self.device_ctx.autocast,
                self.whitening_class_ids,
            )
        return self._whitened_model

    @torch.no_grad()
    def preview_grid(self) -> Tensor:
        """Draw images above their reconstructions, then samples of the prior, with a class in each row.

        Returns:
            grid of images, uint8 [C, H, W].
        """
        images, class_weights = self.val_images, self.val_class_weights
        if not len(images):
            images, class_weights = self.train_subset, self.train_class_weights
        images = images[:PREVIEW_RECONSTRUCTIONS].to(self.device_ctx.device)
        model, device = self.inference_model(), self.device_ctx.device
        decoded = to_uint8(model.reconstruct(to_float(images), class_weights[:PREVIEW_RECONSTRUCTIONS]))
        num_rows = max(PREVIEW_SAMPLES // IMAGES_PER_ROW, min(self.model_config.num_classes, MAX_PREVIEW_CLASSES))
        row_classes = preview_classes(num_rows, self.model_config.num_classes)
        samples = decode_seeds(model.decoder, model.prior, num_rows * IMAGES_PER_ROW, device, row_classes)
        rows = [
            row
            for start in range(0, len(images), IMAGES_PER_ROW)
            for row in (images[start : start + IMAGES_PER_ROW], decoded[start : start + IMAGES_PER_ROW])
        ]
        return make_grid(torch.cat([*(row.cpu() for row in rows), samples]), columns=IMAGES_PER_ROW)

    def drift_grid(self) -> None:
        """Return None: a VAE starts from no other model."""

    def generate_samples(self, count: int) -> Tensor:
        """Decode the latents of the first seeds with the EMA weights.

        Args:
            count: number of samples.

        Returns:
            uint8 [count, C, S, S], on the CPU.
        """
        model = self.inference_model()
        return decode_seeds(model.decoder, model.prior, count, self.device_ctx.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all tensors that a checkpoint needs.

        Returns:
            tensors by name.
        """
        return flatten_tensors(
            {
                "vae": self.vae.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimizer": optimizer_state_dict(self.optimizer, self.vae),
            }
        )

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Restore what `state_dict` returned.

        Args:
            tensors: tensors by name.
            path: checkpoint, for messages.

        Raises:
            VaeganError: if a tensor does not fit.
        """
        load_strict(self.vae, strip_prefix(tensors, "vae"), path)
        load_strict(self.ema.model, strip_prefix(tensors, "ema"), path)
        self._whitened_model = None
        load_optimizer_state_dict(self.optimizer, self.vae, strip_prefix(tensors, "optimizer"))

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the weights for use.

        Args:
            path: file to write.
            step: steps done.
            kid: their KID, if it was measured.

        Raises:
            VaeganError: if the file cannot be written.
        """
        model = self.inference_model()
        images_seen = step * self.settings.batch_size
        save_model(path, model, self.kind, model.config, step, images_seen, kid, self.image_options)
