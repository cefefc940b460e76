"""Training a VAE."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import fill, flatten, publish, under
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import VAESettings
from vaegan.data.memmap import Pictures, some_of
from vaegan.events import Event, Note, Warned
from vaegan.losses.vae import BATCH_MEANS, LIKELIHOODS, kl_per_axis
from vaegan.models.latent_whitening import fold
from vaegan.models.vae import VAE, Posterior
from vaegan.training.accumulation import Shares
from vaegan.training.ema import EMA
from vaegan.training.optim import optimizer_for, optimizer_tensors, restore_optimizer
from vaegan.training.precision import Place
from vaegan.training.rng import StepRandom, derive, seeded
from vaegan.training.schedules import fallen, risen
from vaegan.training.train_augment import jittered, mirrored
from vaegan.training.vae_metrics import measure_vae, per_dimension
from vaegan.utils.images import grid, to_float, to_uint8
from vaegan.vae_diagnostics import latents, quality, warnings

BETAS, MOMENTUM = (0.9, 0.99), 0.95
FOLD_PICTURES, FOLD_BATCH = 8192, 128
VALIDATION_PICTURES = 512


class VAETrainer:
    """Maximises the evidence lower bound (Kingma & Welling 2014, arXiv 1312.6114, eq. 3)."""

    kind = "vae"

    def __init__(
        self,
        config: ModelConfig,
        settings: VAESettings,
        place: Place,
        train: Pictures,
        held_out: Tensor,
        shares: Shares | None = None,
    ) -> None:
        """Build for pictures uint8 [N, C, S, S]; `train` is only read for folding."""
        self.config, self.settings, self.place = config, settings, place
        self.shares, self.rate_scale, self.penalty_scale = shares or Shares(), 1.0, 1.0
        self._mean: Tensor | None = None
        self._costly: Tensor | None = None
        with seeded(settings.seed, "vae"):
            self.vae = VAE(config)
        place.put(self.vae)
        self.ema = EMA(self.vae, settings.ema_halflife)
        self.optimizer = optimizer_for(settings.optimizer, self.vae, settings.lr, BETAS, MOMENTUM)
        self.likelihood = LIKELIHOODS[settings.likelihood]
        generator = torch.Generator().manual_seed(derive(settings.seed, "subset"))
        wanted = max(FOLD_PICTURES, 16 * config.latent_dim)
        order = torch.randperm(len(train), generator=generator)[:wanted]
        self.train, self.order = train, order
        self.seen = train[order[:VALIDATION_PICTURES]]
        self.held_out = some_of(held_out, VALIDATION_PICTURES)
        self._folded: VAE | None = None

    def step(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """Take one step on uint8 [B, C, S, S]; returns scalars in nats per picture, none where it was left out."""
        settings, shares, count = self.settings, self.shares, len(pictures)
        whole, random = shares.whole(count), StepRandom(settings.seed, step, self.place.device)
        images = (step + 1) * whole
        real = to_float(pictures)
        if settings.mirror:
            real = mirrored(real, shares.cut(random.uniform("mirror", whole)))
        if settings.jitter:
            chances = random.uniform("jitter", whole, 4 + 2 * self.config.channels)
            real = jittered(real, shares.cut(chances), settings.jitter)
        real = real.to(memory_format=torch.channels_last)
        noise = shares.cut(random.normal("noise", whole, self.config.latent_dim))
        beta = settings.beta * risen(images, settings.kl_warmup)

        def work(rows: slice, share: float) -> dict[str, Tensor]:
            reconstruction, axes = self._losses(real[rows], noise[rows], self._batch_mean(real, noise, share))
            kl = axes.sum(1).mean()
            paid = (axes.mean(0) * self._costly_axes(real, axes, share)).sum() if settings.free_bits else kl
            ((reconstruction + beta * paid) * share).backward()  # type: ignore[no-untyped-call]
            return {"reconstruction": reconstruction.detach(), "kl": kl.detach()}

        self._mean = self._costly = None
        rate = settings.lr * self.rate_scale * risen(images, settings.lr_warmup)
        self.optimizer.param_groups[0]["lr"] = rate * fallen(images, settings.lr_decay)
        metrics = shares.update(self.optimizer, count, work, settings.clip)
        if metrics:
            self.ema.update(self.vae, images, whole)
            self._folded = None
        return metrics | per_dimension(metrics, real[0].numel())

    def _decode(self, real: Tensor, noise: Tensor) -> tuple[Tensor, Posterior]:
        with self.place.autocast():
            decoded, posterior = self.vae(real, noise)
        return decoded.float(), posterior

    def _losses(self, real: Tensor, noise: Tensor, mean: Tensor | None) -> tuple[Tensor, Tensor]:
        """Reconstruction of some pictures, their mean, and KL of each per axis, [B, d]."""
        decoded, posterior = self._decode(real, noise)
        return self.likelihood(real, decoded, mean).mean(), kl_per_axis(posterior.mean, posterior.log_var)

    def _costly_axes(self, real: Tensor, axes: Tensor, share: float) -> Tensor:
        """Which axes the KL term counts, bool [d]: by the mean over the whole batch, worked out once a step.

        Those that are free cost a constant (1606.04934, eq. 15), which has no gradient. axes: KL of a part, [B, d].
        """
        if self._costly is None:
            mean = (
                self.shares.mean(len(real), lambda rows: self._kl(real[rows])) if share < 1 else axes.detach().mean(0)
            )
            self._costly = mean > self.settings.free_bits * math.log(2)
        return self._costly

    def _kl(self, real: Tensor) -> Tensor:
        with self.place.autocast():
            posterior = self.vae.encoder(real)
        return kl_per_axis(posterior.mean, posterior.log_var)

    def _batch_mean(self, real: Tensor, noise: Tensor, share: float) -> Tensor | None:
        """What the likelihood takes from the whole batch, where a part of it is worked on: worked out once a step."""
        of = BATCH_MEANS.get(self.settings.likelihood)
        if of is not None and share < 1 and self._mean is None:
            self._mean = self.shares.mean(
                len(real), lambda rows: of(real[rows], self._decode(real[rows], noise[rows])[0], None)
            )
        return self._mean

    def measure(self) -> dict[str, float]:
        """Numbers of the averaged weights on held-out and on training pictures, as `measure_vae` names them."""
        settings, train = self.settings, self.seen.to(self.place.device)
        return measure_vae(self.ema.model, self.held_out, train, settings.likelihood, self.place, settings.seed)

    def conclusion(self, numbers: Mapping[str, float], images: int) -> list[Event]:
        """What the newest numbers say of the VAE, and what is wrong with it, in words."""
        latent_dim = self.config.latent_dim
        said = {"Held-out pictures": quality(numbers), "Latents": latents(numbers, latent_dim)}
        notes: list[Event] = [Note(f"{name}: {text}") for name, text in said.items() if text]
        return notes + [Warned(text) for text in warnings(numbers, self.settings.beta, latent_dim, images)]

    def model(self) -> VAE:
        """Return what is published: the averaged weights, the aggregated posterior folded in, and its prior."""
        if self._folded is None:
            parts = (self.train[rows] for rows in torch.split(self.order, FOLD_BATCH))
            seed = derive(self.settings.seed, "fold") % 2**31
            self._folded = fold(self.ema.model, parts, seed, self.settings.mirror, self.place.autocast)
        return self._folded

    @torch.no_grad()
    def preview(self) -> Tensor:
        """Sheet, uint8 [C, H, W]: pictures above their reconstructions, then samples from the prior."""
        shown = (self.held_out if len(self.held_out) else self.seen)[:16].to(self.place.device)
        model = self.model()
        real = to_float(shown)
        samples = model.decoder(model.prior.of(range(32)).to(real))
        decoded = to_uint8(model.reconstruct(real))
        rows = [part for k in range(0, len(shown), 8) for part in (shown[k : k + 8], decoded[k : k + 8])]
        return grid(torch.cat([*rows, to_uint8(samples)]).cpu(), columns=8)

    def drift(self) -> None:
        """Nothing: a VAE starts from no other."""

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Pictures uint8 [count, C, S, S] decoded from the prior by what is published, of seeds 0 to count - 1."""
        model = self.model()
        parts = torch.split(model.prior.of(range(count)).to(self.place.device), 64)
        return torch.cat([to_uint8(model.decoder(part)).cpu() for part in parts])

    def stateful(self) -> dict[str, Tensor]:
        """Every tensor that going on needs."""
        return flatten(
            {
                "vae": self.vae.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimizer": optimizer_tensors(self.optimizer, self.vae),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave. Raises VaeganError, naming `path`, when it does not fit."""
        fill(self.vae, under(tensors, "vae"), path)
        fill(self.ema.model, under(tensors, "ema"), path)
        self._folded = None
        restore_optimizer(self.optimizer, self.vae, under(tensors, "optimizer"))

    def publish(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights to `path`, with what they scored."""
        model = self.model()
        publish(path, model, self.kind, model.config, step, step * self.settings.batch_size, kid)
