"""Training of a GAN, whose generator may start as a VAE's decoder, or as another GAN's generator."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.checkpoint import flatten_tensors, load_strict, save_model, strip_prefix
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GAMMA, GAMMA_FINE_VAE, LR_G, LR_G_ROUGH_VAE, GANSettings
from vaegan.data.classes import ClassIds
from vaegan.data.memmap import ImageArray, strided_indices, strided_subset
from vaegan.errors import VaeganError
from vaegan.events import Event
from vaegan.models.discriminator import (
    MBSTD_GROUP_SIZE,
    Discriminator,
    GANForInference,
    Generator,
    split_feature_decoder,
)
from vaegan.models.prior import Prior
from vaegan.models.vae import VAE, Encoder
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.augment import AdaptiveAugment
from vaegan.training.gan_batch import GANBatchMaker
from vaegan.training.gan_objective import GANObjective
from vaegan.training.optim import (
    EMA,
    cosine_anneal,
    freeze_layers,
    inverse_sqrt_decay,
    linear_warmup,
    load_optimizer_state_dict,
    make_optimizer,
    optimizer_state_dict,
)
from vaegan.training.precision import DeviceContext
from vaegan.training.rng import fork_rng_with_seed
from vaegan.training.start import StartRun
from vaegan.training.trainer import (
    IMAGES_PER_ROW,
    MAX_PREVIEW_CLASSES,
    class_frequencies,
    decode_seeds,
    load_with_new_classes,
    make_class_weights,
    preview_classes,
)
from vaegan.training.vae_init import (
    DecoderDrift,
    add_classes_to_prior,
    init_generator_from_decoder,
    reconstruction_error,
)
from vaegan.training.validation import GAN_VALIDATION_IMAGES, validate_gan
from vaegan.utils.images import make_grid

ADAM_BETAS, MUON_MOMENTUM = (0.0, 0.99), 0.0
FINE_RECON_ERROR, ROUGH_RECON_ERROR = 0.01, 0.02
"""Mean squared errors of encoded images, of values in [-1, 1], up to which a VAE leaves out little, and from which it
leaves out much: PSNRs of 26 and 23 dB."""
PREVIEW_IMAGES = 64
MAX_PRIOR_IMAGES = 8192
"""Images that the weights of a mixture's components for each class are estimated from."""


def rough_fraction(error: float) -> float:
    """Return how much a VAE leaves out, as a fraction.

    Args:
        error: mean squared error of encoded images, of values in [-1, 1].

    Returns:
        0 up to FINE_RECON_ERROR, 1 from ROUGH_RECON_ERROR on, linear between the two.
    """
    fraction = (error - FINE_RECON_ERROR) / (ROUGH_RECON_ERROR - FINE_RECON_ERROR)
    return min(1.0, max(0.0, fraction))


