"""Trailing latents of a sample, taken from the references that fit its leading latents best.

References are latents of training images (`vaegan.models.reference_latents`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vaegan.config.model_config import MIN_REFERENCES

# References that fit best: how many there are to choose from, and the weight of the first.
NUM_NEIGHBORS = MIN_REFERENCES
BEST_WEIGHT = 0.8
SEEDS_PER_CHUNK = 256
"""Latents of seeds whose best references are searched at once; 8,192 references then take 16 MiB."""
OTHER_CLASS_PENALTY = 1e6
"""What a reference of another class fits less: it is taken only where its own class has too few."""


def complete_latents(
    leading: Tensor, references: Tensor, offsets: Tensor, noise: Tensor, is_other: Tensor | None = None
) -> Tensor:
    """Add trailing latents from the references that fit the leading latents best.

    How well reference r fits is the product of its leading latents with those given, plus its offset. The added
    latents are 0.8 times those of the best reference plus 0.6 times those of one of the next four. As 0.8^2 + 0.6^2 is
    1, they keep their variance where the two are independent.

    Args:
        leading: float [N, k].
        references: latents of training images, float [M, d], M at least NUM_NEIGHBORS.
        offsets: float [M] (see `vaegan.models.reference_latents.balanced_offsets`, `nearest_offsets`).
        noise: N(0, 1), float [N], which selects the second reference.
        is_other: bool [N, M], True for references that are taken last, because they are of another class.

    Returns:
        latents [N, d].
    """
    best = best_references(leading, references[:, : leading.shape[1]], offsets, is_other)
    return _blend(leading, references, noise, best)


def complete_seeds(
    leading: Tensor, references: Tensor, offsets: Tensor, noise: Tensor, is_other: Tensor | None = None
) -> Tensor:
    """Complete latents as `complete_latents` does, but each as if it were alone.

    Which references fit best is computed in float64: the number of rows changes the rounding, and could decide.

    Args:
        leading: float32 [N, k], on the CPU.
        references: as in `complete_latents`.
        offsets: as in `complete_latents`.
        noise: as in `complete_latents`.
        is_other: as in `complete_latents`.

    Returns:
        latents [N, d].
    """
    keys, offsets = references[:, : leading.shape[1]].double(), offsets.double()
    best = [torch.empty(0, NUM_NEIGHBORS, dtype=torch.int64)]
    for start in range(0, len(leading), SEEDS_PER_CHUNK):
        rows = slice(start, start + SEEDS_PER_CHUNK)
        best.append(
            best_references(leading[rows].double(), keys, offsets, None if is_other is None else is_other[rows])
        )
    return _blend(leading, references, noise, torch.cat(best))


def nearest_offsets(keys: Tensor) -> Tensor:
    """Return the offsets with which references are chosen by their distance alone.

    Args:
        keys: leading latents of the references, float [M, k].

    Returns:
        float [M].
    """
    offsets: Tensor = -torch.linalg.vector_norm(keys, dim=1).square() / 2
    return offsets


def best_references(
    leading: Tensor, keys: Tensor, offsets: Tensor, is_other: Tensor | None = None, count: int = NUM_NEIGHBORS
) -> Tensor:
    """Find the references that fit leading latents best.

    Args:
        leading: float [N, k].
        keys: leading latents of the references, float [M, k].
        offsets: float [M].
        is_other: as in `complete_latents`.
        count: number of references.

    Returns:
        their rows, the best first, int64 [N, count].
    """
    fit = torch.addmm(offsets, leading, keys.T)
    if is_other is not None:
        fit = fit - OTHER_CLASS_PENALTY * is_other.to(fit.dtype)
    best: Tensor = fit.argmax(1, keepdim=True) if count == 1 else fit.topk(count, dim=1).indices
    return best


def _blend(leading: Tensor, references: Tensor, noise: Tensor, best: Tensor) -> Tensor:
    """Append the trailing latents of the best reference and of one of the next."""
    trailing = references[:, leading.shape[1] :]
    uniform = 0.5 * (1 + torch.erf(noise / math.sqrt(2)))
    second = 1 + (uniform * (NUM_NEIGHBORS - 1)).long().clamp(0, NUM_NEIGHBORS - 2)
    other = best.gather(1, second[:, None])[:, 0]
    blend = BEST_WEIGHT * trailing[best[:, 0]] + math.sqrt(1 - BEST_WEIGHT**2) * trailing[other]
    return torch.cat([leading, blend], 1)
