"""Training a VAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import flatten_tensors, load_strict, save_model, strip_prefix
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import VAESettings
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.diagnostics import describe_latent_usage, describe_reconstruction, vae_warnings
from vaegan.events import Event, Note, WarningMessage
from vaegan.losses.vae import BATCH_STATISTICS, LIKELIHOODS, kl_per_dim
from vaegan.models.latent_whitening import whiten_latents
from vaegan.models.vae import VAE, Posterior
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.ema import EMA
from vaegan.training.optim import load_optimizer_state_dict, make_optimizer, optimizer_state_dict
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import StepRandom, derive_seed, fork_rng_with_seed
from vaegan.training.schedules import inverse_sqrt_decay, linear_warmup
from vaegan.training.train_augment import random_affine_and_color, random_hflip
from vaegan.training.vae_metrics import per_dim_metrics, validate_vae
from vaegan.utils.images import make_grid, to_float, to_uint8

ADAM_BETAS, MUON_MOMENTUM = (0.9, 0.99), 0.95
LATENT_WHITENING_IMAGES, LATENT_WHITENING_BATCH_SIZE = 8192, 128
VALIDATION_IMAGES = 512


class VAETrainer:
    """Maximises the evidence lower bound (Kingma & Welling 2014, arXiv 1312.6114, eq. 3)."""

    kind = "vae"

    def __init__(
        self,
        model_config: ModelConfig,
        settings: VAESettings,
        device_ctx: DeviceContext,
        train_images: ImageArray,
        val_images: Tensor,
        accumulator: GradientAccumulator | None = None,
    ) -> None:
        """Build for pictures uint8 [N, C, S, S]; `train` is only read for folding."""
        self.model_config, self.settings, self.device_ctx = model_config, settings, device_ctx
        self.accumulator, self.lr_scale, self.penalty_scale = accumulator or GradientAccumulator(), 1.0, 1.0
        self._likelihood_stat: Tensor | None = None
        self._paid_kl_axes: Tensor | None = None
        with fork_rng_with_seed(settings.seed, "vae"):
            self.vae = VAE(model_config)
        device_ctx.prepare(self.vae)
        self.ema = EMA(self.vae, settings.ema_halflife)
        self.optimizer = make_optimizer(settings.optimizer, self.vae, settings.lr, ADAM_BETAS, MUON_MOMENTUM)
        self.likelihood_loss = LIKELIHOODS[settings.likelihood]
        generator = torch.Generator().manual_seed(derive_seed(settings.seed, "subset"))
        wanted = max(LATENT_WHITENING_IMAGES, 16 * model_config.latent_dim)
        order = torch.randperm(len(train_images), generator=generator)[:wanted]
        self.train_images, self.whitening_rows = train_images, order
        self.train_subset = train_images[order[:VALIDATION_IMAGES]]
        self.val_images = strided_subset(val_images, VALIDATION_IMAGES)
        self._whitened_model: VAE | None = None

    def step(self, images: Tensor, step: int) -> dict[str, Tensor]:
        """Take one step on uint8 [B, C, S, S]; returns scalars in nats per picture, none where it was left out."""
        settings, shares, count = self.settings, self.accumulator, len(images)
        whole, random = shares.global_batch_size(count), StepRandom(settings.seed, step, self.device_ctx.device)
        images_seen = (step + 1) * whole
        real = to_float(images)
        if settings.mirror:
            real = random_hflip(real, shares.local_rows(random.uniform("mirror", whole)))
        if settings.train_augment:
            chances = random.uniform("jitter", whole, 4 + 2 * self.model_config.channels)
            real = random_affine_and_color(real, shares.local_rows(chances), settings.train_augment)
        real = real.to(memory_format=torch.channels_last)
        noise = shares.local_rows(random.normal("noise", whole, self.model_config.latent_dim))
        beta = settings.beta * linear_warmup(images_seen, settings.kl_warmup)

        def work(rows: slice, share: float) -> dict[str, Tensor]:
            reconstruction, axes = self._recon_loss_and_kl(
                real[rows], noise[rows], self._global_likelihood_stat(real, noise, share)
            )
            kl = axes.sum(1).mean()
            paid = (axes.mean(0) * self._kl_axes_above_free_bits(real, axes, share)).sum() if settings.free_bits else kl
            ((reconstruction + beta * paid) * share).backward()  # type: ignore[no-untyped-call]
            return {"recon_loss": reconstruction.detach(), "kl": kl.detach()}

        self._likelihood_stat = self._paid_kl_axes = None
        rate = settings.lr * self.lr_scale * linear_warmup(images_seen, settings.lr_warmup)
        self.optimizer.param_groups[0]["lr"] = rate * inverse_sqrt_decay(images_seen, settings.lr_decay_start)
        metrics = shares.optimizer_step(self.optimizer, count, work, settings.grad_clip)
        if metrics:
            self.ema.update(self.vae, images_seen, whole)
            self._whitened_model = None
        return metrics | per_dim_metrics(metrics, real[0].numel())

    def _forward(self, real: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        with self.device_ctx.autocast():
            decoded, posterior = self.vae(real, noise)
        return decoded.float(), posterior

    def _recon_loss_and_kl(self, real: Tensor, noise: Tensor, likelihood_stat: Tensor | None) -> tuple[Tensor, Tensor]:
        """Reconstruction of some pictures, their mean, and KL of each per axis, [B, d]."""
        decoded, posterior = self._forward(real, noise)
        return self.likelihood_loss(real, decoded, likelihood_stat).mean(), kl_per_dim(
            posterior.mean, posterior.log_var
        )

    def _kl_axes_above_free_bits(self, real: Tensor, kl_axes: Tensor, weight: float) -> Tensor:
        """Which axes the KL term counts, bool [d]: by the mean over the whole batch, worked out once a step.

        Those that are free cost a constant (1606.04934, eq. 15), which has no gradient. axes: KL of a part, [B, d].
        """
        if self._paid_kl_axes is None:
            mean = (
                self.accumulator.global_mean(len(real), lambda rows: self._kl_per_axis(real[rows]))
                if weight < 1
                else kl_axes.detach().mean(0)
            )
            self._paid_kl_axes = mean > self.settings.free_bits * math.log(2)
        return self._paid_kl_axes

    def _kl_per_axis(self, real: Tensor) -> Tensor:
        with self.device_ctx.autocast():
            posterior = self.vae.encoder(real)
        return kl_per_dim(posterior.mean, posterior.log_var)

    def _global_likelihood_stat(self, real: Tensor, noise: Tensor, weight: float) -> Tensor | None:
        """What the likelihood takes from the whole batch, where a part of it is worked on: worked out once a step."""
        of = BATCH_STATISTICS.get(self.settings.likelihood)
        if of is not None and weight < 1 and self._likelihood_stat is None:
            self._likelihood_stat = self.accumulator.global_mean(
                len(real), lambda rows: of(real[rows], self._forward(real[rows], noise[rows])[0], None)
            )
        return self._likelihood_stat

    def validate(self) -> dict[str, float]:
        """Numbers of the averaged weights on held-out and on training pictures, as `measure_vae` names them."""
        settings, train = self.settings, self.train_subset.to(self.device_ctx.device)
        return validate_vae(self.ema.model, self.val_images, train, settings.likelihood, self.device_ctx, settings.seed)

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """What the newest numbers say of the VAE, and what is wrong with it, in words."""
        latent_dim = self.model_config.latent_dim
        said = {
            "Held-out pictures": describe_reconstruction(metrics),
            "Latents": describe_latent_usage(metrics, latent_dim),
        }
        notes: list[Event] = [Note(f"{name}: {text}") for name, text in said.items() if text]
        return notes + [
            WarningMessage(text) for text in vae_warnings(metrics, self.settings.beta, latent_dim, images_seen)
        ]

    def inference_model(self) -> VAE:
        """Return what is published: the averaged weights, the aggregated posterior folded in, and its prior."""
        if self._whitened_model is None:
            parts = (self.train_images[rows] for rows in torch.split(self.whitening_rows, LATENT_WHITENING_BATCH_SIZE))
            seed = derive_seed(self.settings.seed, "fold") % 2**31
            self._whitened_model = whiten_latents(
                self.ema.model, parts, seed, self.settings.mirror, self.device_ctx.autocast
            )
        return self._whitened_model

    @torch.no_grad()
    def preview_grid(self) -> Tensor:
        """Sheet, uint8 [C, H, W]: pictures above their reconstructions, then samples from the prior."""
        shown = (self.val_images if len(self.val_images) else self.train_subset)[:16].to(self.device_ctx.device)
        model = self.inference_model()
        real = to_float(shown)
        samples = model.decoder(model.prior.sample_seeds(range(32)).to(real))
        decoded = to_uint8(model.reconstruct(real))
        rows = [part for k in range(0, len(shown), 8) for part in (shown[k : k + 8], decoded[k : k + 8])]
        return make_grid(torch.cat([*rows, to_uint8(samples)]).cpu(), columns=8)

    def drift_grid(self) -> None:
        """Nothing: a VAE starts from no other."""

    @torch.no_grad()
    def generate_samples(self, count: int) -> Tensor:
        """Pictures uint8 [count, C, S, S] decoded from the prior by what is published, of seeds 0 to count - 1."""
        model = self.inference_model()
        parts = torch.split(model.prior.sample_seeds(range(count)).to(self.device_ctx.device), 64)
        return torch.cat([to_uint8(model.decoder(part)).cpu() for part in parts])

    def state_dict(self) -> dict[str, Tensor]:
        """Every tensor that going on needs."""
        return flatten_tensors(
            {
                "vae": self.vae.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimizer": optimizer_state_dict(self.optimizer, self.vae),
            }
        )

    def load_state_dict(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave. Raises VaeganError, naming `path`, when it does not fit."""
        load_strict(self.vae, strip_prefix(tensors, "vae"), path)
        load_strict(self.ema.model, strip_prefix(tensors, "ema"), path)
        self._whitened_model = None
        load_optimizer_state_dict(self.optimizer, self.vae, strip_prefix(tensors, "optimizer"))

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights to `path`, with what they scored."""
        model = self.inference_model()
        save_model(path, model, self.kind, model.config, step, step * self.settings.batch_size, kid)
