"""The prior of the latents: N(0, I), a uniform cube, or a Gaussian mixture fitted to encoded images.

Whitened latents (`vaegan.models.latent_whitening`) have the mean and covariance of N(0, I), but not its shape. They
form clusters, and latents between the clusters decode to poor images. So a density is fitted to the latents after
training, and samples are drawn from it (Ghosh et al. 2020, "From variational to deterministic autoencoders", arXiv
1903.12436, section 4). A GAN that starts from such a VAE is trained with the same prior.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from vaegan.config.model_config import MAX_COMPONENTS, ModelConfig
from vaegan.models.class_embedding import ConditionalModule
from vaegan.models.latent_completion import complete_latents, complete_seeds
from vaegan.models.latent_groups import recombine, recombine_seeds
from vaegan.utils.neighbors import chunk_rows, is_closer_than_neighbors

# Mixtures to try, from the finest to the coarsest.
IMAGES_PER_COMPONENT = (2, 3, 5, 10, 30, 100)
EM_ITERATIONS = 8

# A mixture is accepted if its memorization rate is at most this many times that of validation latents.
MAX_MEMORIZATION_RATIO = 2.0
# One normal is enough if its memorization rate is at least this many times that of validation latents.
NORMAL_PRIOR_RATIO = 0.8
NUM_TRIAL_SAMPLES = 1024
MIN_VAL_LATENTS = 100  # with fewer, the rates are too uncertain

# Fraction of a component's covariance that is its own, and maximal number of directions of this part.
LOCAL_COVARIANCE_WEIGHT = 0.8
MAX_LOCAL_DIM = 12
RIDGE = 1e-4
"""Variance that is added to the shared covariance in all directions."""
EMPTY_MASS = 1e-6
"""Mass of a component that no latent belongs to, so that it can be divided by."""

# Smaller responsibilities count as 0, for the means and for the local covariances.
MIN_RESPONSIBILITY = 1e-12
MIN_LOCAL_RESPONSIBILITY = 1e-3

CLASS_SEED_OFFSET = 2**41
"""The class of a seed must not depend on the noise that its latent is drawn from."""


@dataclass(frozen=True)
class GaussianMixture:
    """K normals in d dimensions, whose covariances have a shared and a local part.

    The covariance of component k is scale_tril scale_tril^T + local_factors[k]^T local_factors[k].

    weights: [K], sum 1. means: [K, d]. scale_tril: lower Cholesky factor of the shared covariance, [d, d].
    local_factors: [K, r, d], r directions that each component has of its own; r can be 0.
    """

    weights: Tensor
    means: Tensor
    scale_tril: Tensor
    local_factors: Tensor

    def sample(self, noise: Tensor, truncation: float = 1.0, weights: Tensor | None = None) -> Tensor:
        """Map N(0, I) noise to latents.

        Args:
            noise: [N, d + r + 1]; its last column selects the component.
            truncation: factor of each latent's distance from the mean of its own component; 1 changes nothing.
            weights: weights of the components for each row, [N, K]; None for those of the mixture.

        Returns:
            latents [N, d].
        """
        d = self.means.shape[1]
        uniform = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        weights = self.weights if weights is None else weights
        components = (uniform > weights.cumsum(-1)[..., :-1]).sum(1)
        if truncation != 1.0:
            noise = truncation * noise
        latents: Tensor = self.means[components] + noise[:, :d] @ self.scale_tril.T
        if self.local_factors.shape[1]:
            latents = latents + (noise[:, d:-1, None] * self.local_factors[components]).sum(1)
        return latents

    def log_joint(self, latents: Tensor) -> Tensor:
        """Return log p(k) + log p(z|k) without local factors, up to a constant.

        Args:
            latents: [N, d].

        Returns:
            [N, K].
        """
        latents = self._whiten(latents)
        log_joint: Tensor = latents @ self._whitened_means.T
        log_joint += self.weights.log() - self._whitened_means.square().sum(1) / 2  # in place: N x K can be large
        log_joint -= latents.square().sum(1, keepdim=True) / 2
        return log_joint

    @cached_property
    def _whitened_means(self) -> Tensor:
        return self._whiten(self.means)

    def _whiten(self, latents: Tensor) -> Tensor:
        whitened: Tensor = torch.linalg.solve_triangular(self.scale_tril, latents.T, upper=False).T
        return whitened


def fit_em(latents: Tensor, num_components: int, generator: torch.Generator) -> GaussianMixture:
    """Fit a mixture without local factors to latents by EM (Dempster et al. 1977).

    Its components share one covariance. The means start at random rows.

    Args:
        latents: float [N, d], N > d.
        num_components: number of components K.
        generator: source of the random rows that the means start at.

    Returns:
        the mixture; its components share one covariance.
    """
    num_latents, d = latents.shape
    weights = torch.full((num_components,), 1 / num_components).to(latents)
    means = latents[torch.randperm(num_latents, generator=generator)[:num_components]]
    no_factors = torch.empty(num_components, 0, d).to(latents)
    mixture = GaussianMixture(weights, means, torch.eye(d).to(latents), no_factors)
    second_moment = (latents.T @ latents).double()
    for _ in range(EM_ITERATIONS):
        # E step, in chunks: responsibilities, and their sums over the latents
        masses, sums = torch.zeros_like(mixture.weights), torch.zeros_like(mixture.means)
        for chunk in chunk_rows(latents, num_components):
            responsibilities = mixture.log_joint(chunk).softmax(1)
            # Set tiny values to 0: arithmetic on denormal numbers is very slow.
            responsibilities = nn.functional.threshold(responsibilities, MIN_RESPONSIBILITY, 0.0)
            masses += responsibilities.sum(0)
            sums += responsibilities.T @ chunk
        weights, means, covariance = _m_step(masses, sums, second_moment, num_latents)
        mixture = GaussianMixture(weights, means, torch.linalg.cholesky(covariance).to(latents), no_factors)
    return mixture


def _m_step(masses: Tensor, sums: Tensor, second_moment: Tensor, num_latents: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights [K], means [K, d], and the covariance within the components, float64 [d, d].

    masses: sums of the responsibilities, [K]. sums: of the latents, weighted by them, [K, d]. second_moment: Z^T Z of
    all latents, float64 [d, d].
    """
    masses = masses + EMPTY_MASS
    means = sums / masses[:, None]
    covariance = (second_moment - (means * masses[:, None]).double().T @ means.double()) / num_latents
    return masses / masses.sum(), means, covariance + RIDGE * torch.eye(len(covariance)).double()


