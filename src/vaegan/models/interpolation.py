"""Paths between latents: pure functions of tensors."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from vaegan.errors import UsageError


def lerp(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Straight line: [d], [d], weights [n] in 0..1 -> [n, d]."""
    return torch.lerp(start[None], end[None], weights[:, None])


def slerp(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Great arc with the length interpolated too (Shoemake 1985; White 2016, arXiv 1609.04468): [n, d].

    High-dimensional normal latents lie near a sphere; the straight line's middle is shorter than what was trained on.
    Parallel or vanishing ends fall back to the straight line.
    """
    lengths = start.norm(), end.norm()
    if min(lengths) < 1e-6:
        return lerp(start, end, weights)
    cosine = torch.dot(start / lengths[0], end / lengths[1]).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4 or math.pi - angle < 1e-4:
        return lerp(start, end, weights)
    t = weights[:, None]
    left = torch.sin((1 - t) * angle) / torch.sin(angle) * (start / lengths[0])
    right = torch.sin(t * angle) / torch.sin(angle) * (end / lengths[1])
    path: Tensor = (left + right) * ((1 - t) * lengths[0] + t * lengths[1])
    return path


INTERPOLATION_METHODS = {"slerp": slerp, "lerp": lerp}


def smoothstep(weights: Tensor) -> Tensor:
    """3 t^2 - 2 t^3: from 0 to 1, slow at both ends."""
    return weights * weights * (3 - 2 * weights)


EASINGS = {"linear": lambda weights: weights, "smooth": smoothstep}


def interpolate_path(
    keyframes: Tensor, frames_per_segment: int, method: str = "slerp", easing: str = "linear", loop: bool = False
) -> Tensor:
    """Path through `keys` [k, d]: `frames` latents from each key to the next, the last key included; [n, d].

    Every key is on the path as it is, to the bit. loop: go on from the last key to the first.
    """
    if method not in INTERPOLATION_METHODS:
        raise UsageError(f"--path {method}: expected one of {', '.join(INTERPOLATION_METHODS)}")
    if easing not in EASINGS:
        raise UsageError(f"--easing {easing}: expected one of {', '.join(EASINGS)}")
    if loop:
        keyframes = torch.cat([keyframes, keyframes[:1]])
    between = EASINGS[easing](torch.linspace(0, 1, frames_per_segment))[1:-1]
    legs = [
        torch.cat([a[None], INTERPOLATION_METHODS[method](a, b, between)]) for a, b in itertools.pairwise(keyframes)
    ]
    return torch.cat([*legs, keyframes[-1:]])


def default_method(prior: str) -> str:
    """The path that stays among latents that a decoder was trained on.

    Normal latents lie near a sphere, and the great arc with it; so do encoded pictures, on a sphere of their own, as
    the posterior is folded to be N(0, I): the arc goes over from the one's radius to the other's, where the straight
    line's middle would be 0.7 times as long. Uniform latents fill a cube: the line stays inside, the arc need not.
    """
    return "lerp" if prior == "uniform" else "slerp"
