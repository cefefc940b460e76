"""Linear probes on latents: fitting them, measuring them, and the edits of latents that they allow.

A probe scores a latent z as w.z + b. Among all changes of z that raise the score by one, d = C w / (w^T C w) is the
shortest in the Mahalanobis distance of the latents' covariance C. It follows how the latents vary together, so an
edited latent stays where the decoder was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.errors import UsageError

RIDGES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
"""Penalties to choose from: lambda in the loss |x w + b - y|^2 + lambda |w|^2 over all latents x and targets y."""
NUM_FOLDS = 4
NEWTON_STEPS = 30
NUM_BOOTSTRAPS = 500
PROJECTION_SWEEPS = 300
MIN_ROOM = 1e-4
"""Least part of a probe's variance that other probes may leave, for its score to be changed while theirs are not."""


@dataclass(frozen=True)
class ProbeFit:
    """Linear probes of several targets, fitted to the same latents.

    Attributes:
        weights: float64 [A, d].
        biases: float64 [A].
        left_out_scores: float64 [N, A], the score of each latent by a probe that was fitted without it.
    """

    weights: Tensor
    biases: Tensor
    left_out_scores: Tensor


# ---- Fitting --------------------------------------------------------------------------------------------------------


def fit_probes(latents: Tensor, targets: Tensor, is_binary: Tensor, seed: int = 0) -> ProbeFit:
    """Fit one probe for each target by ridge regression; cross-validation chooses the penalty of each.

    For a binary target, this is Fisher's linear discriminant. Its scores are then scaled to log-odds by a logistic
    regression on the scores of the left-out latents (Platt 1999, "Probabilistic outputs for support vector machines").

    Args:
        latents: float [N, d].
        targets: float [N, A] without NaN; binary ones are 0 and 1, and each must have both.
        is_binary: bool [A].
        seed: seed of the division into folds.

    Returns:
        the probes, and the scores of the latents by probes that were fitted without them.
    """
    x, y = latents.double(), targets.double()
    fold = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)) % NUM_FOLDS

    # The scores of the left-out latents, for each penalty
    left_out = torch.zeros(len(RIDGES), *y.shape, dtype=torch.float64)
    for index in range(NUM_FOLDS):
        is_left_out = fold == index
        for position, (weights, biases) in enumerate(_ridge_paths(x[~is_left_out], y[~is_left_out])):
            left_out[position, is_left_out] = x[is_left_out] @ weights + biases
    best = (left_out - y).square().sum(1).argmin(0)  # [A]
    targets_range = torch.arange(y.shape[1])
    scores = left_out[best, :, targets_range].T

    paths = _ridge_paths(x, y)
    weights = torch.stack([path[0] for path in paths])[best, :, targets_range]
    biases = torch.stack([path[1] for path in paths])[best, targets_range]
    for index in is_binary.nonzero().flatten().tolist():
        slope, offset = _fit_platt_scaling(scores[:, index], y[:, index])
        weights[index], biases[index] = slope * weights[index], slope * biases[index] + offset
        scores[:, index] = slope * scores[:, index] + offset
    return ProbeFit(weights, biases, scores)


