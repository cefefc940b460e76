"""Training a GAN whose generator is a VAE's decoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vaegan.checkpoint import fill, flatten, publish, under
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings
from vaegan.data.memmap import Pictures, some_of
from vaegan.errors import VaeganError
from vaegan.events import Event
from vaegan.losses.gan import LOSSES, feature_distance, gradient_penalty
from vaegan.metrics.image_quality import psnr
from vaegan.models.discriminator import GROUP, Discriminator, Generator, PublishedGAN
from vaegan.models.prior import Prior
from vaegan.models.vae import VAE, Encoder
from vaegan.training.accumulation import Shares
from vaegan.training.adaptive_augment import CERTAIN, EVERY, NAMES, Adaptive
from vaegan.training.augment import COLUMNS, augment, policy
from vaegan.training.ema import EMA
from vaegan.training.gan_batch import Drawn, mixed, spread
from vaegan.training.optim import optimizer_for, optimizer_tensors, restore_optimizer
from vaegan.training.precision import Place
from vaegan.training.rng import StepRandom, seeded
from vaegan.training.schedules import annealed, fallen
from vaegan.training.train_augment import mirrored
from vaegan.training.vae_init import ROW, Drift
from vaegan.training.vae_transfer import Transfer, transfer
from vaegan.utils.images import grid, to_float, to_uint8

BETAS, MOMENTUM = (0.0, 0.99), 0.0
PREVIEW = 64
LOOKED_AT = 256


class GANTrainer:
    """Generator against discriminator, alternating (Goodfellow et al. 2014, arXiv 1406.2661)."""

    kind = "gan"

    def __init__(
        self,
        config: ModelConfig,
        settings: GANSettings,
        place: Place,
        vae: VAE | None,
        shares: Shares | None = None,
        seen: tuple[Pictures, Tensor] | None = None,
    ) -> None:
        """Build for `config`; `vae`, of the same config but for the prior, gives the generator its weights, and where
        the prior is a mixture, this.

        seen: training and held-out pictures, uint8 [N, C, S, S], that `measure` looks at some of.

        Its encoder's trunk goes into the discriminator, unless told otherwise: a cold discriminator's first gradients
        spoil what a warm generator knows.
        """
        self.config, self.place = config, place
        self.settings = settings = settings.completed(vae is not None)
        self.shares, self.rate_scale, self.penalty_scale = shares or Shares(), 1.0, 1.0
        self.shares.together = GROUP if settings.minibatch_std else 1
        train, held_out = seen or (torch.empty(0), torch.empty(0))
        self.train, self.held_out = (some_of(part, LOOKED_AT).to(place.device) for part in (train, held_out))
        self.shown = held_out[:ROW]
        self.loss, self.augmentations = LOSSES[settings.loss], policy(settings.augment)
        self.adaptive = None if settings.augment_target is None else Adaptive(settings.augment_target)
        if self.adaptive is not None and not len(self.held_out):
            raise VaeganError("--augment-target needs held-out pictures: prepare the set with --held-out 0.1, or so")
        with seeded(settings.seed, "gan"):
            self.generator = Generator(config)
            self.discriminator = Discriminator(config, bool(settings.minibatch_std))
        place.put(self.generator)
        place.put(self.discriminator)
        self.prior = (vae.prior if vae is not None and config.prior == "mixture" else Prior(config)).to(place.device)
        self.encoder: Encoder | None = None
        self.transfer: Transfer | None = None
        self.origin: Drift | None = None
        if vae is not None:
            self.encoder = vae.encoder.eval().requires_grad_(False)
            place.put(self.encoder)
            self.transfer = transfer(vae, self.generator)
            self.origin = Drift.begin(self.generator, self.encoder, self.prior, self.shown)
            if settings.warm_discriminator:
                fill(self.discriminator.trunk, vae.encoder.trunk.state_dict(), Path("the VAE's encoder"))
        self.ema = EMA(self.generator, settings.ema_halflife)
        name, most = settings.optimizer, settings.update_clip
        self.optimizer_g = optimizer_for(name, self.generator, settings.lr_g, BETAS, MOMENTUM, most)
        self.optimizer_d = optimizer_for(name, self.discriminator, settings.lr_d, BETAS, MOMENTUM, most)

    @property
    def _anchors(self) -> bool:
        return self.encoder is not None and self.settings.anchor > 0 and self.settings.anchored > 0

    def _seen(self, pictures: Tensor, chances: Tensor) -> Tensor:
        """What the discriminator sees of pictures: augmented as the policy says."""
        share = 1.0 if self.adaptive is None else self.adaptive.share
        return augment(pictures, chances, self.augmentations, share).contiguous(memory_format=torch.channels_last)

    def _unseen(self, random: StepRandom, step: int, whole: int) -> Tensor:
        """Held-out pictures as the discriminator sees them, as many as training ones: the next that are in turn."""
        rows = mixed(len(self.held_out))[(torch.arange(whole) + step // EVERY * whole) % len(self.held_out)]
        chances = random.uniform("augment held-out", whole, COLUMNS * len(self.augmentations))
        return self._seen(to_float(self.held_out[self.shares.cut(rows)]), self.shares.cut(chances))

    def step(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """Take one step of both networks on uint8 [B, C, S, S]; returns scalars, none where an update was left out.

        Without micro-batches the generator runs once: its update goes back through the pictures that the discriminator
        was just taught on.
        """
        drawn = self._draw(pictures, step)
        count, whole = len(pictures), self.shares.whole(len(pictures))
        head_start = self.encoder is not None and step < (self.settings.head_start or 0)
        images = (step + 1) * whole
        gamma = self._gamma(images) if step % self.settings.penalty_every == 0 else 0.0
        rate_scale = self.rate_scale * fallen(images, self.settings.lr_decay)
        kept: list[Tensor] = []

        def judge(rows: slice, share: float) -> dict[str, Tensor]:
            kept.clear()
            keep, part = self.shares.parts == 1 and not head_start, drawn.part(rows)
            fake = self._fake(part, keep)
            if keep:
                kept.append(fake)
            return self._judge(part.real, fake.detach(), gamma, share, part.unseen)

        def fool(rows: slice, share: float) -> dict[str, Tensor]:
            part = drawn.part(rows)
            return self._fool(part, kept.pop() if kept else self._fake(part, True), share)

        self.optimizer_d.param_groups[0]["lr"] = self.settings.lr_d * rate_scale
        metrics = self.shares.update(self.optimizer_d, count, judge)
        if metrics and not head_start:
            self.optimizer_g.param_groups[0]["lr"] = self.settings.lr_g * rate_scale
            self.discriminator.requires_grad_(False)
            try:
                fooled = self.shares.update(self.optimizer_g, count, fool)
            finally:
                self.discriminator.requires_grad_(True)
            if not fooled:
                return {}
            self.ema.update(self.generator, images, whole)
            metrics |= fooled
        return self.adaptive.hear(metrics, whole) if metrics and self.adaptive is not None else metrics

    def _gamma(self, images: int) -> float:
        """What the gradient penalties weigh after so many pictures."""
        settings = self.settings
        end = settings.gamma if settings.gamma_end is None else settings.gamma_end
        return self.penalty_scale * annealed(images, settings.gamma_over, settings.gamma, end)

    def _draw(self, pictures: Tensor, step: int) -> Drawn:
        """Turn uint8 [B, C, S, S] into what the discriminator sees of them, and draw what the step needs at random."""
        random, shares = StepRandom(self.settings.seed, step, self.place.device), self.shares
        whole = shares.whole(len(pictures))
        clean = to_float(pictures)
        if self.settings.mirror:
            clean = mirrored(clean, shares.cut(random.uniform("mirror", whole)))
        noise = shares.cut(random.normal("latents", whole, self.prior.columns))
        columns = COLUMNS if self.adaptive is not None else COLUMNS - 1
        chances = random.uniform("augment", 2 * whole, columns * len(self.augmentations))
        of_real, of_fake = shares.cut(chances[:whole]), shares.cut(chances[whole:])
        share = max(self.settings.anchored, 1 / whole) if self._anchors else 0.0
        anchored = shares.cut(spread(share, whole)).nonzero().flatten()
        if len(anchored):
            of_fake = of_fake.index_copy(0, anchored.to(of_fake.device), of_real[anchored.to(of_real.device)])
        real = self._seen(clean, of_real)
        adapts = self.adaptive is not None and self.adaptive.due(step)
        unseen = self._unseen(random, step, whole) if adapts else clean[:0]
        return Drawn(clean, real, noise, of_fake, anchored, unseen)

    def _latents(self, part: Drawn) -> Tensor:
        """Draws of the prior, but for anchored rows: a sample of the true picture's posterior."""
        latents: Tensor = self.prior(part.noise)
        if self.encoder is None or not len(part.anchored):
            return latents
        rows = part.anchored.to(latents.device)
        with torch.no_grad(), self.place.autocast():
            posterior = self.encoder(part.clean[rows].contiguous(memory_format=torch.channels_last))
        return latents.index_copy(0, rows, posterior.sample(part.noise[rows, : latents.shape[1]]))

    def _fake(self, part: Drawn, grad: bool) -> Tensor:
        """What the discriminator sees of generated pictures."""
        latents = self._latents(part)
        with torch.set_grad_enabled(grad), self.place.autocast():
            fake = self.generator(latents).float()
        return self._seen(fake, part.chances)

    def _judge(
        self, real: Tensor, fake: Tensor, gamma: float, share: float, unseen: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Leave the discriminator's gradient of these pictures behind; R1 and R2 count as much more as they are rare.

        real, fake: [B, C, S, S], a pair in each row; gamma: 0 for no penalties; share: of the whole batch; unseen:
        held-out pictures, to say what it makes of them, if any.
        """
        batch, penalise = len(real), gamma > 0
        both = torch.cat([real, fake]).contiguous(memory_format=torch.channels_last)
        both.requires_grad_(penalise)
        with self.place.autocast():
            logits = self.discriminator(both, sources=2)
        on_real, on_fake = logits[:batch], logits[batch:]
        loss = self.loss.discriminator(on_real, on_fake)
        metrics = {"loss_d": loss.detach(), "margin": (on_real - on_fake).detach().mean()}
        if penalise:
            penalty = gradient_penalty(logits, both)
            r1, r2 = penalty[:batch].mean(), penalty[batch:].mean()
            loss = loss + self.settings.penalty_every * gamma / 2 * (r1 + r2)
            metrics |= {"r1": r1.detach(), "r2": r2.detach()}
        if unseen is not None and len(unseen):
            with torch.no_grad(), self.place.autocast():
                on_unseen = self.discriminator(unseen)
            metrics |= dict(zip(NAMES, (on_real.detach().mean(), on_unseen.mean()), strict=True))
        (loss * share).backward()  # type: ignore[no-untyped-call]
        return metrics

    def _fool(self, part: Drawn, fake: Tensor, share: float) -> dict[str, Tensor]:
        """Leave the generator's gradient behind, through the updated discriminator; `fake` hangs on its graph."""
        with self.place.autocast():
            on_fake, levels = self.discriminator.look(fake)
            on_real, wanted = on_fake, levels
            if self.loss.paired or self._anchors:
                with torch.no_grad():
                    on_real, wanted = self.discriminator.look(part.real)
        loss = self.loss.generator(on_real, on_fake)
        metrics = {"loss_g": loss.detach()}
        if self._anchors:
            rows = part.anchored.to(fake.device)
            distance = feature_distance([level[rows] for level in levels], [level[rows] for level in wanted])
            drift = distance.sum() / len(fake)
            loss = loss + self.settings.anchor * drift
            metrics["anchor"] = drift.detach() / self.settings.anchored
        (loss * share).backward()  # type: ignore[no-untyped-call]
        return metrics

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Measure what the discriminator knows by heart, and how well the encoder still fits; held-out pictures needed.

        overfitting: how far towards generated faces the discriminator puts held-out ones, from 0 (as training faces) to
        1 (Karras et al. 2020, arXiv 2006.06676, eq. 1). held_out_psnr, where there is an encoder: PSNR in dB of what
        the averaged generator makes of encoded held-out faces. drift, which needs none: see `Drift.distance`.
        """
        found = {} if self.origin is None else {"drift": self.origin.distance(self.ema.model)}
        if not len(self.held_out):
            return found
        latents = self.prior.of(range(LOOKED_AT)).to(self.place.device)
        fake = torch.cat([self.generator(part) for part in torch.split(latents, PREVIEW)])
        held_out = to_float(self.held_out)
        train, unseen, made = (self._mean_logit(part) for part in (to_float(self.train), held_out, fake))
        if train - made > CERTAIN:
            found["overfitting"] = (train - unseen) / (train - made)
        if self.encoder is not None:
            errors = []
            for real in torch.split(held_out.contiguous(memory_format=torch.channels_last), PREVIEW):
                errors.append(psnr(real, self.ema.model(self.encoder(real).mean)))
            found["held_out_psnr"] = float(torch.cat(errors).mean())
        return found

    def _mean_logit(self, pictures: Tensor) -> float:
        pictures = pictures[mixed(len(pictures)).to(pictures.device)]
        return float(torch.cat([self.discriminator(part) for part in torch.split(pictures, PREVIEW)]).mean())

    def conclusion(self, numbers: Mapping[str, float], images: int) -> list[Event]:
        """Nothing: samples are judged by `vaegan evaluate`."""
        return []

    def model(self) -> PublishedGAN:
        """Return what is published: the averaged generator, the encoder that it came with, and the prior."""
        return PublishedGAN(self.ema.model, self.encoder, self.prior)

    @torch.no_grad()
    def preview(self) -> Tensor:
        """Sheet, uint8 [C, H, W], of the averaged generator on the latents of seeds 0 to 63."""
        latents = self.prior.of(range(PREVIEW))
        return grid(to_uint8(self.ema.model(latents.to(self.place.device))).cpu(), columns=8)

    def drift(self) -> Tensor | None:
        """Sheet, uint8 [C, H, W], of the VAE's decoder beside the averaged generator; None for a run from scratch."""
        return None if self.origin is None else self.origin.sheet(self.ema.model, self.shown)

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Pictures uint8 [count, C, S, S] of the averaged generator, of seeds 0 to count - 1."""
        latents = self.prior.of(range(count)).to(self.place.device)
        return torch.cat([to_uint8(self.ema.model(part)).cpu() for part in torch.split(latents, PREVIEW)])

    def stateful(self) -> dict[str, Tensor]:
        """Every tensor that going on needs; the VAE's file is not needed again."""
        encoder = {} if self.encoder is None else self.encoder.state_dict()
        return flatten(
            {
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "ema": self.ema.model.state_dict(),
                "encoder": encoder,
                "prior": self.prior.state_dict(),
                "origin": {} if self.origin is None else self.origin.stateful(),
                "adaptive": {} if self.adaptive is None else self.adaptive.stateful(),
                "optimizer_g": optimizer_tensors(self.optimizer_g, self.generator),
                "optimizer_d": optimizer_tensors(self.optimizer_d, self.discriminator),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave. Raises VaeganError, naming `path`, when it does not fit."""
        fill(self.generator, under(tensors, "generator"), path)
        fill(self.discriminator, under(tensors, "discriminator"), path)
        fill(self.ema.model, under(tensors, "ema"), path)
        encoder = under(tensors, "encoder")
        if encoder:
            self.encoder = self.encoder or Encoder(self.config).to(self.place.device).eval()
            fill(self.encoder, encoder, path)
        fill(self.prior, under(tensors, "prior"), path)
        self.origin = Drift.restored(under(tensors, "origin"), self.config, self.place.device)
        if self.adaptive is not None:
            self.adaptive.restore(under(tensors, "adaptive"))
        restore_optimizer(self.optimizer_g, self.generator, under(tensors, "optimizer_g"))
        restore_optimizer(self.optimizer_d, self.discriminator, under(tensors, "optimizer_d"))

    def publish(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights to `path`, with what they scored."""
        publish(path, self.model(), self.kind, self.config, step, step * self.settings.batch_size, kid)
