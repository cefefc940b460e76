"""Losses of both networks of a GAN and their gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vaegan.config.settings import GANSettings
from vaegan.losses.gan import LOSSES, feature_distance, gradient_penalty
from vaegan.losses.patches import PatchFilters, match_by_rank
from vaegan.models.discriminator import RECONSTRUCTION_SIZE, Discriminator, Generator
from vaegan.models.prior import Prior
from vaegan.models.vae import Encoder
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.augment import ADA_LOGIT_NAMES
from vaegan.training.gan_batch import GANBatch
from vaegan.training.precision import DeviceContext
from vaegan.utils.device import copy_to_device


class GANObjective:
    """Computes the losses of both networks and accumulates their gradients.

    Args:
        settings: options of the training run.
        device_ctx: device and precision.
        accumulator: splits batches into micro-batches.
        generator: turns latents into images.
        discriminator: tells real from generated images.
        prior: turns noise into latents.
        augment: (images, random numbers) -> images as the discriminator sees them.

    Attributes:
        encoder: encodes the real images of rows with a reconstruction loss; None without such rows.
        d_recon_weight: weight of the discriminator's reconstruction loss.
    """

    def __init__(
        self,
        settings: GANSettings,
        device_ctx: DeviceContext,
        accumulator: GradientAccumulator,
        generator: Generator,
        discriminator: Discriminator,
        prior: Prior,
        augment: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.settings, self.device_ctx, self.accumulator = settings, device_ctx, accumulator
        self.generator, self.discriminator, self.prior, self.augment = generator, discriminator, prior, augment
        self.adversarial_loss = LOSSES[settings.loss]
        self.encoder: Encoder | None = None
        self.d_recon_weight = settings.d_recon_weight or 0.0

    def discriminator_backward(
        self, micro_batch: GANBatch, weight: float, gamma: float, keep_fake: bool
    ) -> dict[str, Tensor]:
        """Accumulate the discriminator's gradients of weight * loss.

        Args:
            micro_batch: the rows.
            weight: their fraction of the global batch.
            gamma: weight of the gradient penalties; 0 for none.
            keep_fake: whether the generator's step comes next, and may use these generated images.

        Returns:
            scalar metrics by name.
        """
        # The generator's step reuses the images of an unsplit batch. With several micro-batches it generates them
        # again, since the graphs of all micro-batches would not fit in memory at once.
        needs_graph = keep_fake and self.accumulator.num_micro_batches == 1
        with torch.set_grad_enabled(needs_graph):
            fake_aug = self._generate_augmented(micro_batch)
        loss, metrics = self.discriminator_loss(micro_batch, fake_aug.detach(), gamma)
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        if needs_graph:
            micro_batch.fake_aug = fake_aug
        return metrics

    def discriminator_loss(
        self, micro_batch: GANBatch, fake_aug: Tensor, gamma: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the discriminator's loss and metrics.

        The loss is adversarial + gp_interval * gamma / 2 * (R1 + R2) + d_recon_weight * reconstruction.

        Args:
            micro_batch: real images and classes. With validation images, the metrics hold the logits for ADA.
            fake_aug: augmented generated images, float [B, C, S, S].
            gamma: weight of the gradient penalties; 0 for none.

        Returns:
            scalar loss, and scalar metrics by name.
        """
        num_rows, has_penalty = len(fake_aug), gamma > 0
        images = torch.cat([micro_batch.real_aug, fake_aug]).contiguous(memory_format=torch.channels_last)
        images.requires_grad_(has_penalty)
        with self.device_ctx.autocast():
            logits, features = self.discriminator.forward_with_features(
                images, micro_batch.class_weights.repeat(2, 1), num_chunks=2
            )
        real_logits, fake_logits = logits[:num_rows], logits[num_rows:]
        loss = self.adversarial_loss.discriminator_loss(real_logits, fake_logits)
        metrics = {"loss_d": loss.detach(), "d_logit_margin": (real_logits - fake_logits).detach().mean()}
        if has_penalty:
            penalties = gradient_penalty(logits, images)
            r1, r2 = penalties[:num_rows].mean(), penalties[num_rows:].mean()
            loss = loss + self.settings.gp_interval * gamma / 2 * (r1 + r2)
            metrics |= {"r1_penalty": r1.detach(), "r2_penalty": r2.detach()}
        if self.d_recon_weight:
            recon_loss = self._feature_reconstruction_loss(features[-1][:num_rows], micro_batch.real_aug)
            loss = loss + self.d_recon_weight * recon_loss
            metrics["d_recon_loss"] = recon_loss.detach()
        if len(micro_batch.val_real_aug):
            with torch.no_grad(), self.device_ctx.autocast():
                val_logits = self.discriminator(micro_batch.val_real_aug, micro_batch.val_class_weights)
            metrics |= dict(zip(ADA_LOGIT_NAMES, (real_logits.detach().mean(), val_logits.mean()), strict=True))
        return loss, metrics

    def _feature_reconstruction_loss(self, features: Tensor, images: Tensor) -> Tensor:
        """Return the mean absolute error of images [B, C, S, S], made small, decoded from features [B, F, 4, 4]."""
        feature_decoder = self.discriminator.feature_decoder
        assert feature_decoder is not None
        with self.device_ctx.autocast():
            decoded = feature_decoder(features)
        small_images = nn.functional.avg_pool2d(images, images.shape[-1] // RECONSTRUCTION_SIZE)
        return nn.functional.l1_loss(decoded.float(), small_images)

    def generator_backward(
        self, micro_batch: GANBatch, weight: float, recon_fraction: float, patch_filters: PatchFilters | None = None
    ) -> dict[str, Tensor]:
        """Accumulate the generator's gradients of weight * loss.

        The loss is adversarial + recon_weight * reconstruction + patch_weight * distance of patches.

        Args:
            micro_batch: the rows.
            weight: their fraction of the global batch.
            recon_fraction: fraction of the global batch's rows with a reconstruction loss.
            patch_filters: directions in which patches are compared; None without that loss.

        Returns:
            scalar metrics by name.
        """
        fake_aug, micro_batch.fake_aug = micro_batch.fake_aug, None  # its graph can be used once
        if fake_aug is None:
            fake_aug = self._generate_augmented(micro_batch)
        with self.device_ctx.autocast():
            class_weights = micro_batch.class_weights
            fake_logits, fake_features = self.discriminator.forward_with_features(fake_aug, class_weights)
            real_logits, real_features = fake_logits, fake_features  # for losses that need no real images
            if self.adversarial_loss.needs_real_logits or recon_fraction:
                with torch.no_grad():
                    real_logits, real_features = self.discriminator.forward_with_features(
                        micro_batch.real_aug, class_weights
                    )
        loss = self.adversarial_loss.generator_loss(real_logits, fake_logits)
        metrics = {"loss_g": loss.detach()}
        if recon_fraction:
            rows = copy_to_device(micro_batch.recon_rows, fake_aug.device)
            recon_loss = feature_distance(fake_features, real_features, rows).sum() / len(fake_aug)
            loss = loss + self.settings.recon_weight * recon_loss
            metrics["recon_feature_loss"] = recon_loss.detach() / recon_fraction
        if patch_filters is not None:
            responses, targets = patch_filters.responses(fake_aug), micro_batch.patch_targets
            if targets is None:
                targets = match_by_rank(responses.detach(), patch_filters.responses(micro_batch.real_aug))
            patch_loss = nn.functional.l1_loss(responses, targets)
            loss = loss + self.settings.patch_weight * patch_loss
            metrics["patch_loss"] = patch_loss.detach()
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return metrics

    def match_patches(self, batch: GANBatch, patch_filters: PatchFilters) -> None:
        """Set the `patch_targets` of a batch, which is split over ranks or micro-batches.

        Args:
            batch: this rank's rows.
            patch_filters: directions in which patches are compared.
        """

        def fake_and_real_responses(micro_batch: GANBatch) -> Tensor:
            fake_aug = micro_batch.fake_aug
            if micro_batch is not batch:
                batch.fake_aug = None  # memory ran out, so free the graph of all images
            if fake_aug is None:
                fake_aug = self._generate_augmented(micro_batch)
            return torch.stack([patch_filters.responses(fake_aug), patch_filters.responses(micro_batch.real_aug)], 1)

        fake_responses, real_responses = self.accumulator.global_rows(batch, fake_and_real_responses).unbind(1)
        batch.patch_targets = self.accumulator.local_rows(match_by_rank(fake_responses, real_responses))

    def sample_latents(self, micro_batch: GANBatch) -> Tensor:
        """Sample latents from the prior, and for `recon_rows` from the posteriors of the real images.

        Args:
            micro_batch: the batch.

        Returns:
            float [B, d].
        """
        latents: Tensor = self.prior(micro_batch.noise, class_weights=micro_batch.class_weights)
        rows = copy_to_device(micro_batch.recon_rows, latents.device)
        if self.encoder is None or not len(rows):
            return latents
        with torch.no_grad(), self.device_ctx.autocast():
            posterior = self.encoder(micro_batch.real[rows].contiguous(memory_format=torch.channels_last))
        return latents.index_copy(0, rows, posterior.sample(micro_batch.noise[rows, : latents.shape[1]]))

    def _generate_augmented(self, micro_batch: GANBatch) -> Tensor:
        latents = self.sample_latents(micro_batch)
        with self.device_ctx.autocast():
            fake = self.generator(latents, micro_batch.class_weights).float()
        return self.augment(fake, micro_batch.rand_fake)
