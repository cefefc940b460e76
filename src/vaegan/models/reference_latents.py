"""Latents whose details come from training images: a mixture draws the leading latents, neighbors give the others.

Whitened latents are sorted by how much the image changes along them. In their leading dimensions training images are
dense enough for a mixture to describe. In all of them they are not: a mixture draws each detail without regard to the
others, and faces come out broken. So only the leading latents are drawn from a mixture. The trailing ones are taken
from the training images that are nearest in the leading ones, the references. This samples p(trailing | leading) by
nearest neighbors, as Efros & Leung 1999 ("Texture synthesis by non-parametric sampling") sample a pixel given those
around it.

A sample takes most of its trailing latents from the nearest reference and the rest from one of the next. How many
latents lead is decided as the number of components is: the fewest whose samples do not repeat training images.
Distances are measured in units of image change here, because a shared detail alone makes no copy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vaegan.config.model_config import MAX_REFERENCES
from vaegan.models.prior import (
    NUM_TRIAL_SAMPLES,
    GaussianMixture,
    complete_latents,
    fit_components,
    nn_memorization_rate,
    standard_noise,
    val_split,
)

LEADING_FRACTIONS = (2 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 6)
"""Fractions of the latents that may lead. The fewer lead, the more samples repeat; the first that fails is the last."""
MIN_LEADING_DIM = 16
MAX_REFERENCE_MEMORIZATION_RATIO = 1.5
"""Leading latents are accepted if the memorization rate is at most this many times that of validation latents."""


def fit_leading_mixture(
    latents: Tensor, num_components: int, axis_scales: Tensor, seed: int = 0
) -> tuple[GaussianMixture, Tensor, Tensor] | None:
    """Fit a mixture to the fewest leading latents with which samples do not repeat training images.

    Mixtures are tried on three quarters of the images. The memorization rate of the samples is compared with that of
    the other quarter.

    Args:
        latents: whitened, float32 [N, draws, d], several of each image; the images in random order.
        num_components: number of components of the mixture of all d latents.
        axis_scales: how much the image changes along each latent, float [d].
        seed: of the random starts and draws.

    Returns:
        The mixture of the leading latents, the reference latents [M, d], M at most MAX_REFERENCES, and the rows of
            their images, int64 [M]. None if the mixture of all latents repeats less.
    """
    num_images, _, d = latents.shape
    candidates = [dim for fraction in LEADING_FRACTIONS if (dim := round(d * fraction)) >= MIN_LEADING_DIM]
    if not candidates:
        return None
    train, val = val_split(latents)
    scaled_train, references = train * axis_scales, _choose_references(train)[0]
    val_rate = nn_memorization_rate(val.flatten(0, 1)[:NUM_TRIAL_SAMPLES] * axis_scales, scaled_train)
    trial_components = max(2, round(num_components * len(train) / num_images))
    neighbor_noise = torch.randn(NUM_TRIAL_SAMPLES, generator=torch.Generator().manual_seed(seed + 1)).to(train)
    accepted = 0
    for leading_dim in candidates:
        mixture = fit_components(train[:, :, :leading_dim], trial_components, seed)
        noise = standard_noise(NUM_TRIAL_SAMPLES, mixture, seed).to(train)
        samples = complete_latents(mixture.sample(noise), references, neighbor_noise)
        rate = nn_memorization_rate(samples * axis_scales, scaled_train)
        if rate > MAX_REFERENCE_MEMORIZATION_RATIO * val_rate:
            break
        accepted = leading_dim
    if not accepted:
        return None
    return fit_components(latents[:, :, :accepted], num_components, seed), *_choose_references(latents)


def _choose_references(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return at most MAX_REFERENCES of the latents [N, draws, d], of as many images as possible, and their images."""
    num_images, draws, _ = latents.shape
    if num_images > MAX_REFERENCES:
        rows = torch.arange(MAX_REFERENCES) * num_images // MAX_REFERENCES
        return latents[rows, torch.arange(MAX_REFERENCES) % draws], rows
    references, rows = latents.transpose(0, 1).flatten(0, 1), torch.arange(num_images).repeat(draws)
    return references[:MAX_REFERENCES], rows[:MAX_REFERENCES]
