"""Latents whose details come from training images: a mixture draws the leading latents, neighbors give the others.

Whitened latents are sorted by how much the image changes along them. In their leading dimensions training images are
dense enough for a mixture to describe. In all of them they are not: a mixture draws each detail without regard to the
others, and faces come out broken. So only the leading latents are drawn from a mixture. The trailing ones are taken
from the training images that fit the leading ones best, the references. This samples p(trailing | leading) by nearest
neighbors, as Efros & Leung 1999 ("Texture synthesis by non-parametric sampling") sample a pixel given those around it.

A sample takes most of its trailing latents from the reference that fits best and the rest from one of the next. The
fit is the distance in the leading latents, with an offset by which all references are chosen equally often. How many
latents lead is decided as the number of components is: the fewest whose samples do not repeat training images.
Distances are measured in units of image change here, because a shared detail alone makes no copy.

Where leading latents depend on each other in groups, as those of colors do, groups are recombined from training images
(`latent_groups`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from vaegan.config.model_config import MAX_REFERENCES
from vaegan.models.latent_completion import best_references, complete_latents, nearest_offsets
from vaegan.models.latent_groups import find_groups, recombine
from vaegan.models.prior import (
    IMAGES_PER_COMPONENT,
    NUM_TRIAL_SAMPLES,
    GaussianMixture,
    fit_components,
    nn_memorization_rate,
    standard_noise,
    val_split,
)

LEADING_FRACTIONS = (2 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 6)
"""Fractions of the latents that may lead. The fewer lead, the more samples repeat; the first that fails is the last."""
MIN_LEADING_DIM = 16
MAX_REFERENCE_MEMORIZATION_RATIO = 1.25
"""Leading latents are accepted if the memorization rate is at most this many times that of validation latents."""

MAX_COARSENING = 3.0
"""Where no number of leading latents is accepted, components may become this many times coarser."""

BALANCE_STEPS = 48
TRIAL_BALANCE_STEPS = 16
BALANCE_BATCH_SIZE = 1024
SCALE_SAMPLES = 4096
BALANCE_RATE = 0.03
"""First step size of the offsets, in units of the standard deviation of products of latents."""


class LeadingMixture(NamedTuple):
    """A mixture of the leading latents, and what a `Prior` needs to complete them.

    mixture: of k latents. references: latents of training images, [M, d], M at most MAX_REFERENCES; their trailing part
    is scaled a little. reference_offsets: [M]. reference_rows: of their images, int64 [M]. group_axes [G, k, s] and
    group_offsets [G, M]: of the groups of latents that are recombined; None without groups.
    """

    mixture: GaussianMixture
    references: Tensor
    reference_offsets: Tensor
    reference_rows: Tensor
    group_axes: Tensor | None = None
    group_offsets: Tensor | None = None


class _Sampler(NamedTuple):
    """Draws leading latents from a mixture, recombines them where there are groups, and completes them."""

    mixture: GaussianMixture
    references: Tensor
    group_axes: Tensor | None
    group_offsets: Tensor | None
    offsets: Tensor

    @classmethod
    def fit(
        cls, mixture: GaussianMixture, references: Tensor, group_axes: Tensor | None, seed: int, num_steps: int
    ) -> _Sampler:
        """Find the offsets with which all references are chosen equally often."""
        if group_axes is None:
            return cls(mixture, references, None, None, balanced_offsets(mixture, references, seed, num_steps))
        keys = references[:, : mixture.means.shape[1]]
        offsets = [
            balanced_offsets(mixture, keys @ axes, seed, num_steps, partial(torch.matmul, other=axes))
            for axes in (each[:, each.any(0)] for each in group_axes)
        ]
        group_offsets = torch.stack(offsets)
        recombined = partial(recombine, references=references, axes=group_axes, offsets=group_offsets)
        balanced = balanced_offsets(mixture, keys, seed, num_steps, recombined)
        return cls(mixture, references, group_axes, group_offsets, balanced)

    def sample(self, count: int, seed: int) -> Tensor:
        """Return latents [count, d]."""
        leading = self.mixture.sample(standard_noise(count, self.mixture, seed).to(self.references))
        if self.group_axes is not None and self.group_offsets is not None:
            leading = recombine(leading, self.references, self.group_axes, self.group_offsets)
        noise = torch.randn(count, generator=torch.Generator().manual_seed(seed + 1)).to(self.references)
        return complete_latents(leading, self.references, self.offsets, noise)


def fit_leading_mixture(
    latents: Tensor, num_components: int, axis_scales: Tensor, seed: int = 0
) -> LeadingMixture | None:
    """Fit a mixture to the fewest leading latents with which samples do not repeat training images.

    Mixtures are tried on three quarters of the images. The memorization rate of the samples is compared with that of
    the other quarter. Where no number of leading latents is accepted, mixtures with fewer components are tried. Then
    groups of the leading latents are recombined, if there are any, in the largest groups that are accepted too.

    Args:
        latents: whitened, float32 [N, draws, d], several of each image; the images in random order.
        num_components: number of components of the mixture of all d latents, at least 2.
        axis_scales: how much the image changes along each latent, float [d].
        seed: of the random starts and draws.

    Returns:
        the mixture with its references; None if the mixture of all latents repeats less.
    """
    num_images, _, d = latents.shape
    leading_dims = [dim for fraction in LEADING_FRACTIONS if (dim := round(d * fraction)) >= MIN_LEADING_DIM]
    if not leading_dims:
        return None
    train, val = val_split(latents)
    scaled_train, references = train * axis_scales, _choose_references(train)[0]
    max_rate = MAX_REFERENCE_MEMORIZATION_RATIO * nn_memorization_rate(
        val.flatten(0, 1)[:NUM_TRIAL_SAMPLES] * axis_scales, scaled_train
    )

    @cache
    def trial_mixture(images_per_component: float, leading_dim: int) -> GaussianMixture:
        trial_components = max(2, round(len(train) / images_per_component))
        return fit_components(train[:, :, :leading_dim], trial_components, seed)

    def is_accepted(images_per_component: float, leading_dim: int, group_axes: Tensor | None = None) -> bool:
        mixture = trial_mixture(images_per_component, leading_dim)
        sampler = _Sampler.fit(mixture, references, group_axes, seed, TRIAL_BALANCE_STEPS)
        samples = sampler.sample(NUM_TRIAL_SAMPLES, seed)
        return nn_memorization_rate(samples * axis_scales, scaled_train) <= max_rate

    finest = num_images / num_components
    coarser = [count for count in IMAGES_PER_COMPONENT if finest < count <= MAX_COARSENING * finest]
    for images_per_component in (finest, *coarser):
        if accepted := list(takewhile(partial(is_accepted, images_per_component), leading_dims)):
            leading = latents[:, :, : accepted[-1]]
            is_split_accepted = partial(is_accepted, images_per_component, accepted[-1])
            group_axes = next(filter(is_split_accepted, find_groups(leading, seed)), None)
            mixture = fit_components(leading, round(num_images / images_per_component), seed)
            references, rows = _choose_references(latents)
            sampler = _Sampler.fit(mixture, references, group_axes, seed, BALANCE_STEPS)
            references = _with_unit_variance(sampler, seed)
            return LeadingMixture(mixture, references, sampler.offsets, rows, group_axes, sampler.group_offsets)
    return None


def _with_unit_variance(sampler: _Sampler, seed: int) -> Tensor:
    """Return references whose trailing latents are scaled so that those of samples vary as much as theirs.

    A sample's two references are alike, so without a factor a blend of them would vary more than each.
    """
    k, references = sampler.mixture.means.shape[1], sampler.references
    trailing, sampled = references[:, k:], sampler.sample(SCALE_SAMPLES, seed + 3)[:, k:]
    factor = (trailing.square().mean() / sampled.square().mean().clamp_min(1e-12)).sqrt()
    return torch.cat([references[:, :k], factor * trailing], 1)


def balanced_offsets(
    mixture: GaussianMixture,
    references: Tensor,
    seed: int,
    num_steps: int = BALANCE_STEPS,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Find the offsets with which all references are chosen equally often for samples of a mixture.

    By distance alone, references near the mean are chosen far too often, since in many dimensions they are the nearest
    to most latents (hubs, Radovanovic et al. 2010, JMLR 11). Their trailing latents are small as well, so samples would
    have too little variance. Equal shares are the solution of optimal transport from the mixture to the references, and
    the offsets are its dual variables. They are found by stochastic gradient steps (Genevay et al. 2016, arXiv
    1605.08527, section 4).

    Args:
        mixture: mixture of the leading latents, [k].
        references: float [M, d], d at least k.
        seed: of the samples.
        num_steps: number of gradient steps.
        transform: what is done with the samples [N, k] first; then `references` are float [M, s], of what it returns.

    Returns:
        offsets, float [M].
    """
    keys = references[:, : mixture.means.shape[1]]
    count, k = keys.shape
    offsets = nearest_offsets(keys) / 2  # half-way to products alone, which prefer the references far from the mean
    noise = standard_noise(num_steps * BALANCE_BATCH_SIZE, mixture, seed + 2).to(keys)
    for step, batch in enumerate(torch.split(noise, BALANCE_BATCH_SIZE)):
        leading = mixture.sample(batch)
        chosen = best_references(leading if transform is None else transform(leading), keys, offsets, count=1)[:, 0]
        excess = chosen.bincount(minlength=count) * (count / BALANCE_BATCH_SIZE) - 1
        offsets = offsets - BALANCE_RATE * k**0.5 * (1 - step / num_steps) * excess.to(offsets)
    return offsets


def _choose_references(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return at most MAX_REFERENCES of the latents [N, draws, d], of as many images as possible, and their images."""
    num_images, draws, _ = latents.shape
    if num_images > MAX_REFERENCES:
        rows = torch.arange(MAX_REFERENCES) * num_images // MAX_REFERENCES
        return latents[rows, torch.arange(MAX_REFERENCES) % draws], rows
    references, rows = latents.transpose(0, 1).flatten(0, 1), torch.arange(num_images).repeat(draws)
    return references[:MAX_REFERENCES], rows[:MAX_REFERENCES]
