"""How varied a lot of features is."""

from __future__ import annotations

import torch
from torch import Tensor


def effective_rank(features: Tensor) -> float:
    """Number of directions that rows [N, d] vary along: the exponential of their variances' entropy; 0 for one point.

    Roy & Vetterli 2007 ("The effective rank", definition 1), of the centred rows' variances along principal axes.
    Raises ValueError for fewer than 2 rows.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} rows: expected at least 2")
    centred = features.double() - features.double().mean(0)
    shares = torch.linalg.svdvals(centred).square()
    total = float(shares.sum())
    if total <= 1e-12 * float(features.double().square().sum()):
        return 0.0
    shares = shares / total
    return float(torch.special.entr(shares).sum().exp())
