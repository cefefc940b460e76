"""Training a GAN whose generator is a VAE's decoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import flatten_tensors, load_strict, save_model, strip_prefix
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.errors import VaeganError
from vaegan.events import Event
from vaegan.losses.gan import LOSSES, feature_distance, gradient_penalty
from vaegan.metrics.image_quality import psnr
from vaegan.models.discriminator import MBSTD_GROUP_SIZE, Discriminator, GANForInference, Generator
from vaegan.models.prior import Prior
from vaegan.models.vae import VAE, Encoder
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.adaptive_augment import ADA_INTERVAL, ADA_LOGIT_NAMES, MIN_LOGIT_MARGIN, AdaptiveAugment
from vaegan.training.augment import RANDOMS_PER_IMAGE, augment, parse_augmentations
from vaegan.training.ema import EMA
from vaegan.training.gan_batch import GANBatch, evenly_spaced_mask, fixed_permutation
from vaegan.training.optim import load_optimizer_state_dict, make_optimizer, optimizer_state_dict
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import StepRandom, fork_rng_with_seed
from vaegan.training.schedules import cosine_anneal, inverse_sqrt_decay
from vaegan.training.train_augment import random_hflip
from vaegan.training.vae_init import IMAGES_PER_ROW, DecoderDrift
from vaegan.training.vae_transfer import DecoderTransfer, init_generator_from_decoder
from vaegan.utils.images import make_grid, to_float, to_uint8

ADAM_BETAS, MUON_MOMENTUM = (0.0, 0.99), 0.0
PREVIEW_IMAGES = 64
VALIDATION_IMAGES = 256


class GANTrainer:
    """Generator against discriminator, alternating (Goodfellow et al. 2014, arXiv 1406.2661)."""

    kind = "gan"

    def __init__(
        self,
        model_config: ModelConfig,
        settings: GANSettings,
        device_ctx: DeviceContext,
        vae: VAE | None,
        accumulator: GradientAccumulator | None = None,
        train_val_images: tuple[ImageArray, Tensor] | None = None,
    ) -> None:
        """Build for `config`; `vae`, of the same config but for the prior, gives the generator its weights, and where
        the prior is a mixture, this.

        seen: training and held-out pictures, uint8 [N, C, S, S], that `measure` looks at some of.

        Its encoder's trunk goes into the discriminator, unless told otherwise: a cold discriminator's first gradients
        spoil what a warm generator knows.
        """
        self.model_config, self.device_ctx = model_config, device_ctx
        self.settings = settings = settings.with_start_defaults(vae is not None)
        self.accumulator, self.lr_scale, self.penalty_scale = accumulator or GradientAccumulator(), 1.0, 1.0
        self.accumulator.group_size = MBSTD_GROUP_SIZE if settings.minibatch_std else 1
        train, held_out = train_val_images or (torch.empty(0), torch.empty(0))
        self.train_images, self.val_images = (
            strided_subset(part, VALIDATION_IMAGES).to(device_ctx.device) for part in (train, held_out)
        )
        self.preview_val_images = held_out[:IMAGES_PER_ROW]
        self.adversarial_loss, self.augmentations = LOSSES[settings.loss], parse_augmentations(settings.augment)
        self.adaptive_augment = None if settings.ada_target is None else AdaptiveAugment(settings.ada_target)
        if self.adaptive_augment is not None and not len(self.val_images):
            raise VaeganError("--ada-target needs held-out pictures: prepare the set with --val-fraction 0.1, or so")
        with fork_rng_with_seed(settings.seed, "gan"):
            self.generator = Generator(model_config)
            self.discriminator = Discriminator(model_config, bool(settings.minibatch_std))
        device_ctx.prepare(self.generator)
        device_ctx.prepare(self.discriminator)
        self.prior = (vae.prior if vae is not None and model_config.prior == "mixture" else Prior(model_config)).to(
            device_ctx.device
        )
        self.encoder: Encoder | None = None
        self.decoder_transfer: DecoderTransfer | None = None
        self.drift_reference: DecoderDrift | None = None
        if vae is not None:
            self.encoder = vae.encoder.eval().requires_grad_(False)
            device_ctx.prepare(self.encoder)
            self.decoder_transfer = init_generator_from_decoder(vae, self.generator)
            self.drift_reference = DecoderDrift.from_decoder(
                self.generator, self.encoder, self.prior, self.preview_val_images
            )
            if settings.init_d_from_encoder:
                load_strict(self.discriminator.trunk, vae.encoder.trunk.state_dict(), Path("the VAE's encoder"))
        self.ema = EMA(self.generator, settings.ema_halflife)
        name, most = settings.optimizer, settings.update_clip
        self.optimizer_g = make_optimizer(name, self.generator, settings.lr_g, ADAM_BETAS, MUON_MOMENTUM, most)
        self.optimizer_d = make_optimizer(name, self.discriminator, settings.lr_d, ADAM_BETAS, MUON_MOMENTUM, most)

    @property
    def _uses_recon_loss(self) -> bool:
        return self.encoder is not None and self.settings.recon_weight > 0 and self.settings.recon_fraction > 0

    def _augment(self, images: Tensor, augment_rand: Tensor) -> Tensor:
        """What the discriminator sees of pictures: augmented as the policy says."""
        share = 1.0 if self.adaptive_augment is None else self.adaptive_augment.augment_p
        return augment(images, augment_rand, self.augmentations, share).contiguous(memory_format=torch.channels_last)

    def _augmented_val_batch(self, step_random: StepRandom, step: int, global_batch_size: int) -> Tensor:
        """Held-out pictures as the discriminator sees them, as many as training ones: the next that are in turn."""
        rows = fixed_permutation(len(self.val_images))[
            (torch.arange(global_batch_size) + step // ADA_INTERVAL * global_batch_size) % len(self.val_images)
        ]
        chances = step_random.uniform(
            "augment held-out", global_batch_size, RANDOMS_PER_IMAGE * len(self.augmentations)
        )
        return self._augment(
            to_float(self.val_images[self.accumulator.local_rows(rows)]), self.accumulator.local_rows(chances)
        )

    def step(self, images: Tensor, step: int) -> dict[str, Tensor]:
        """Take one step of both networks on uint8 [B, C, S, S]; returns scalars, none where an update was left out.

        Without micro-batches the generator runs once: its update goes back through the pictures that the discriminator
        was just taught on.
        """
        drawn = self._make_batch(images, step)
        count, whole = len(images), self.accumulator.global_batch_size(len(images))
        head_start = self.encoder is not None and step < (self.settings.d_warmup_steps or 0)
        images_seen = (step + 1) * whole
        gamma = self._current_gamma(images_seen) if step % self.settings.gp_interval == 0 else 0.0
        rate_scale = self.lr_scale * inverse_sqrt_decay(images_seen, self.settings.lr_decay_start)
        kept: list[Tensor] = []

        def judge(rows: slice, share: float) -> dict[str, Tensor]:
            kept.clear()
            keep, part = self.accumulator.num_micro_batches == 1 and not head_start, drawn.select_rows(rows)
            fake = self._generate(part, keep)
            if keep:
                kept.append(fake)
            return self._discriminator_backward(part.real_aug, fake.detach(), gamma, share, part.val_real_aug)

        def fool(rows: slice, share: float) -> dict[str, Tensor]:
            part = drawn.select_rows(rows)
            return self._generator_backward(part, kept.pop() if kept else self._generate(part, True), share)

        self.optimizer_d.param_groups[0]["lr"] = self.settings.lr_d * rate_scale
        metrics = self.accumulator.optimizer_step(self.optimizer_d, count, judge)
        if metrics and not head_start:
            self.optimizer_g.param_groups[0]["lr"] = self.settings.lr_g * rate_scale
            self.discriminator.requires_grad_(False)
            try:
                fooled = self.accumulator.optimizer_step(self.optimizer_g, count, fool)
            finally:
                self.discriminator.requires_grad_(True)
            if not fooled:
                return {}
            self.ema.update(self.generator, images_seen, whole)
            metrics |= fooled
        return (
            self.adaptive_augment.update(metrics, whole) if metrics and self.adaptive_augment is not None else metrics
        )

    def _current_gamma(self, images_seen: int) -> float:
        """What the gradient penalties weigh after so many pictures."""
        settings = self.settings
        end = settings.gamma if settings.gamma_final is None else settings.gamma_final
        return self.penalty_scale * cosine_anneal(images_seen, settings.gamma_anneal_images, settings.gamma, end)

    def _make_batch(self, images: Tensor, step: int) -> GANBatch:
        """Turn uint8 [B, C, S, S] into what the discriminator sees of them, and draw what the step needs at random."""
        random, shares = StepRandom(self.settings.seed, step, self.device_ctx.device), self.accumulator
        whole = shares.global_batch_size(len(images))
        clean = to_float(images)
        if self.settings.mirror:
            clean = random_hflip(clean, shares.local_rows(random.uniform("mirror", whole)))
        noise = shares.local_rows(random.normal("latents", whole, self.prior.noise_dim))
        columns = RANDOMS_PER_IMAGE if self.adaptive_augment is not None else RANDOMS_PER_IMAGE - 1
        chances = random.uniform("augment", 2 * whole, columns * len(self.augmentations))
        of_real, of_fake = shares.local_rows(chances[:whole]), shares.local_rows(chances[whole:])
        share = max(self.settings.recon_fraction, 1 / whole) if self._uses_recon_loss else 0.0
        anchored = shares.local_rows(evenly_spaced_mask(share, whole)).nonzero().flatten()
        if len(anchored):
            of_fake = of_fake.index_copy(0, anchored.to(of_fake.device), of_real[anchored.to(of_real.device)])
        real = self._augment(clean, of_real)
        adapts = self.adaptive_augment is not None and self.adaptive_augment.is_due(step)
        unseen = self._augmented_val_batch(random, step, whole) if adapts else clean[:0]
        return GANBatch(clean, real, noise, of_fake, anchored, unseen)

    def _sample_latents(self, batch: GANBatch) -> Tensor:
        """Draws of the prior, but for anchored rows: a sample of the true picture's posterior."""
        latents: Tensor = self.prior(batch.noise)
        if self.encoder is None or not len(batch.recon_rows):
            return latents
        rows = batch.recon_rows.to(latents.device)
        with torch.no_grad(), self.device_ctx.autocast():
            posterior = self.encoder(batch.real[rows].contiguous(memory_format=torch.channels_last))
        return latents.index_copy(0, rows, posterior.sample(batch.noise[rows, : latents.shape[1]]))

    def _generate(self, batch: GANBatch, requires_grad: bool) -> Tensor:
        """What the discriminator sees of generated pictures."""
        latents = self._sample_latents(batch)
        with torch.set_grad_enabled(requires_grad), self.device_ctx.autocast():
            fake = self.generator(latents).float()
        return self._augment(fake, batch.augment_rand)

    def _discriminator_backward(
        self, real_aug: Tensor, fake_aug: Tensor, gamma: float, weight: float, val_real_aug: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Leave the discriminator's gradient of these pictures behind; R1 and R2 count as much more as they are rare.

        real, fake: [B, C, S, S], a pair in each row; gamma: 0 for no penalties; share: of the whole batch; unseen:
        held-out pictures, to say what it makes of them, if any.
        """
        batch, penalise = len(real_aug), gamma > 0
        both = torch.cat([real_aug, fake_aug]).contiguous(memory_format=torch.channels_last)
        both.requires_grad_(penalise)
        with self.device_ctx.autocast():
            logits = self.discriminator(both, num_chunks=2)
        on_real, on_fake = logits[:batch], logits[batch:]
        loss = self.adversarial_loss.discriminator_loss(on_real, on_fake)
        metrics = {"loss_d": loss.detach(), "d_logit_margin": (on_real - on_fake).detach().mean()}
        if penalise:
            penalty = gradient_penalty(logits, both)
            r1, r2 = penalty[:batch].mean(), penalty[batch:].mean()
            loss = loss + self.settings.gp_interval * gamma / 2 * (r1 + r2)
            metrics |= {"r1_penalty": r1.detach(), "r2_penalty": r2.detach()}
        if val_real_aug is not None and len(val_real_aug):
            with torch.no_grad(), self.device_ctx.autocast():
                on_unseen = self.discriminator(val_real_aug)
            metrics |= dict(zip(ADA_LOGIT_NAMES, (on_real.detach().mean(), on_unseen.mean()), strict=True))
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return metrics

    def _generator_backward(self, batch: GANBatch, fake_aug: Tensor, weight: float) -> dict[str, Tensor]:
        """Leave the generator's gradient behind, through the updated discriminator; `fake` hangs on its graph."""
        with self.device_ctx.autocast():
            on_fake, levels = self.discriminator.forward_with_features(fake_aug)
            on_real, wanted = on_fake, levels
            if self.adversarial_loss.needs_real_logits or self._uses_recon_loss:
                with torch.no_grad():
                    on_real, wanted = self.discriminator.forward_with_features(batch.real_aug)
        loss = self.adversarial_loss.generator_loss(on_real, on_fake)
        metrics = {"loss_g": loss.detach()}
        if self._uses_recon_loss:
            rows = batch.recon_rows.to(fake_aug.device)
            distance = feature_distance([level[rows] for level in levels], [level[rows] for level in wanted])
            drift = distance.sum() / len(fake_aug)
            loss = loss + self.settings.recon_weight * drift
            metrics["recon_feature_loss"] = drift.detach() / self.settings.recon_fraction
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return metrics

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measure what the discriminator knows by heart, and how well the encoder still fits; held-out pictures needed.

        overfitting: how far towards generated faces the discriminator puts held-out ones, from 0 (as training faces) to
        1 (Karras et al. 2020, arXiv 2006.06676, eq. 1). held_out_psnr, where there is an encoder: PSNR in dB of what
        the averaged generator makes of encoded held-out faces. drift, which needs none: see `Drift.distance`.
        """
        found = {} if self.drift_reference is None else {"decoder_drift": self.drift_reference.distance(self.ema.model)}
        if not len(self.val_images):
            return found
        latents = self.prior.sample_seeds(range(VALIDATION_IMAGES)).to(self.device_ctx.device)
        fake = torch.cat([self.generator(part) for part in torch.split(latents, PREVIEW_IMAGES)])
        held_out = to_float(self.val_images)
        train, unseen, made = (self._mean_logit(part) for part in (to_float(self.train_images), held_out, fake))
        if train - made > MIN_LOGIT_MARGIN:
            found["ada_rv"] = (train - unseen) / (train - made)
        if self.encoder is not None:
            errors = []
            for real in torch.split(held_out.contiguous(memory_format=torch.channels_last), PREVIEW_IMAGES):
                errors.append(psnr(real, self.ema.model(self.encoder(real).mean)))
            found["val_psnr"] = float(torch.cat(errors).mean())
        return found

    def _mean_logit(self, images: Tensor) -> float:
        images = images[fixed_permutation(len(images)).to(images.device)]
        return float(torch.cat([self.discriminator(part) for part in torch.split(images, PREVIEW_IMAGES)]).mean())

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Nothing: samples are judged by `vaegan evaluate`."""
        return []

    def inference_model(self) -> GANForInference:
        """Return what is published: the averaged generator, the encoder that it came with, and the prior."""
        return GANForInference(self.ema.model, self.encoder, self.prior)

    @torch.no_grad()
    def preview_grid(self) -> Tensor:
        """Sheet, uint8 [C, H, W], of the averaged generator on the latents of seeds 0 to 63."""
        latents = self.prior.sample_seeds(range(PREVIEW_IMAGES))
        return make_grid(to_uint8(self.ema.model(latents.to(self.device_ctx.device))).cpu(), columns=8)

    def drift_grid(self) -> Tensor | None:
        """Sheet, uint8 [C, H, W], of the VAE's decoder beside the averaged generator; None for a run from scratch."""
        return (
            None
            if self.drift_reference is None
            else self.drift_reference.preview_grid(self.ema.model, self.preview_val_images)
        )

    @torch.no_grad()
    def generate_samples(self, count: int) -> Tensor:
        """Pictures uint8 [count, C, S, S] of the averaged generator, of seeds 0 to count - 1."""
        latents = self.prior.sample_seeds(range(count)).to(self.device_ctx.device)
        return torch.cat([to_uint8(self.ema.model(part)).cpu() for part in torch.split(latents, PREVIEW_IMAGES)])

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor that going on needs; the VAE's file is not needed again."""
        encoder = {} if self.encoder is None else self.encoder.state_dict()
        return flatten_tensors(
            {
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "ema": self.ema.model.state_dict(),
                "encoder": encoder,
                "prior": self.prior.state_dict(),
                "origin": {} if self.drift_reference is None else self.drift_reference.state_dict(),
                "adaptive": {} if self.adaptive_augment is None else self.adaptive_augment.state_dict(),
                "optimizer_g": optimizer_state_dict(self.optimizer_g, self.generator),
                "optimizer_d": optimizer_state_dict(self.optimizer_d, self.discriminator),
            }
        )

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave. Raises VaeganError, naming `path`, when it does not fit."""
        load_strict(self.generator, strip_prefix(tensors, "generator"), path)
        load_strict(self.discriminator, strip_prefix(tensors, "discriminator"), path)
        load_strict(self.ema.model, strip_prefix(tensors, "ema"), path)
        encoder = strip_prefix(tensors, "encoder")
        if encoder:
            self.encoder = self.encoder or Encoder(self.model_config).to(self.device_ctx.device).eval()
            load_strict(self.encoder, encoder, path)
        load_strict(self.prior, strip_prefix(tensors, "prior"), path)
        self.drift_reference = DecoderDrift.from_state_dict(
            strip_prefix(tensors, "origin"), self.model_config, self.device_ctx.device
        )
        if self.adaptive_augment is not None:
            self.adaptive_augment.load_state_dict(strip_prefix(tensors, "adaptive"))
        load_optimizer_state_dict(self.optimizer_g, self.generator, strip_prefix(tensors, "optimizer_g"))
        load_optimizer_state_dict(self.optimizer_d, self.discriminator, strip_prefix(tensors, "optimizer_d"))

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights to `path`, with what they scored."""
        save_model(
            path, self.inference_model(), self.kind, self.model_config, step, step * self.settings.batch_size, kid
        )