def add_local_covariances(mixture: GaussianMixture, latents: Tensor) -> GaussianMixture:
    """Give each component a covariance of its own along the directions in which its latents vary most.

    Few latents belong to a component, so its own covariance is shrunk towards the shared one (Friedman 1989,
    "Regularized discriminant analysis", eq. 16). The covariance of the whole mixture does not change.

    Args:
        mixture: mixture without local factors.
        latents: those that it was fitted to, float [N, d].

    Returns:
        the mixture with local factors.
    """
    d = latents.shape[1]
    local_dim = min(MAX_LOCAL_DIM, *latents.shape)
    rows, components, responsibilities = _large_responsibilities(mixture, latents)

    # One more M step from these responsibilities. With others, the local covariances could exceed the shared one.
    masses = torch.zeros_like(mixture.weights).index_add_(0, components, responsibilities)
    sums = torch.zeros_like(mixture.means).index_add_(0, components, responsibilities[:, None] * latents[rows])
    weights, means, shared_covariance = _m_step(masses, sums, (latents.T @ latents).double(), len(latents))

    # Principal axes of each component's latents, weighted by responsibility
    order = components.argsort(stable=True)
    counts = components.bincount(minlength=len(mixture.means)).tolist()
    local_factors = torch.zeros(len(counts), local_dim, d).to(latents)
    for k, members in enumerate(torch.split(order, counts)):
        member_weights = responsibilities[members] / responsibilities[members].sum()
        deviations = (latents[rows[members]] - means[k]) * member_weights.sqrt()[:, None]
        _, stddevs, axes = torch.linalg.svd(deviations, full_matrices=False)
        stddevs, axes = stddevs[:local_dim], axes[:local_dim]
        local_factors[k, : len(stddevs)] = math.sqrt(LOCAL_COVARIANCE_WEIGHT) * stddevs[:, None] * axes

    # Subtract the mean of the local covariances from the shared one
    weighted_factors = (local_factors * weights.sqrt()[:, None, None]).flatten(0, 1).double()
    scale_tril = torch.linalg.cholesky(shared_covariance - weighted_factors.T @ weighted_factors).to(latents)
    return GaussianMixture(weights, means, scale_tril, local_factors)