def _ridge_paths(x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return weights [d, A] and biases [A] of ridge regression for each penalty of RIDGES."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    eigenvalues, eigenvectors = torch.linalg.eigh((x - x_mean).T @ (x - x_mean))
    projected = eigenvectors.T @ ((x - x_mean).T @ (y - y_mean))
    paths = []
    for ridge in RIDGES:
        weights = eigenvectors @ (projected / (eigenvalues.clamp_min(0) + ridge)[:, None])
        paths.append((weights, y_mean - x_mean @ weights))
    return paths


def _fit_platt_scaling(scores: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return slope and offset that turn scores [N] into log-odds of targets [N] of 0 and 1, by Newton's method.

    The targets are smoothed as in Platt's paper, so that the slope stays finite where the classes do not overlap.
    """
    num_positive = float(targets.sum())
    num_negative = len(targets) - num_positive
    smooth = torch.where(targets > 0.5, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2)).double()
    scale = float(scores.std().clamp_min(1e-12))
    x = torch.stack([(scores - scores.mean()) / scale, torch.ones_like(scores)], 1)
    solution = torch.zeros(2, dtype=torch.float64)
    ridge = 1e-6 * len(x) * torch.eye(2, dtype=torch.float64)
    for _ in range(NEWTON_STEPS):
        probabilities = (x @ solution).sigmoid()
        curvature = (probabilities * (1 - probabilities)).clamp_min(1e-9)
        hessian = (x * curvature[:, None]).T @ x + ridge
        step = torch.linalg.solve(hessian, x.T @ (probabilities - smooth))
        solution = solution - step.clamp(-2, 2)  # a full step can overshoot where the classes hardly overlap
        if float(step.abs().max()) < 1e-6:
            break
    slope = max(float(solution[0]), 1e-6) / scale
    return slope, float(solution[1]) - slope * float(scores.mean())


# ---- Scores ---------------------------------------------------------------------------------------------------------


def auc(scores: Tensor, targets: Tensor) -> float:
    """Return the area under the ROC curve: the probability that a positive scores higher than a negative.

    Args:
        scores: float [N]; ties count one half.
        targets: [N] of 0 and 1; both must occur.

    Returns:
        0 to 1; 0.5 for scores that say nothing.
    """
    is_positive = targets > 0.5
    ranks = _midranks(scores)
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    rank_sum = float(ranks[is_positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def _midranks(scores: Tensor) -> Tensor:
    """Return the rank of each score, from 1; equal scores share the mean of their ranks."""
    ordered = scores.sort().values
    first = torch.searchsorted(ordered, scores, right=False)
    last = torch.searchsorted(ordered, scores, right=True)
    ranks: Tensor = (first + last + 1).double() / 2
    return ranks


def r_squared(predictions: Tensor, targets: Tensor) -> float:
    """Return the fraction of the targets' variance that predictions explain.

    Args:
        predictions: float [N].
        targets: float [N].

    Returns:
        at most 1; negative if the predictions are worse than the mean.
    """
    residual = (targets.double() - predictions.double()).square().sum()
    total = (targets.double() - targets.double().mean()).square().sum()
    return float(1 - residual / total.clamp_min(1e-12))


def bootstrap_auc(scores: Tensor, targets: Tensor, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of the AUC, from resampled positives and negatives (percentile bootstrap).

    Args:
        scores: float [N].
        targets: [N] of 0 and 1; both must occur.
        seed: seed of the resampling.

    Returns:
        its lower and its upper end.
    """
    generator = torch.Generator().manual_seed(seed)
    positives, negatives = scores[targets > 0.5], scores[targets <= 0.5]
    # P(positive > negative) of every positive against all negatives; resampling the positives then is a mean
    values = []
    for _ in range(NUM_BOOTSTRAPS):
        some_positives = positives[torch.randint(len(positives), (len(positives),), generator=generator)]
        some_negatives = negatives[torch.randint(len(negatives), (len(negatives),), generator=generator)].sort().values
        below = torch.searchsorted(some_negatives, some_positives, right=False)
        not_above = torch.searchsorted(some_negatives, some_positives, right=True)
        values.append(float((below + not_above).double().mean()) / (2 * len(negatives)))
    return _interval(values)


def bootstrap_r_squared(predictions: Tensor, targets: Tensor, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of R2, from resampled images (percentile bootstrap).

    Args:
        predictions: float [N].
        targets: float [N].
        seed: seed of the resampling.

    Returns:
        its lower and its upper end.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = (torch.randint(len(targets), (len(targets),), generator=generator) for _ in range(NUM_BOOTSTRAPS))
    return _interval([r_squared(predictions[rows], targets[rows]) for rows in draws])


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)


# ---- Edits ----------------------------------------------------------------------------------------------------------


def shift_scores(
    latents: Tensor, weights: Tensor, changes: Tensor, covariance: Tensor, is_at_least: Tensor | None = None
) -> Tensor:
    """Change latents as little as possible so that their scores change as asked.

    The change delta minimizes the Mahalanobis distance delta^T C^-1 delta subject to weights @ delta = changes, or
    >= changes for some. It is a combination of the directions C w. The multipliers of the equations follow from those
    of the inequalities, which Hildreth's method finds ("A quadratic programming procedure", 1957).

    Args:
        latents: float [N, d].
        weights: float [k, d], of k probes.
        changes: float [N, k], how much each score shall change.
        covariance: C, float [d, d].
        is_at_least: bool [k], whether a change may be larger than asked; None for no.

    Returns:
        the changed latents, float32 [N, d].

    Raises:
        UsageError: if an inequality contradicts the equations, so that no change can meet it.
    """
    is_at_least = torch.zeros(len(weights), dtype=torch.bool) if is_at_least is None else is_at_least
    weights, changes = weights.double(), changes.double()
    directions = weights @ covariance.double()  # C w, one per row
    gram = directions @ weights.T
    gram = gram + torch.diag(1e-6 * gram.diagonal())  # probes may be nearly equal

    # The equations are eliminated: what an inequality still demands, and how far its multiplier moves its own score
    equal, free = (~is_at_least).nonzero().flatten(), is_at_least.nonzero().flatten()
    coupling = torch.linalg.solve(gram[equal][:, equal], gram[equal][:, free])  # [equations, inequalities]
    reduced = gram[free][:, free] - gram[free][:, equal] @ coupling
    demanded = changes[:, free] - changes[:, equal] @ coupling
    room = reduced.diagonal() / gram.diagonal()[free]
    if bool((room < MIN_ROOM).any()):
        raise UsageError("what is held leaves no way to make the change: hold fewer attributes")

    multipliers = torch.zeros_like(changes)
    found = torch.zeros_like(demanded)
    for _ in range(PROJECTION_SWEEPS if len(free) else 0):
        for index in range(len(free)):
            gap = demanded[:, index] - found @ reduced[:, index]
            found[:, index] = (found[:, index] + gap / reduced[index, index]).clamp_min(0)
    multipliers[:, free] = found
    rest = changes[:, equal] - found @ gram[free][:, equal]
    multipliers[:, equal] = torch.linalg.solve(gram[equal][:, equal], rest.T).T
    shifted: Tensor = latents.double() + multipliers @ directions
    return shifted.float()
