"""What latents are drawn from: N(0, I), a cube, or a mixture of normals that was fitted to encoded pictures.

A folded posterior (`vaegan.models.folding`) has the moments of N(0, I), not its shape: pictures of one kind lie
together in it, and between the kinds lie latents that decode to mud. Estimating the density of the latents after
training and drawing from that is the remedy of Ghosh et al. 2020 ("From variational to deterministic autoencoders",
arXiv 1903.12436, section 4) for autoencoders; a GAN that starts from one is trained on such draws as well.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaegan.settings import MOST_COMPONENTS, ModelConfig

PER_COMPONENT = (100, 30, 10)
"""Pictures to a component in the mixtures that are tried."""
ROUNDS = 8
"""Of expectation and maximisation."""
ROWS = 2048
"""Latents that are set against all components at once: of all, it would take hundreds of MB."""
BETTER = 0.1
"""Nats a latent by which a mixture must describe unseen latents better than one normal."""


@dataclass(frozen=True)
class Mixture:
    """Normals of one covariance: weights float [K], means [K, d], factor [d, d], covariance = factor factor^T."""

    weights: Tensor
    means: Tensor
    factor: Tensor

    def log_density(self, latents: Tensor) -> Tensor:
        """Of latents [N, d]: float [N], in nats."""
        log_norm = self.factor.diagonal().log().sum() + latents.shape[1] / 2 * math.log(2 * math.pi)
        return torch.cat([torch.logsumexp(_joint(self, part), 1) for part in torch.split(latents, ROWS)]) - log_norm


def _joint(mixture: Mixture, latents: Tensor) -> Tensor:
    """log p(k) + log p(z|k) but for what all components share: [N, K]."""
    white, means = (
        torch.linalg.solve_triangular(mixture.factor, part.T, upper=False).T for part in (latents, mixture.means)
    )
    joint: Tensor = white @ means.T  # in place from here: of thousands of latents and hundreds of components
    joint += mixture.weights.log() - means.square().sum(1) / 2
    joint -= white.square().sum(1, keepdim=True) / 2
    return joint


def expect_maximise(latents: Tensor, components: int, generator: torch.Generator) -> Mixture:
    """Fit by EM (Dempster et al. 1977), from some of the latents on; latents: float [N, d], more than d of them."""
    count, d = latents.shape
    equal = torch.full((components,), 1 / components).to(latents)
    start = latents[torch.randperm(count, generator=generator)[:components]]
    mixture = Mixture(equal, start, torch.eye(d).to(latents))
    second, ridge = (latents.T @ latents).double(), 1e-4 * torch.eye(d).double()
    for _ in range(ROUNDS):
        weights, sums = torch.zeros_like(mixture.weights), torch.zeros_like(mixture.means)
        for part in torch.split(latents, ROWS):
            share = _joint(mixture, part).softmax(1)
            weights += share.sum(0)
            sums += share.T @ part
        weights += 1e-6
        means = sums / weights[:, None]
        within = (second - (means * weights[:, None]).double().T @ means.double()) / count
        factor = torch.linalg.cholesky(within + ridge).to(latents)
        mixture = Mixture(weights / weights.sum(), means, factor)
    return mixture


def fit(latents: Tensor, seed: int = 0) -> Mixture | None:
    """The mixture that describes unseen pictures' latents best, or None where one normal does as well.

    latents: float32 [N, draws, d], of N pictures in no order. Every fourth picture is kept apart to choose the number
    of components; the mixture is then fitted to all.
    """
    count, _, d = latents.shape
    apart = torch.arange(count) % 4 == 0
    seen, unseen = latents[~apart].flatten(0, 1), latents[apart].flatten(0, 1)
    if len(seen) <= 4 * d or not latents.isfinite().all():
        return None

    def fitted(of: Tensor, each: int) -> Mixture:
        components = min(MOST_COMPONENTS, max(1, count // each))
        return expect_maximise(of, components, torch.Generator().manual_seed(seed))

    scores = {each: float(fitted(seen, each).log_density(unseen).mean()) for each in (count, *PER_COMPONENT)}
    best = max(scores, key=lambda each: scores[each])
    return fitted(latents.flatten(0, 1), best) if scores[best] > scores[count] + BETTER else None


class Prior(nn.Module):
    """Standard normal noise float [N, columns] -> latents [N, d] of mean 0 and unit variance, or nearly.

    columns: d, and for a mixture one more, which chooses the component. Buffers, for a mixture: weights [K], means
    [K, d] and factor [d, d], as `Mixture` has them.
    """

    weights: Tensor
    means: Tensor
    factor: Tensor

    def __init__(self, config: ModelConfig) -> None:
        """Build for `config.prior`; a mixture's buffers are to be filled."""
        super().__init__()
        self.kind, d, components = config.prior, config.latent_dim, config.components
        self.latent_dim, self.columns = d, d + (self.kind == "mixture")
        if self.kind == "mixture":
            self.register_buffer("weights", torch.full((components,), 1 / components))
            self.register_buffer("means", torch.zeros(components, d))
            self.register_buffer("factor", torch.zeros(d, d).fill_diagonal_(1))

    @classmethod
    def of_mixture(cls, config: ModelConfig, mixture: Mixture) -> Prior:
        """Build for `config`, which says "mixture" and how many components."""
        prior = cls(config)
        prior.load_state_dict({name: value.float() for name, value in vars(mixture).items()})
        return prior

    def forward(self, noise: Tensor) -> Tensor:
        """A uniform latent is U(-sqrt(3), sqrt(3)) per axis, through the normal's distribution function."""
        if self.kind == "normal":
            return noise
        if self.kind == "uniform":
            uniform: Tensor = (2 * torch.special.ndtr(noise) - 1) * math.sqrt(3)
            return uniform
        chance = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
        chosen = (chance > self.weights.cumsum(0)[:-1]).sum(1)
        latents: Tensor = self.means[chosen] + noise[:, :-1] @ self.factor.T
        return latents

    @torch.no_grad()
    def of(self, seeds: Sequence[int]) -> Tensor:
        """Return the latent of every seed, float32 [len(seeds), d], on the CPU; each depends on its seed alone."""
        prior, rows = copy.deepcopy(self).cpu(), []
        for seed in seeds:  # one by one: products may round differently for other counts
            noise = torch.randn(self.columns, generator=torch.Generator().manual_seed(seed % 2**63))
            rows.append(prior(noise[None])[0])
        return torch.stack(rows) if rows else torch.empty(0, self.latent_dim)