def _large_responsibilities(mixture: GaussianMixture, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return row, component and value [M] of the responsibilities that count. Those of a row sum to 1.

    They are those above MIN_LOCAL_RESPONSIBILITY, and the largest of each row.
    """
    parts, start = [], 0
    for chunk in chunk_rows(latents, len(mixture.means)):
        responsibilities = mixture.log_joint(chunk).softmax(1)
        smallest = responsibilities.amax(1, keepdim=True).clamp_max(MIN_LOCAL_RESPONSIBILITY)
        responsibilities = responsibilities.where(responsibilities >= smallest, 0.0)
        responsibilities = responsibilities / responsibilities.sum(1, keepdim=True)
        rows, components = responsibilities.nonzero(as_tuple=True)
        parts.append((rows + start, components, responsibilities[rows, components]))
        start += len(chunk)
    rows, components, values = (torch.cat(column) for column in zip(*parts, strict=True))
    return rows, components, values


def nn_memorization_rate(queries: Tensor, references: Tensor) -> float:
    """Return the fraction of latents that lie closer to a reference than any other image's reference does.

    New latents of the same distribution have some rate below 1. Copies of the references have rate 1.

    Args:
        queries: latents [N, d].
        references: [M, draws, d], several of each image.

    Returns:
        fraction in 0..1.
    """
    num_images, draws, _ = references.shape
    rows = torch.arange(num_images * draws, device=references.device)
    is_closer, _ = is_closer_than_neighbors(queries, references.flatten(0, 1), rows // draws, rows)
    return float(is_closer.double().mean())


def fit_mixture(latents: Tensor, seed: int = 0) -> GaussianMixture | None:
    """Fit the finest mixture whose samples do not just repeat the latents that it was fitted to.

    Samples of finer mixtures decode to better images, but a mixture that is too fine memorizes. Likelihood cannot
    decide: in many dimensions it says little about sample quality (Theis et al. 2016, "A note on the evaluation of
    generative models", arXiv 1511.01844). Instead, mixtures are fitted to three quarters of the images. The
    memorization rate of their samples is then compared with the rate of the other quarter, the validation latents.

    Args:
        latents: Float32 [N, draws, d], several of each image; the images in random order.
        seed: of the random starts and draws.

    Returns:
        The mixture, fitted to all latents. None if one normal is enough, if no mixture is acceptable, or if there are
            too few images.
    """
    num_images, draws, d = latents.shape
    train, val_images = val_split(latents)
    val = val_images.flatten(0, 1)
    if len(train) * draws <= 4 * d or len(val) < MIN_VAL_LATENTS or not latents.isfinite().all():
        return None
    val_rate = nn_memorization_rate(val[:NUM_TRIAL_SAMPLES], train)
    if _sample_memorization_rate(fit_components(train, 1, seed), train, seed) >= NORMAL_PRIOR_RATIO * val_rate:
        return None
    for images_per_component in IMAGES_PER_COMPONENT:
        num_components = len(train) // images_per_component
        if num_components < 2:
            break
        mixture = fit_components(train, num_components, seed)
        if _sample_memorization_rate(mixture, train, seed) <= MAX_MEMORIZATION_RATIO * val_rate:
            return fit_components(latents, num_images // images_per_component, seed)
    return None


def val_split(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Split latents by image: three quarters to fit a mixture to, and one to judge it by.

    Args:
        latents: [N, draws, d].

    Returns:
        both parts.
    """
    is_val = torch.arange(len(latents)) % 4 == 0
    return latents[~is_val], latents[is_val]


def fit_components(latents: Tensor, num_components: int, seed: int) -> GaussianMixture:
    """Fit a mixture with local factors, or one normal.

    Args:
        latents: float [N, draws, d].
        num_components: number of components; at most MAX_COMPONENTS are used.
        seed: of the random start.

    Returns:
        the mixture.
    """
    rows, num_components = latents.flatten(0, 1), min(MAX_COMPONENTS, num_components)
    mixture = fit_em(rows, num_components, torch.Generator().manual_seed(seed))
    return mixture if num_components == 1 else add_local_covariances(mixture, rows)


def _sample_memorization_rate(mixture: GaussianMixture, train: Tensor, seed: int) -> float:
    noise = standard_noise(NUM_TRIAL_SAMPLES, mixture, seed)
    return nn_memorization_rate(mixture.sample(noise.to(train)), train)


def standard_noise(count: int, mixture: GaussianMixture, seed: int) -> Tensor:
    """Draw the noise of a mixture's samples.

    Args:
        count: number of samples.
        mixture: the mixture.
        seed: of the noise.

    Returns:
        N(0, I), float32 [count, d + r + 1].
    """
    _, local_dim, d = mixture.local_factors.shape
    return torch.randn(count, d + local_dim + 1, generator=torch.Generator().manual_seed(seed))


class Prior(ConditionalModule):
    """N(0, I) noise, float [N, noise_dim] -> latents [N, d] of mean 0 and covariance close to I.

    noise_dim is d. A mixture has local_dim more columns for its local factors, and one that selects the component.
    A mixture's buffers have the names and shapes of the fields of `GaussianMixture`. It may describe the first
    `leading_dim` latents only. Then the others come from `references` [M, d], which are chosen with
    `reference_offsets` [M] (see `vaegan.models.reference_latents`), and the noise has as many columns as without. The
    leading latents may be recombined in groups with the axes `group_axes` [G, leading_dim, group_dim], which are chosen
    from the references with `group_offsets` [G, M] (see `vaegan.models.latent_groups`).

    A conditional prior also holds the fraction of training images in each class, `class_frequencies` [C], and for a
    mixture `class_component_weights` [C, K] and `class_shifts` [C, leading_dim] (see `vaegan.models.class_prior`).
    `reference_classes` [M] are the classes of the references, as numbers; a class takes details of its own images.
    """

    class_frequencies: Tensor
    class_component_weights: Tensor
    class_shifts: Tensor
    reference_classes: Tensor
    weights: Tensor
    means: Tensor
    scale_tril: Tensor
    local_factors: Tensor
    references: Tensor
    reference_offsets: Tensor
    group_axes: Tensor
    group_offsets: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind, self.latent_dim, self.local_dim = config.prior, config.latent_dim, config.local_dim
        self.leading_dim, self.num_references = config.leading_dim or config.latent_dim, config.num_references
        self.num_groups, self.num_classes = config.num_groups, config.num_classes
        self.noise_dim = self.latent_dim
        if self.num_classes:
            self.register_buffer("class_frequencies", torch.full((self.num_classes,), 1 / self.num_classes))
        if self.kind == "mixture":
            self.noise_dim += self.local_dim + 1
            num_components, d = config.num_components, self.leading_dim
            self.register_buffer("weights", torch.full((num_components,), 1 / num_components))
            self.register_buffer("means", torch.zeros(num_components, d))
            self.register_buffer("scale_tril", torch.zeros(d, d).fill_diagonal_(1))
            if self.local_dim:
                self.register_buffer("local_factors", torch.zeros(num_components, self.local_dim, d))
            if self.num_references:
                self.register_buffer("references", torch.zeros(self.num_references, self.latent_dim))
                self.register_buffer("reference_offsets", torch.zeros(self.num_references))
            if self.num_groups:
                self.register_buffer("group_axes", torch.zeros(self.num_groups, d, config.group_dim))
                self.register_buffer("group_offsets", torch.zeros(self.num_groups, self.num_references))
            if self.num_classes:
                uniform = torch.full((self.num_classes, num_components), 1 / num_components)
                self.register_buffer("class_component_weights", uniform)
                self.register_buffer("class_shifts", torch.zeros(self.num_classes, d))
            if self.num_classes and self.num_references:
                self.register_buffer("reference_classes", torch.zeros(self.num_references))

    @classmethod
    def from_mixture(cls, config: ModelConfig, mixture: GaussianMixture, **other_buffers: Tensor) -> Prior:
        """Return the prior of a fitted mixture, whose sizes `config` states.

        Args:
            config: model configuration, which states the mixture's sizes.
            mixture: the fitted mixture.
            **other_buffers: `references` and `reference_offsets`, `group_axes` and `group_offsets`; of a
                conditional prior, `class_frequencies`, `class_component_weights`, `class_shifts` and, with references,
                `reference_classes`.

        Returns:
            the prior, in float32.
        """
        prior = cls(config)
        values = vars(mixture) | other_buffers
        prior.load_state_dict({name: values[name].float() for name in prior.state_dict()})
        return prior

    def forward(self, noise: Tensor, truncation: float = 1.0, class_weights: Tensor | None = None) -> Tensor:
        """Map noise to latents.

        A truncation below 1 makes samples more typical and less varied (truncation trick, Brock et al. 2019, arXiv
        1809.11096, section 3.1).

        Args:
            noise: N(0, I), float [N, noise_dim].
            truncation: factor of a sample's distance from the mean of the prior, or of its own component of a mixture.
            class_weights: float [N, num_classes]; None for the prior of all classes together. Only a conditional
                mixture depends on it.

        Returns:
            latents [N, d].
        """
        leading, center, is_other = self._sample_leading(noise, truncation, class_weights)
        if not self.num_references:
            return leading
        if self.num_groups:
            leading = recombine(leading, self.references, self.group_axes, self.group_offsets)
        if center is not None:
            leading = center + truncation * (leading - center)
        return complete_latents(leading, self.references, self.reference_offsets, noise[:, self.leading_dim], is_other)

    def _sample_leading(
        self, noise: Tensor, truncation: float, class_weights: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return latents before anything is taken from references, and what is needed for that.

        With groups a truncation follows later: the second result is what the latents are then truncated towards. With
        classes and references the third one says which references are of another class.
        """
        if self.kind == "normal":
            return (noise if truncation == 1.0 else truncation * noise), None, None
        if self.kind == "uniform":  # in [-sqrt(3), sqrt(3)], for variance 1
            return (2 * torch.special.ndtr(noise) - 1) * (truncation * math.sqrt(3)), None, None
        weights, shifts, is_other = None, None, None
        class_weights = self.with_fixed_class(class_weights, noise, self.num_classes)
        if self.num_classes and class_weights is not None:
            weights = class_weights @ self.class_component_weights
            shifts = class_weights @ self.class_shifts
            if self.num_references:
                is_other = self.reference_classes != class_weights.argmax(1, keepdim=True)
        columns = torch.cat((noise[:, : self.leading_dim], noise[:, self.latent_dim :]), 1)
        mixture, center = self.mixture(), None
        leading = mixture.sample(columns, 1.0 if self.num_groups else truncation, weights)
        if self.num_groups and truncation != 1.0:
            center = mixture.sample(columns, 0.0, weights)
        if shifts is not None:
            leading, center = leading + shifts, None if center is None else center + shifts
        return leading, center, is_other

    def mixture(self) -> GaussianMixture:
        """Return the mixture, of all or of the leading latents.

        Returns:
            the mixture, with this prior's buffers.
        """
        no_factors = self.means.new_empty(len(self.means), 0, self.leading_dim)
        local_factors = self.local_factors if self.local_dim else no_factors
        return GaussianMixture(self.weights, self.means, self.scale_tril, local_factors)

    def sample_classes(self, seeds: Sequence[int]) -> Tensor:
        """Sample one class per seed, as often as the classes are among the training images.

        Args:
            seeds: seeds, whole numbers from 0.

        Returns:
            numbers of the classes, int64 [len(seeds)], on the CPU.
        """
        generators = [torch.Generator().manual_seed((seed + CLASS_SEED_OFFSET) % 2**63) for seed in seeds]
        uniform = torch.tensor([float(torch.rand(1, generator=generator)) for generator in generators])
        return (uniform[:, None] > self.class_frequencies.cpu().cumsum(0)[:-1]).sum(1)

    @torch.no_grad()
    def sample_seeds(
        self, seeds: Sequence[int], truncation: float = 1.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Sample one latent per seed; each depends on its seed alone.

        Args:
            seeds: seeds, whole numbers from 0.
            truncation: as in `forward`.
            class_weights: float [len(seeds), num_classes], as in `forward`.

        Returns:
            float32 [len(seeds), d], on the CPU.
        """
        # Work on a copy: the rounding of a product can depend on how a file's tensors lie in memory.
        prior = copy.deepcopy(self).cpu()
        leadings, noises = [torch.empty(0, self.leading_dim)], [torch.empty(0, self.noise_dim)]
        centers, others = [], []
        for row, seed in enumerate(seeds):  # one at a time: rounding can also depend on the number of rows
            noise = torch.randn(1, self.noise_dim, generator=torch.Generator().manual_seed(seed % 2**63))
            row_weights = None if class_weights is None else class_weights[row : row + 1].cpu()
            leading, center, is_other = prior._sample_leading(noise, truncation, row_weights)
            leadings.append(leading)
            noises.append(noise)
            if center is not None:
                centers.append(center)
            if is_other is not None:
                others.append(is_other)
        leading = torch.cat(leadings)
        if not self.num_references:
            return leading
        if self.num_groups:
            leading = recombine_seeds(leading, prior.references, prior.group_axes, prior.group_offsets)
        if centers:
            center = torch.cat(centers)
            leading = center + truncation * (leading - center)
        is_other = torch.cat(others) if others else None
        select = torch.cat(noises)[:, self.leading_dim]
        return complete_seeds(leading, prior.references, prior.reference_offsets, select, is_other)
