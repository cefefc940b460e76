"""Drawing latents and the paths between them: pure functions of tensors and seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vaegan.errors import UsageError


def shape_noise(noise: Tensor, prior: str) -> Tensor:
    """Turn standard normal noise into draws of the prior, both of unit variance.

    "uniform" is U(-sqrt(3), sqrt(3)) per axis, through the normal's distribution function, so that a seed's latent
    under the two priors points the same way.
    """
    if prior == "normal":
        return noise
    uniform: Tensor = (2 * torch.special.ndtr(noise) - 1) * math.sqrt(3)
    return uniform


def latents_of(seeds: Sequence[int], latent_dim: int, prior: str = "normal") -> Tensor:
    """Return the latent of every seed, float32 [len(seeds), latent_dim]; a seed's latent depends on it alone."""
    rows = [torch.randn(latent_dim, generator=torch.Generator().manual_seed(seed % 2**63)) for seed in seeds]
    return shape_noise(torch.stack(rows), prior) if rows else torch.empty(0, latent_dim)


def linear(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Straight line: [d], [d], weights [n] in 0..1 -> [n, d]."""
    return torch.lerp(start[None], end[None], weights[:, None])


def spherical(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Great arc with the length interpolated too (Shoemake 1985; White 2016, arXiv 1609.04468): [n, d].

    High-dimensional normal latents lie near a sphere; the straight line's middle is shorter than what was trained on.
    Parallel or vanishing ends fall back to the straight line.
    """
    lengths = start.norm(), end.norm()
    if min(lengths) < 1e-6:
        return linear(start, end, weights)
    cosine = torch.dot(start / lengths[0], end / lengths[1]).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4 or math.pi - angle < 1e-4:
        return linear(start, end, weights)
    t = weights[:, None]
    left = torch.sin((1 - t) * angle) / torch.sin(angle) * (start / lengths[0])
    right = torch.sin(t * angle) / torch.sin(angle) * (end / lengths[1])
    path: Tensor = (left + right) * ((1 - t) * lengths[0] + t * lengths[1])
    return path


PATHS = {"spherical": spherical, "linear": linear}


def walk(keys: Tensor, frames: int, method: str, loop: bool = False) -> Tensor:
    """Path through `keys` [k, d]: `frames` latents from each key to the next, the last key included; [n, d]."""
    if method not in PATHS:
        raise UsageError(f"--method {method}: expected one of {', '.join(PATHS)}")
    if loop:
        keys = torch.cat([keys, keys[:1]])
    weights = torch.linspace(0, 1, frames)
    legs = [PATHS[method](a, b, weights) for a, b in itertools.pairwise(keys)]
    return torch.cat([leg if index == 0 else leg[1:] for index, leg in enumerate(legs)])
