"""Number of dimensions in use: active units of a VAE's latent space, effective rank of features."""

from __future__ import annotations

import torch
from torch import Tensor

ACTIVE_UNIT_THRESHOLD = 0.01


def active_units(means: Tensor, threshold: float = ACTIVE_UNIT_THRESHOLD) -> int:
    """Count the latent dimensions whose posterior mean varies over the images.

    Definition and threshold are those of Burda et al. 2016, arXiv 1509.00519, section 5.2.

    Args:
        means: posterior means, float [N, d].
        threshold: smallest variance that counts.

    Returns:
        number from 0 to d.
    """
    return int((means.double().var(0, correction=0) > threshold).sum())


def effective_rank(features: Tensor) -> float:
    """Return the effective number of directions that features vary along.

    It is exp(-sum(p ln p)), where p are the variances along the principal axes divided by their sum (Roy & Vetterli
    2007, "The effective rank", definition 1).

    Args:
        features: [N, d], N at least 2.

    Returns:
        1 to d, or 0 if all rows are equal.

    Raises:
        ValueError: if there are fewer than 2 rows.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows: expected at least 2")
    centered = features.double() - features.double().mean(0)
    variances = torch.linalg.svdvals(centered).square()
    total = float(variances.sum())
    if total <= 1e-12 * float(features.double().square().sum()):
        return 0.0
    return float(torch.special.entr(variances / total).sum().exp())
