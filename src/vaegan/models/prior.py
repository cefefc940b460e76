"""What latents are drawn from: N(0, I), a cube, or a mixture of normals that was fitted to encoded pictures.

A folded posterior (`latent_whitening`) has the moments of N(0, I), not its shape: pictures of one kind lie
together in it, and between the kinds lie latents that decode to mud. Estimating the density of the latents after
training and drawing from that is the remedy of Ghosh et al. 2020 ("From variational to deterministic autoencoders",
arXiv 1903.12436, section 4) for autoencoders; a GAN that starts from one is trained on such draws as well.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaegan.config.model_config import MAX_COMPONENTS, ModelConfig
from vaegan.utils.neighbors import chunk_rows, is_closer_than_neighbors

IMAGES_PER_COMPONENT = (2, 3, 5, 10, 30, 100)
"""Pictures to a component in the mixtures that are tried, the finest first, until one is new enough."""
MAX_MEMORIZATION_RATIO, NORMAL_PRIOR_RATIO = 2.0, 0.8
"""How many times as often as unseen pictures' latents a mixture's draws may be `familiar`; and how many times as often
those of one normal must be for it to do."""
NUM_TRIAL_SAMPLES, MIN_VAL_LATENTS = 1024, 100
"""Draws that this is measured on; and unseen latents below which it says nothing."""
EM_ITERATIONS = 8
"""Of expectation and maximisation."""
LOCAL_COVARIANCE_WEIGHT, MAX_LOCAL_DIM = 0.8, 12
"""How much of a component's own covariance counts, against that of all; and of how many of its directions."""
MIN_RESPONSIBILITY, MIN_LOCAL_RESPONSIBILITY = 1e-12, 1e-3
"""Chances of having come from a component below which a latent is not counted there: for its mean, its directions."""

LogJoint = Callable[[Tensor], Tensor]
"""Latents [N, d] -> log p(k) + log p(z|k), but for what all components share: [N, K]."""


