"""Interpolation between latents."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from vaegan.errors import UsageError


def lerp(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Interpolate linearly between two latents.

    Args:
        start: latent [d].
        end: latent [d].
        weights: [n] in 0..1.

    Returns:
        latents [n, d].
    """
    return torch.lerp(start[None], end[None], weights[:, None])


def slerp(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Interpolate the direction along a great circle, and the length linearly.

    This is spherical interpolation (Shoemake 1985; for latents White 2016, arXiv 1609.04468). Samples of a
    high-dimensional normal lie near a sphere. The middle of a straight line between two of them is shorter than any
    latent that the decoder was trained on.

    Args:
        start: latent [d].
        end: latent [d].
        weights: [n] in 0..1.

    Returns:
        latents [n, d]; those of `lerp` where start and end are parallel or one is 0.
    """
    lengths = start.norm(), end.norm()
    if min(lengths) < 1e-6:
        return lerp(start, end, weights)
    cosine = torch.dot(start / lengths[0], end / lengths[1]).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4 or math.pi - angle < 1e-4:
        return lerp(start, end, weights)
    t = weights[:, None]
    from_start = torch.sin((1 - t) * angle) / torch.sin(angle) * (start / lengths[0])
    from_end = torch.sin(t * angle) / torch.sin(angle) * (end / lengths[1])
    latents: Tensor = (from_start + from_end) * ((1 - t) * lengths[0] + t * lengths[1])
    return latents


INTERPOLATION_METHODS = {"slerp": slerp, "lerp": lerp}


def smoothstep(weights: Tensor) -> Tensor:
    """Return 3 t^2 - 2 t^3, which goes from 0 to 1 and is slow at both ends.

    Args:
        weights: in 0..1, any shape.

    Returns:
        values in 0..1, of the same shape.
    """
    return weights * weights * (3 - 2 * weights)


EASINGS = {"linear": lambda weights: weights, "smooth": smoothstep}


def interpolate_path(
    keyframes: Tensor, frames_per_segment: int, method: str = "slerp", easing: str = "linear", loop: bool = False
) -> Tensor:
    """Interpolate through latents [k, d], each of which is on the path bit for bit.

    Args:
        keyframes: latents [k, d].
        frames_per_segment: Latents from one keyframe to the next, both included.
        method: One of INTERPOLATION_METHODS.
        easing: One of EASINGS.
        loop: Whether to return from the last keyframe to the first.

    Returns:
        Latents [segments * (frames_per_segment - 1) + 1, d].

    Raises:
        UsageError: if the method or the easing is unknown.
    """
    if method not in INTERPOLATION_METHODS:
        raise UsageError(f"--method {method}: expected one of {', '.join(INTERPOLATION_METHODS)}")
    if easing not in EASINGS:
        raise UsageError(f"--easing {easing}: expected one of {', '.join(EASINGS)}")
    interpolate = INTERPOLATION_METHODS[method]
    if loop:
        keyframes = torch.cat([keyframes, keyframes[:1]])
    inner_weights = EASINGS[easing](torch.linspace(0, 1, frames_per_segment))[1:-1]
    segments = [torch.cat([a[None], interpolate(a, b, inner_weights)]) for a, b in itertools.pairwise(keyframes)]
    return torch.cat([*segments, keyframes[-1:]])


def default_method(prior: str) -> str:
    """Return the interpolation method that stays among latents of the prior.

    Normal latents lie near a sphere, and so do encoded images, because the posterior is whitened: slerp stays near it.
    Uniform latents fill a cube: lerp stays inside.

    Args:
        prior: "normal", "uniform" or "mixture".

    Returns:
        "slerp" or "lerp".
    """
    return "lerp" if prior == "uniform" else "slerp"
