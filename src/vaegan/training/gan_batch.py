"""Batches of a GAN: augmented images, noise, and which rows have a reconstruction loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaegan.config.settings import GANSettings
from vaegan.losses.patches import PATCH_SIZE, PatchFilters
from vaegan.training.accumulation import Batch, GradientAccumulator, evenly_spaced_mask
from vaegan.training.augment import (
    ADA_INTERVAL,
    RANDOMS_PER_IMAGE,
    AdaptiveAugment,
    augment,
    parse_augmentations,
    random_hflip,
)
from vaegan.training.rng import StepRandom, derive_seed, fixed_permutation
from vaegan.training.trainer import make_class_weights
from vaegan.utils.device import copy_to_device
from vaegan.utils.images import to_float

NUM_PATCH_FILTERS = 8


@dataclass
class GANBatch(Batch):
    """Data of one step, a row per image of this rank.

    Attributes:
        real: training images, float [B, C, S, S] in [-1, 1].
        real_aug: the same, augmented for the discriminator.
        noise: standard normal float [B, noise_dim], which the prior turns into latents.
        rand_fake: uniform random numbers that augment the generated images.
        is_recon: bool [B], True for rows with a reconstruction loss, whose latents are encoded from `real`. It is on
            the CPU, because finding the rows of a mask on a GPU would wait for all its work.
        class_weights: float [B, num_classes], of the real images; the generated image of a row has the same class. So
            classes are as frequent among generated images, and a relativistic loss compares images of one class.
        val_real_aug: augmented validation images in a step that updates ADA, otherwise no rows.
        val_class_weights: their classes.
        patch_targets: what the responses of each image to the patch filters should be, float [B, F, P]; None until they
            are known. They depend on the whole global batch.
        fake_aug: augmented generated images with their graph, kept by the discriminator's step for the generator's.
    """

    real: Tensor
    real_aug: Tensor
    noise: Tensor
    rand_fake: Tensor
    is_recon: Tensor
    class_weights: Tensor
    val_real_aug: Tensor
    val_class_weights: Tensor
    patch_targets: Tensor | None = None
    fake_aug: Tensor | None = field(default=None, init=False)

    @property
    def recon_rows(self) -> Tensor:
        """Return the indices of the rows with `is_recon`, int64 on the CPU."""
        return self.is_recon.nonzero().flatten()


class GANBatchMaker:
    """Makes batches of training images. Random numbers are drawn for the global batch and then split.

    Args:
        settings: options of the training run.
        device: where batches are.
        accumulator: splits batches over ranks.
        adaptive_augment: adapts the probability of the augmentations; None to augment all images.
        val_images: uint8 [N, C, S, S] on the device; only needed for `adaptive_augment`.
        val_class_weights: their classes, float [N, num_classes].
        noise_dim: random numbers that the prior needs for a latent.
        num_classes: 0 for an unconditional GAN.
    """

    def __init__(
        self,
        settings: GANSettings,
        device: torch.device,
        accumulator: GradientAccumulator,
        adaptive_augment: AdaptiveAugment | None,
        val_images: Tensor,
        val_class_weights: Tensor,
        noise_dim: int,
        num_classes: int,
    ) -> None:
        self.settings, self.device, self.accumulator = settings, device, accumulator
        self.adaptive_augment, self.augmentations = adaptive_augment, parse_augmentations(settings.augment)
        self.val_images, self.val_class_weights = val_images, val_class_weights
        self.noise_dim, self.num_classes = noise_dim, num_classes

    def make(self, images: Tensor, step: int, recon_fraction: float, class_ids: Tensor | None = None) -> GANBatch:
        """Augment training images and draw the step's random numbers.

        Args:
            images: this rank's, uint8 [B, C, S, S].
            step: number of the step, from 0.
            recon_fraction: fraction of the global batch's rows with a reconstruction loss, in 0..1.
            class_ids: of a conditional GAN, the number of each image's class, int64 [B].

        Returns:
            the batch.
        """
        settings, local_rows = self.settings, self.accumulator.local_rows
        batch_size = self.accumulator.global_batch_size(len(images))
        step_random = StepRandom(settings.seed, step, self.device)
        real = to_float(images)
        if settings.mirror:
            real = random_hflip(real, local_rows(step_random.uniform("mirror", batch_size)))
        noise = local_rows(step_random.normal("latents", batch_size, self.noise_dim))

        # an encoded image and its reconstruction get the same augmentation, since their features are compared
        num_randoms = RANDOMS_PER_IMAGE if self.adaptive_augment is not None else RANDOMS_PER_IMAGE - 1
        augment_rand = step_random.uniform("augment", 2 * batch_size, num_randoms * len(self.augmentations))
        rand_real, rand_fake = (local_rows(half) for half in augment_rand.chunk(2))
        is_recon = local_rows(evenly_spaced_mask(recon_fraction, batch_size))
        rand_fake = rand_real.where(copy_to_device(is_recon[:, None], rand_real.device), rand_fake)

        real_aug = self.augment(real, rand_real)
        class_weights = make_class_weights(class_ids, len(images), self.num_classes, self.device)
        val_real_aug, val_class_weights = real[:0], class_weights[:0]
        if self.adaptive_augment is not None and self.adaptive_augment.is_due(step):
            val_real_aug, val_class_weights = self._augmented_val_batch(step_random, step, batch_size)
        return GANBatch(real, real_aug, noise, rand_fake, is_recon, class_weights, val_real_aug, val_class_weights)

    def _augmented_val_batch(self, step_random: StepRandom, step: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return this rank's rows of the next validation images in turn, augmented as training images, and classes."""
        rand = step_random.uniform("augment held-out", batch_size, RANDOMS_PER_IMAGE * len(self.augmentations))
        positions = (torch.arange(batch_size) + step // ADA_INTERVAL * batch_size) % len(self.val_images)
        rows = self.accumulator.local_rows(fixed_permutation(len(self.val_images))[positions])
        images = self.augment(to_float(self.val_images[rows]), self.accumulator.local_rows(rand))
        return images, self.val_class_weights[rows]

    def draw_patch_filters(self, step: int, channels: int, size: int) -> PatchFilters | None:
        """Draw the directions in which patches are compared in a step.

        Args:
            step: number of the step, from 0.
            channels: of the images.
            size: side of the images in pixels.

        Returns:
            the filters, the same for all ranks; None without a loss of patches.
        """
        if not self.settings.patch_weight:
            return None
        step_random = StepRandom(self.settings.seed, step, torch.device("cpu"))
        noise = step_random.normal("patch filters", NUM_PATCH_FILTERS, channels, PATCH_SIZE, PATCH_SIZE)
        position = derive_seed(self.settings.seed, step, "patch position")
        return PatchFilters.from_noise(copy_to_device(noise, self.device), position, size)

    def augment(self, images: Tensor, augment_rand: Tensor) -> Tensor:
        """Augment images as the discriminator sees them.

        Args:
            images: float [B, C, S, S].
            augment_rand: uniform random numbers in [0, 1), as `GANBatch.rand_fake`.

        Returns:
            float [B, C, S, S], in channels_last layout.
        """
        augment_p = 1.0 if self.adaptive_augment is None else self.adaptive_augment.augment_p
        images = augment(images, augment_rand, self.augmentations, augment_p)
        return images.contiguous(memory_format=torch.channels_last)