class GANTrainer:
    """Trains a generator against a discriminator (Goodfellow et al. 2014, arXiv 1406.2661); see `Trainer`.

    Args:
        model_config: architecture of the generator and the discriminator.
        settings: options of the training run.
        device_ctx: device and precision.
        vae: initializes the generator (decoder) and the discriminator's trunk (encoder); None for random weights.
        accumulator: splits batches over ranks and micro-batches; by default, there is one of each.
        train_val_images: train and validation images, uint8 [N, C, S, S], for `validate` and ADA.
        image_options: options of preprocess for the weights' metadata.
        start: GAN to start from, with its networks; None for another start.
        class_ids: classes of these images, for a conditional GAN.
    """

    kind = "gan"

    def __init__(
        self,
        model_config: ModelConfig,
        settings: GANSettings,
        device_ctx: DeviceContext,
        vae: VAE | None,
        accumulator: GradientAccumulator | None = None,
        train_val_images: tuple[ImageArray, Tensor] | None = None,
        image_options: Mapping[str, Any] | None = None,
        start: StartRun | None = None,
        class_ids: ClassIds | None = None,
    ) -> None:
        self.image_options = image_options
        self.model_config, self.device_ctx = model_config, device_ctx
        has_start = vae is not None or start is not None
        has_encoder = vae is not None or (start is not None and start.has_encoder)
        settings = settings.with_start_defaults(vae is not None, has_start, settings.init_d_from_encoder, has_encoder)
        self.settings = settings
        self.accumulator, self.lr_scale, self.penalty_scale = accumulator or GradientAccumulator(), 1.0, 1.0
        self.accumulator.group_size = MBSTD_GROUP_SIZE if settings.minibatch_std else 1

        train_images, val_images = train_val_images or (torch.empty(0), torch.empty(0))
        self.train_images = strided_subset(train_images, GAN_VALIDATION_IMAGES).to(device_ctx.device)
        self.val_images = strided_subset(val_images, GAN_VALIDATION_IMAGES).to(device_ctx.device)
        self.preview_val_images = val_images[:IMAGES_PER_ROW]
        train_ids, val_ids = (None, None) if class_ids is None else (class_ids.train, class_ids.val)
        train_subset_ids = None if train_ids is None else strided_subset(train_ids, GAN_VALIDATION_IMAGES)
        self.train_class_weights = self._class_weights(train_subset_ids, len(self.train_images))
        val_class_weights = self._class_weights(val_ids, len(val_images))
        self.val_class_weights = strided_subset(val_class_weights, GAN_VALIDATION_IMAGES)
        self.preview_val_class_weights = val_class_weights[:IMAGES_PER_ROW]

        self.adaptive_augment = None if settings.ada_target is None else AdaptiveAugment(settings.ada_target)
        if self.adaptive_augment is not None and not len(self.val_images):
            raise VaeganError("--ada-target needs validation images: prepare the dataset with --val-fraction 0.1")

        with fork_rng_with_seed(settings.seed, "gan"):
            self.generator = Generator(model_config)
            reconstructs = bool(settings.d_recon_weight)
            self.discriminator = Discriminator(model_config, bool(settings.minibatch_std), reconstructs)
        device_ctx.prepare(self.generator)
        device_ctx.prepare(self.discriminator)
        self.prior = self._make_prior(vae, start, train_images, class_ids).to(device_ctx.device)
        self.batch_maker = GANBatchMaker(
            settings,
            device_ctx.device,
            self.accumulator,
            self.adaptive_augment,
            self.val_images,
            self.val_class_weights,
            self.prior.noise_dim,
            model_config.num_classes,
        )
        networks = (self.generator, self.discriminator, self.prior)
        self.objective = GANObjective(settings, device_ctx, self.accumulator, *networks, self.batch_maker.augment)

        self.lr_g = LR_G if settings.lr_g is None else settings.lr_g
        self.gamma = GAMMA if settings.gamma is None else settings.gamma

        # networks to start from
        self.encoder: Encoder | None = None
        self.decoder_difference: float | None = None
        self.recon_error: float | None = None
        self.drift_reference: DecoderDrift | None = None
        if vae is not None:
            self._init_from_vae(vae)
        if start is not None:
            self._init_from_gan(start)
        self._set_discriminator_trainable(True)

        self.ema = EMA(self.generator, settings.ema_halflife)
        self.optimizer_g = self._make_optimizer(self.generator, self.lr_g)
        self.optimizer_d = self._make_optimizer(self.discriminator, settings.lr_d)

    def _make_optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        options = (ADAM_BETAS, MUON_MOMENTUM, self.settings.update_clip, self.device_ctx.precision)
        return make_optimizer(self.settings.optimizer, network, lr, *options)

    def _make_prior(
        self, vae: VAE | None, start: StartRun | None, train_images: ImageArray, class_ids: ClassIds | None
    ) -> Prior:
        """Return the prior of the VAE or GAN to start from, with the classes of this run, or a new one."""
        config, device_ctx = self.model_config, self.device_ctx
        source = vae if vae is not None else start.networks if start is not None else None
        prior = source.prior if source is not None and config.prior == "mixture" else Prior(config)
        if vae is not None and prior.num_classes < config.num_classes and class_ids is not None:
            rows = strided_indices(len(train_images), MAX_PRIOR_IMAGES)
            vae.encoder.eval().to(device_ctx.device)
            prior = add_classes_to_prior(
                vae, config, train_images[rows], class_ids.train[rows], self.settings.seed, device_ctx.autocast
            )
        if class_ids is not None:
            prior.class_frequencies.copy_(class_frequencies(class_ids.train, config.num_classes))
        return prior

    def _init_from_vae(self, vae: VAE) -> None:
        self.decoder_difference = init_generator_from_decoder(vae, self.generator)
        self._set_encoder(vae.encoder, from_vae=True)
        if self.settings.init_d_from_encoder:
            load_strict(self.discriminator.trunk, vae.encoder.trunk.state_dict(), Path("the VAE's encoder"))

    def _init_from_gan(self, start: StartRun) -> None:
        networks, path = start.networks, start.weights.path
        assert isinstance(networks, GANForInference)
        load_with_new_classes(self.generator, networks.decoder.state_dict(), path)
        if networks.encoder is not None:
            self._set_encoder(networks.encoder, from_vae=False)
        if start.discriminator is not None:
            self._load_discriminator(start.discriminator, path)
        elif networks.encoder is not None and self.settings.init_d_from_encoder:
            load_strict(self.discriminator.trunk, networks.encoder.trunk.state_dict(), path)

    def _load_discriminator(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Copy the discriminator of another run, which may have been trained with or without a feature decoder."""
        tensors, feature_decoder = split_feature_decoder(tensors)
        own_feature_decoder = split_feature_decoder(self.discriminator.state_dict())[1]
        if own_feature_decoder:
            tensors |= feature_decoder or own_feature_decoder
        load_with_new_classes(self.discriminator, tensors, path)

    def _reconstructs(self) -> bool:
        return self.discriminator.feature_decoder is not None

    def _set_encoder(self, encoder: Encoder, from_vae: bool) -> None:
        """Keep the encoder, and what the generator decodes now, to measure its drift from it."""
        self._freeze_encoder(encoder)
        if len(self.train_images) and (from_vae or self._reconstructs()):
            error = reconstruction_error(self.generator, encoder, self.train_images, self.train_class_weights)
            self.recon_error = error
            self._adapt(rough_fraction(error), from_vae)
        self.drift_reference = DecoderDrift.from_decoder(
            self.generator, encoder, self.prior, self.preview_val_images, self.preview_val_class_weights
        )

    def _adapt(self, fraction: float, from_vae: bool) -> None:
        """Set what depends on how much is left out: from a VAE also rate and gamma, where the user has not."""
        if self._reconstructs():
            self._set_d_recon_weight(self.objective.d_recon_weight * fraction)
        if from_vae and self.settings.lr_g is None:
            self.lr_g = LR_G + fraction * (LR_G_ROUGH_VAE - LR_G)
        if from_vae and self.settings.gamma is None:
            self.gamma = GAMMA_FINE_VAE + fraction * (GAMMA - GAMMA_FINE_VAE)

    def _set_d_recon_weight(self, weight: float) -> None:
        """Set the weight of the discriminator's reconstruction loss; with 0, there is no feature decoder to train."""
        self.objective.d_recon_weight = weight
        if not weight:
            self.discriminator.feature_decoder = None

    def _freeze_encoder(self, encoder: Encoder) -> None:
        """Keep the encoder, which is not trained; steps use it with weights that are cast once."""
        self.encoder = encoder.eval().requires_grad_(False)
        self.device_ctx.prepare(self.encoder)
        self.objective.encoder = self.device_ctx.with_cast_weights(self.encoder)

    def _set_discriminator_trainable(self, is_trainable: bool) -> None:
        """Turn the discriminator's gradients on or off; its frozen layers never have any (FreezeD)."""
        self.discriminator.requires_grad_(is_trainable)
        freeze_layers(self.discriminator.trunk.layers, self.settings.freeze_d)

    def _class_weights(self, class_ids: Tensor | None, count: int) -> Tensor:
        return make_class_weights(class_ids, count, self.model_config.num_classes, self.device_ctx.device)

    def step(self, images: Tensor, step: int, class_ids: Tensor | None = None) -> dict[str, Tensor] | None:
        """Take one step of both networks.

        Args:
            images: this rank's, uint8 [B, C, S, S].
            step: number of the step, from 0.
            class_ids: of a conditional GAN, the number of each image's class, int64 [B].

        Returns:
            scalar metrics by name; None if the step was skipped. If the generator's gradients were not finite, the
            discriminator has already changed.
        """
        settings = self.settings
        batch_size = self.accumulator.global_batch_size(len(images))
        images_seen = (step + 1) * batch_size
        recon_fraction = self._recon_fraction(step, batch_size)
        batch = self.batch_maker.make(images, step, recon_fraction, class_ids)
        is_d_warmup = step < (settings.d_warmup_steps or 0)
        lr_scale = self.lr_scale * inverse_sqrt_decay(images_seen, settings.lr_decay_start)

        # discriminator step; gradient penalties are lazy: computed every gp_interval steps, and weighted by it
        self.optimizer_d.param_groups[0]["lr"] = settings.lr_d * lr_scale
        gamma = self._current_gamma(images_seen) if step % settings.gp_interval == 0 else 0.0
        d_backward = partial(self.objective.discriminator_backward, gamma=gamma, keep_fake=not is_d_warmup)
        metrics = self.accumulator.step(self.optimizer_d, batch, d_backward)
        if metrics is None:
            return None

        # generator step, not during the discriminator's warm-up
        if not is_d_warmup:
            self.optimizer_g.param_groups[0]["lr"] = self.lr_g * lr_scale
            self._set_discriminator_trainable(False)
            try:
                patch_filters = self.batch_maker.draw_patch_filters(step, images.shape[1], images.shape[-1])
                g_backward = partial(
                    self.objective.generator_backward, recon_fraction=recon_fraction, patch_filters=patch_filters
                )
                on_split = partial(self.objective.match_patches, batch, patch_filters) if patch_filters else None
                g_metrics = self.accumulator.step(self.optimizer_g, batch, g_backward, on_split=on_split)
            finally:
                self._set_discriminator_trainable(True)
            if g_metrics is None:
                return None
            metrics |= g_metrics

        # EMA and ADA
        if not is_d_warmup:
            self.ema.update(self.generator, images_seen, batch_size)
        if self.adaptive_augment is not None:
            metrics = self.adaptive_augment.update(metrics, batch_size)
        return metrics

    def _current_gamma(self, images_seen: int) -> float:
        settings = self.settings
        final = self.gamma if settings.gamma_final is None else settings.gamma_final
        return self.penalty_scale * cosine_anneal(images_seen, settings.gamma_anneal_images, self.gamma, final)

    def _recon_fraction(self, step: int, batch_size: int) -> float:
        """Return the fraction of a global batch's rows with a reconstruction loss, which fades.

        It is a whole number of rows, and at least one unless it is 0.
        """
        settings = self.settings
        initial, final = settings.recon_fraction, min(settings.recon_fraction, settings.recon_fraction_final)
        faded = linear_warmup(step * batch_size, settings.recon_fade) if settings.recon_fade else 0.0
        fraction = initial + (final - initial) * faded
        if self.encoder is None or settings.recon_weight == 0 or fraction == 0:
            return 0.0
        return max(1, round(fraction * batch_size)) / batch_size

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measure the drift from the VAE's decoder, and compute the metrics of `validate_gan`.

        Returns:
            decoder_drift (with a VAE), and the others (with validation images).
        """
        metrics = {}
        if self.drift_reference is not None:
            metrics["decoder_drift"] = self.drift_reference.distance(self.ema.model)
        if len(self.val_images):
            metrics |= validate_gan(
                self.inference_model(),
                self.generator,
                self.discriminator,
                self.train_images,
                self.val_images,
                self.train_class_weights,
                self.val_class_weights,
            )
        return metrics

    def final_messages(self, metrics: Mapping[str, float], images_seen: int) -> list[Event]:
        """Return no messages: `vaegan evaluate` rates the samples.

        Args:
            metrics: newest validation metrics.
            images_seen: training images seen.

        Returns:
            an empty list.
        """
        return []

    def inference_model(self) -> GANForInference:
        """Return the networks for use.

        Returns:
            the EMA generator, the VAE's encoder and the prior.
        """
        return GANForInference(self.ema.model, self.encoder, self.prior)

    @torch.no_grad()
    def preview_grid(self) -> Tensor:
        """Decode the latents of seeds 0 to 63 with the EMA generator, with a class in each row.

        Returns:
            grid of images, uint8 [C, H, W].
        """
        num_rows = max(PREVIEW_IMAGES // IMAGES_PER_ROW, min(self.model_config.num_classes, MAX_PREVIEW_CLASSES))
        row_classes = preview_classes(num_rows, self.model_config.num_classes)
        count = num_rows * IMAGES_PER_ROW
        images = decode_seeds(self.ema.model, self.prior, count, self.device_ctx.device, row_classes)
        return make_grid(images, columns=IMAGES_PER_ROW)

    def drift_grid(self) -> Tensor | None:
        """Return the VAE decoder's and the generator's images of the same latents.

        Returns:
            uint8 [C, H, W]; None without a VAE.
        """
        if self.drift_reference is None:
            return None
        return self.drift_reference.preview_grid(self.ema.model, self.preview_val_images)

    def generate_samples(self, count: int) -> Tensor:
        """Decode the latents of the first seeds with the EMA generator.

        Args:
            count: number of samples.

        Returns:
            uint8 [count, C, S, S], on the CPU.
        """
        return decode_seeds(self.ema.model, self.prior, count, self.device_ctx.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that a resumed run needs; the VAE's file is not needed again.

        Returns:
            tensors by name.
        """
        return flatten_tensors(
            {
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "ema": self.ema.model.state_dict(),
                "encoder": {} if self.encoder is None else self.encoder.state_dict(),
                "prior": self.prior.state_dict(),
                "adapted": {name: torch.tensor(value, dtype=torch.float64) for name, value in self.adapted().items()},
                "drift_reference": {} if self.drift_reference is None else self.drift_reference.state_dict(),
                "adaptive_augment": {} if self.adaptive_augment is None else self.adaptive_augment.state_dict(),
                "optimizer_g": optimizer_state_dict(self.optimizer_g, self.generator),
                "optimizer_d": optimizer_state_dict(self.optimizer_d, self.discriminator),
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
        self._load_adapted(strip_prefix(tensors, "adapted"), path)
        load_strict(self.generator, strip_prefix(tensors, "generator"), path)
        load_strict(self.discriminator, strip_prefix(tensors, "discriminator"), path)
        load_strict(self.ema.model, strip_prefix(tensors, "ema"), path)
        encoder_tensors = strip_prefix(tensors, "encoder")
        if encoder_tensors:
            encoder = self.encoder or Encoder(self.model_config)
            load_strict(encoder, encoder_tensors, path)
            self._freeze_encoder(encoder)
        load_strict(self.prior, strip_prefix(tensors, "prior"), path)
        self.drift_reference = DecoderDrift.from_state_dict(
            strip_prefix(tensors, "drift_reference"), self.model_config, self.device_ctx.device
        )
        if self.adaptive_augment is not None:
            self.adaptive_augment.load_state_dict(strip_prefix(tensors, "adaptive_augment"))
        load_optimizer_state_dict(self.optimizer_g, self.generator, strip_prefix(tensors, "optimizer_g"))
        load_optimizer_state_dict(self.optimizer_d, self.discriminator, strip_prefix(tensors, "optimizer_d"))

    def adapted(self) -> dict[str, float]:
        """Return what may depend on the VAE's error, by the names of its options.

        Returns:
            values by name.
        """
        return {"lr_g": self.lr_g, "gamma": self.gamma, "d_recon_weight": self.objective.d_recon_weight}

    def _load_adapted(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Restore what `adapted` returned, and leave out a feature decoder whose loss has no weight."""
        if not tensors and None not in (self.settings.lr_g, self.settings.gamma) and not self.settings.d_recon_weight:
            return  # an older checkpoint: nothing depended on the error
        for name in self.adapted():
            if name not in tensors or tensors[name].numel() != 1:
                raise VaeganError(f"{path} is damaged: 'adapted.{name}' is missing or no number")
        had_feature_decoder = self._reconstructs()
        self.lr_g, self.gamma = float(tensors["lr_g"]), float(tensors["gamma"])
        self._set_d_recon_weight(float(tensors["d_recon_weight"]))
        if had_feature_decoder and not self._reconstructs():
            self.optimizer_d = self._make_optimizer(self.discriminator, self.settings.lr_d)

    def save_weights(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the weights for use.

        Args:
            path: file to write.
            step: steps done.
            kid: their KID, if it was measured.

        Raises:
            VaeganError: if the file cannot be written.
        """
        images_seen = step * self.settings.batch_size
        model = self.inference_model()
        save_model(path, model, self.kind, self.model_config, step, images_seen, kid, self.image_options)
