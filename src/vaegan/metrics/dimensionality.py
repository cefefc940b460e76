"""How much of a VAE's latent space is used."""

from __future__ import annotations

from torch import Tensor

ACTIVE_UNIT_THRESHOLD = 0.01


def active_units(means: Tensor, threshold: float = ACTIVE_UNIT_THRESHOLD) -> int:
    """Axes whose posterior mean depends on the picture: of a variance over pictures above `threshold`.

    means: of every picture's posterior, float [N, d]. Burda et al. 2016 ("Importance weighted autoencoders",
    arXiv 1509.00519, section 5.2), with their threshold.
    """
    return int((means.double().var(0, correction=0) > threshold).sum())
