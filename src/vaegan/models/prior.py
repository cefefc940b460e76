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

from vaegan.config.model_config import MOST_COMPONENTS, ModelConfig
from vaegan.utils.neighbors import nearer_than_others, parts

PER_COMPONENT = (2, 3, 5, 10, 30, 100)
"""Pictures to a component in the mixtures that are tried, the finest first, until one is new enough."""
FAMILIAR, NORMAL = 2.0, 0.8
"""How many times as often as unseen pictures' latents a mixture's draws may be `familiar`; and how many times as often
those of one normal must be for it to do."""
TRIED, FEWEST = 1024, 100
"""Draws that this is measured on; and unseen latents below which it says nothing."""
ROUNDS = 8
"""Of expectation and maximisation."""
LOCAL, DIRECTIONS = 0.8, 12
"""How much of a component's own covariance counts, against that of all; and of how many of its directions."""
FAINT, NEGLIGIBLE = 1e-12, 1e-3
"""Chances of having come from a component below which a latent is not counted there: for its mean, its directions."""

Joint = Callable[[Tensor], Tensor]
"""Latents [N, d] -> log p(k) + log p(z|k), but for what all components share: [N, K]."""


@dataclass(frozen=True)
class Mixture:
    """Normals: weights float [K], means [K, d], factor [d, d], local [K, r, d], r from 0.

    Covariances are factor factor^T + local_k^T local_k: a part that all share, and directions of each one's own.
    """

    weights: Tensor
    means: Tensor
    factor: Tensor
    local: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """Standard normal noise [N, d + r + 1], the last of which chooses the component -> latents [N, d]."""
        d = self.means.shape[1]
        chance = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = (chance > self.weights.cumsum(0)[:-1]).sum(1)
        latents: Tensor = self.means[chosen] + noise[:, :d] @ self.factor.T
        if self.local.shape[1]:
            latents = latents + (noise[:, d:-1, None] * self.local[chosen]).sum(1)
        return latents