@dataclass(frozen=True)
class GaussianMixture:
    """Normals: weights float [K], means [K, d], factor [d, d], local [K, r, d], r from 0.

    Covariances are factor factor^T + local_k^T local_k: a part that all share, and directions of each one's own.
    """

    weights: Tensor
    means: Tensor
    scale_tril: Tensor
    local_factors: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise [N, d + r + 1], the last of which chooses the component -> latents [N, d]."""
        d = self.means.shape[1]
        chance = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = (chance > self.weights.cumsum(0)[:-1]).sum(1)
        latents: Tensor = self.means[chosen] + noise[:, :d] @ self.scale_tril.T
        if self.local_factors.shape[1]:
            latents = latents + (noise[:, d:-1, None] * self.local_factors[chosen]).sum(1)
        return latents


def make_log_joint(weights: Tensor, means: Tensor, scale_tril: Tensor) -> LogJoint:
    """Prepare what sets latents against every component, of one covariance factor factor^T for all."""

    def whiten(rows: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(scale_tril, rows.T, upper=False).T
        return white

    centres = whiten(means)
    level = weights.log() - centres.square().sum(1) / 2

    def of(latents: Tensor) -> Tensor:
        white = whiten(latents)
        found: Tensor = white @ centres.T  # in place from here: of thousands of latents and components
        found += level
        found -= white.square().sum(1, keepdim=True) / 2
        return found

    return of


def fit_em(latents: Tensor, num_components: int, generator: torch.Generator) -> GaussianMixture:
    """Fit by EM (Dempster et al. 1977), from some of the latents on, with one covariance for all components.

    latents: float [N, d], more than d of them.
    """
    count, d = latents.shape
    equal = torch.full((num_components,), 1 / num_components).to(latents)
    start = latents[torch.randperm(count, generator=generator)[:num_components]]
    none = torch.empty(num_components, 0, d).to(latents)
    mixture = GaussianMixture(equal, start, torch.eye(d).to(latents), none)
    second, ridge = (latents.T @ latents).double(), 1e-4 * torch.eye(d).double()
    for _ in range(EM_ITERATIONS):
        joint = make_log_joint(mixture.weights, mixture.means, mixture.scale_tril)
        weights, sums = torch.zeros_like(mixture.weights), torch.zeros_like(mixture.means)
        for part in chunk_rows(latents, num_components):
            share = torch.nn.functional.threshold(
                joint(part).softmax(1), MIN_RESPONSIBILITY, 0.0
            )  # denormals: 14 times slower
            weights += share.sum(0)
            sums += share.T @ part
        weights += 1e-6
        means = sums / weights[:, None]
        within = (second - (means * weights[:, None]).double().T @ means.double()) / count
        factor = torch.linalg.cholesky(within + ridge).to(latents)
        mixture = GaussianMixture(weights / weights.sum(), means, factor, none)
    return mixture


def add_local_covariances(mixture: GaussianMixture, latents: Tensor) -> GaussianMixture:
    """Give every component of one covariance directions of its own: those along which its own latents differ most.

    Its covariance alone would rest on a few latents; most of it and a part of the one of all (Friedman 1989,
    "Regularized discriminant analysis", eq. 16) draw latents that decode to whole faces. All components together keep
    their covariance.
    """
    own, d = min(MAX_LOCAL_DIM, *latents.shape), latents.shape[1]
    joint, found, start = make_log_joint(mixture.weights, mixture.means, mixture.scale_tril), [], 0
    for part in chunk_rows(latents, len(mixture.means)):
        share = joint(part).softmax(1)
        row, kind = (share > MIN_LOCAL_RESPONSIBILITY).nonzero(as_tuple=True)
        found.append((row + start, kind, share[row, kind]))
        start += len(part)
    rows, kinds, shares = (torch.cat(column) for column in zip(*found, strict=True))
    order, members = kinds.argsort(stable=True), kinds.bincount(minlength=len(mixture.means)).tolist()
    local = torch.zeros(len(members), own, d).to(latents)
    for k, own_rows in enumerate(torch.split(order, members)):
        weight = shares[own_rows] / shares[own_rows].sum()
        apart = (latents[rows[own_rows]] - mixture.means[k]) * weight.sqrt()[:, None]
        _, sizes, directions = torch.linalg.svd(apart, full_matrices=False)
        local[k, : len(sizes[:own])] = math.sqrt(LOCAL_COVARIANCE_WEIGHT) * sizes[:own, None] * directions[:own]
    taken = (local * mixture.weights.sqrt()[:, None, None]).flatten(0, 1).double()
    shared = mixture.scale_tril.double() @ mixture.scale_tril.double().T - taken.T @ taken
    factor = torch.linalg.cholesky(shared).to(latents)
    return replace(mixture, scale_tril=factor, local_factors=local)


def nn_memorization_rate(queries: Tensor, references: Tensor) -> float:
    """Share of latents [N, d] that lie nearer to one of `known` [M, draws, d] than any other picture's does to that.

    New latents of the same distribution do so too at some rate; draws of a mixture that had learned the known ones by
    heart, always.
    """
    count, draws, _ = references.shape
    rows = torch.arange(count * draws, device=references.device)
    near, _ = is_closer_than_neighbors(queries, references.flatten(0, 1), rows // draws, rows)
    return float(near.double().mean())


def fit_mixture(latents: Tensor, seed: int = 0) -> GaussianMixture | None:
    """The finest mixture whose draws are new, or None where one normal does as well or there are too few pictures.

    The finest, not the likeliest: densities of many dimensions say little of how samples look (Theis et al. 2016, "A
    note on the evaluation of generative models", arXiv 1511.01844), and draws of finer mixtures decode to wholer faces.
    latents: float32 [N, draws, d], of N pictures in no order. Every fourth picture is kept apart: draws of a mixture of
    the others' latents are to be `familiar` with those at most FAMILIAR times as often as the unseen pictures' are. The
    mixture is then fitted to all.
    """
    count, draws, d = latents.shape
    apart = torch.arange(count) % 4 == 0
    seen, unseen = latents[~apart], latents[apart].flatten(0, 1)
    if len(seen) * draws <= 4 * d or len(unseen) < MIN_VAL_LATENTS or not latents.isfinite().all():
        return None

    def fitted(of: Tensor, each: int) -> GaussianMixture:
        rows = of.flatten(0, 1)
        components = min(MAX_COMPONENTS, max(1, len(of) // each))
        mixture = fit_em(rows, components, torch.Generator().manual_seed(seed))
        return mixture if components == 1 else add_local_covariances(mixture, rows)

    def score(each: int) -> float:
        mixture = fitted(seen, each)
        noise = torch.randn(
            NUM_TRIAL_SAMPLES, d + mixture.local_factors.shape[1] + 1, generator=torch.Generator().manual_seed(seed)
        )
        return nn_memorization_rate(mixture.sample(noise.to(seen)), seen)

    usual = nn_memorization_rate(unseen[:NUM_TRIAL_SAMPLES], seen)
    if score(len(seen)) >= NORMAL_PRIOR_RATIO * usual:
        return None
    each = next(
        (
            each
            for each in IMAGES_PER_COMPONENT
            if len(seen) >= 2 * each and score(each) <= MAX_MEMORIZATION_RATIO * usual
        ),
        None,
    )
    return None if each is None else fitted(latents, each)


class Prior(nn.Module):
    """Standard normal noise float [N, columns] -> latents [N, d] of mean 0 and unit variance, or nearly.

    columns: d, and for a mixture r more, along a component's own directions, and one which chooses the component.
    Buffers, for a mixture: weights [K], means [K, d], factor [d, d] and, where r > 0, local [K, r, d], as `Mixture`
    has them.
    """

    weights: Tensor
    means: Tensor
    scale_tril: Tensor
    local_factors: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build for `config.prior`; a mixture's buffers are to be filled."""
        super().__init__()
        self.kind, d, components, self.local_dim = (
            config.prior,
            config.latent_dim,
            config.num_components,
            config.local_rank,
        )
        self.latent_dim, self.noise_dim = d, d + self.local_dim + (self.kind == "mixture")
        if self.kind == "mixture":
            self.register_buffer("weights", torch.full((components,), 1 / components))
            self.register_buffer("means", torch.zeros(components, d))
            self.register_buffer("scale_tril", torch.zeros(d, d).fill_diagonal_(1))
        if self.local_dim:
            self.register_buffer("local_factors", torch.zeros(components, self.local_dim, d))

    @classmethod
    def from_mixture(cls, config: ModelConfig, mixture: GaussianMixture) -> Prior:
        """Build for `config`, which says "mixture", how many components, and of how many directions of their own."""
        prior = cls(config)
        prior.load_state_dict({name: vars(mixture)[name].float() for name in prior.state_dict()})
        return prior

    def forward(self, noise: Tensor) -> Tensor:
        """A uniform latent is U(-sqrt(3), sqrt(3)) per axis, through the normal's distribution function."""
        if self.kind == "normal":
            return noise
        if self.kind == "uniform":
            uniform: Tensor = (2 * torch.special.ndtr(noise) - 1) * math.sqrt(3)
            return uniform
        local = self.local_factors if self.local_dim else self.means.new_empty(len(self.means), 0, self.latent_dim)
        return GaussianMixture(self.weights, self.means, self.scale_tril, local).sample(noise)

    @torch.no_grad()
    def sample_seeds(self, seeds: Sequence[int]) -> Tensor:
        """Return the latent of every seed, float32 [len(seeds), d], on the CPU; each depends on its seed alone."""
        # a copy on the CPU too: products round by how a file's tensors happen to lie in memory
        prior, rows = copy.deepcopy(self).cpu(), []
        for seed in seeds:  # one by one: products may round differently for other counts
            noise = torch.randn(self.noise_dim, generator=torch.Generator().manual_seed(seed % 2**63))
            rows.append(prior(noise[None])[0])
        return torch.stack(rows) if rows else torch.empty(0, self.latent_dim)
