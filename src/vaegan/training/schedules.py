"""How settings change over a run: by pictures seen, never by the run's length, so that a run can be made longer."""

from __future__ import annotations

import math


def risen(images: int, warmup: int) -> float:
    """How far a linear rise over `warmup` pictures has come after `images`: 0 to 1."""
    return min(1.0, images / warmup) if warmup else 1.0


def fallen(images: int, after: int) -> float:
    """What the learning rate is multiplied by: 1, and past `after` pictures 1 / sqrt(images / after); 0 for never.

    Karras et al. 2024 (arXiv 2312.02696, eq. 67).
    """
    return math.sqrt(after / images) if after and images > after else 1.0


def annealed(images: int, over: int, start: float, end: float) -> float:
    """From `start` to `end` by half a cosine over the first `over` pictures (as R3GAN's burn-in, arXiv 2501.05441)."""
    return end + (start - end) * (1 + math.cos(math.pi * risen(images, over))) / 2