def joint_of(weights: Tensor, means: Tensor, factor: Tensor) -> Joint:
    """Prepare what sets latents against every component, of one covariance factor factor^T for all."""

    def whiten(rows: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(factor, rows.T, upper=False).T
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


def expect_maximise(latents: Tensor, components: int, generator: torch.Generator) -> Mixture:
    """Fit by EM (Dempster et al. 1977), from some of the latents on, with one covariance for all components.

    latents: float [N, d], more than d of them.
    """
    count, d = latents.shape
    equal = torch.full((components,), 1 / components).to(latents)
    start = latents[torch.randperm(count, generator=generator)[:components]]
    none = torch.empty(components, 0, d).to(latents)
    mixture = Mixture(equal, start, torch.eye(d).to(latents), none)
    second, ridge = (latents.T @ latents).double(), 1e-4 * torch.eye(d).double()
    for _ in range(ROUNDS):
        joint = joint_of(mixture.weights, mixture.means, mixture.factor)
        weights, sums = torch.zeros_like(mixture.weights), torch.zeros_like(mixture.means)
        for part in parts(latents, components):
            share = torch.nn.functional.threshold(joint(part).softmax(1), FAINT, 0.0)  # denormals: 14 times slower
            weights += share.sum(0)
            sums += share.T @ part
        weights += 1e-6
        means = sums / weights[:, None]
        within = (second - (means * weights[:, None]).double().T @ means.double()) / count
        factor = torch.linalg.cholesky(within + ridge).to(latents)
        mixture = Mixture(weights / weights.sum(), means, factor, none)
    return mixture


def localised(mixture: Mixture, latents: Tensor) -> Mixture:
    """Give every component of one covariance directions of its own: those along which its own latents differ most.

    Its covariance alone would rest on a few latents; most of it and a part of the one of all (Friedman 1989,
    "Regularized discriminant analysis", eq. 16) draw latents that decode to whole faces. All components together keep
    their covariance.
    """
    own, d = min(DIRECTIONS, *latents.shape), latents.shape[1]
    joint, found, start = joint_of(mixture.weights, mixture.means, mixture.factor), [], 0
    for part in parts(latents, len(mixture.means)):
        share = joint(part).softmax(1)
        row, kind = (share > NEGLIGIBLE).nonzero(as_tuple=True)
        found.append((row + start, kind, share[row, kind]))
        start += len(part)
    rows, kinds, shares = (torch.cat(column) for column in zip(*found, strict=True))
    order, members = kinds.argsort(stable=True), kinds.bincount(minlength=len(mixture.means)).tolist()
    local = torch.zeros(len(members), own, d).to(latents)
    for k, own_rows in enumerate(torch.split(order, members)):
        weight = shares[own_rows] / shares[own_rows].sum()
        apart = (latents[rows[own_rows]] - mixture.means[k]) * weight.sqrt()[:, None]
        _, sizes, directions = torch.linalg.svd(apart, full_matrices=False)
        local[k, : len(sizes[:own])] = math.sqrt(LOCAL) * sizes[:own, None] * directions[:own]
    taken = (local * mixture.weights.sqrt()[:, None, None]).flatten(0, 1).double()
    shared = mixture.factor.double() @ mixture.factor.double().T - taken.T @ taken
    factor = torch.linalg.cholesky(shared).to(latents)
    return replace(mixture, factor=factor, local=local)


def familiar(queries: Tensor, known: Tensor) -> float:
    """Share of latents [N, d] that lie nearer to one of `known` [M, draws, d] than any other picture's does to that.

    New latents of the same distribution do so too at some rate; draws of a mixture that had learned the known ones by
    heart, always.
    """
    count, draws, _ = known.shape
    rows = torch.arange(count * draws, device=known.device)
    near, _ = nearer_than_others(queries, known.flatten(0, 1), rows // draws, rows)
    return float(near.double().mean())


def fit(latents: Tensor, seed: int = 0) -> Mixture | None:
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
    if len(seen) * draws <= 4 * d or len(unseen) < FEWEST or not latents.isfinite().all():
        return None

    def fitted(of: Tensor, each: int) -> Mixture:
        rows = of.flatten(0, 1)
        components = min(MOST_COMPONENTS, max(1, len(of) // each))
        mixture = expect_maximise(rows, components, torch.Generator().manual_seed(seed))
        return mixture if components == 1 else localised(mixture, rows)

    def score(each: int) -> float:
        mixture = fitted(seen, each)
        noise = torch.randn(TRIED, d + mixture.local.shape[1] + 1, generator=torch.Generator().manual_seed(seed))
        return familiar(mixture.draw(noise.to(seen)), seen)

    usual = familiar(unseen[:TRIED], seen)
    if score(len(seen)) >= NORMAL * usual:
        return None
    each = next((each for each in PER_COMPONENT if len(seen) >= 2 * each and score(each) <= FAMILIAR * usual), None)
    return None if each is None else fitted(latents, each)


class Prior(nn.Module):
    """Standard normal noise float [N, columns] -> latents [N, d] of mean 0 and unit variance, or nearly.

    columns: d, and for a mixture r more, along a component's own directions, and one which chooses the component.
    Buffers, for a mixture: weights [K], means [K, d], factor [d, d] and, where r > 0, local [K, r, d], as `Mixture`
    has them.
    """

    weights: Tensor
    means: Tensor
    factor: Tensor
    local: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build for `config.prior`; a mixture's buffers are to be filled."""
        super().__init__()
        self.kind, d, components, self.own = config.prior, config.latent_dim, config.components, config.directions
        self.latent_dim, self.columns = d, d + self.own + (self.kind == "mixture")
        if self.kind == "mixture":
            self.register_buffer("weights", torch.full((components,), 1 / components))
            self.register_buffer("means", torch.zeros(components, d))
            self.register_buffer("factor", torch.zeros(d, d).fill_diagonal_(1))
        if self.own:
            self.register_buffer("local", torch.zeros(components, self.own, d))

    @classmethod
    def of_mixture(cls, config: ModelConfig, mixture: Mixture) -> Prior:
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
        local = self.local if self.own else self.means.new_empty(len(self.means), 0, self.latent_dim)
        return Mixture(self.weights, self.means, self.factor, local).draw(noise)

    @torch.no_grad()
    def of(self, seeds: Sequence[int]) -> Tensor:
        """Return the latent of every seed, float32 [len(seeds), d], on the CPU; each depends on its seed alone."""
        # a copy on the CPU too: products round by how a file's tensors happen to lie in memory
        prior, rows = copy.deepcopy(self).cpu(), []
        for seed in seeds:  # one by one: products may round differently for other counts
            noise = torch.randn(self.columns, generator=torch.Generator().manual_seed(seed % 2**63))
            rows.append(prior(noise[None])[0])
        return torch.stack(rows) if rows else torch.empty(0, self.latent_dim)
