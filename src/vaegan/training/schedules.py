"""How settings change over a run: by pictures seen, never by the run's length, so that a run can be made longer."""

from __future__ import annotations

import math


def linear_warmup(images_seen: int, warmup_images: int) -> float:
    """How far a linear rise over `warmup` pictures has come after `images`: 0 to 1."""
    return min(1.0, images_seen / warmup_images) if warmup_images else 1.0


def inverse_sqrt_decay(images_seen: int, decay_start_images: int) -> float:
    """What the learning rate is multiplied by: 1, and past `after` pictures 1 / sqrt(images / after); 0 for never.

    Karras et al. 2024 (arXiv 2312.02696, eq. 67).
    """
    return (
        math.sqrt(decay_start_images / images_seen) if decay_start_images and images_seen > decay_start_images else 1.0
    )


def cosine_anneal(images_seen: int, anneal_images: int, initial: float, final: float) -> float:
    """From `start` to `end` by half a cosine over the first `over` pictures (as R3GAN's burn-in, arXiv 2501.05441)."""
    return final + (initial - final) * (1 + math.cos(math.pi * linear_warmup(images_seen, anneal_images))) / 2
