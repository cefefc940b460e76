"""Rate metrics of samples beside those of as many real images: a ratio, and a grade for its color."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vaegan.evaluation.metric_specs import MetricDict, MetricSpec
from vaegan.evaluation.verdict import (
    CLOSE,
    EXTRA_MEMORIZED,
    FULL_COVERAGE,
    MOST_COVERAGE,
    VISIBLY_OFF,
    as_real_bound,
)

GOOD, FAIR, POOR = "good", "fair", "poor"
MAX_GOOD_RATIO, MAX_FAIR_RATIO = 1.25, 2.0
"""Bounds of a distance as a multiple of that of real images."""
UNRATED = ("ndb_over_k", "ndb_missing", "duplicate_pairs", "birthday_support")
"""Counts, and fractions that are near 0 for real images: a ratio to real images says nothing."""


@dataclass(frozen=True)
class Rating:
    """How near a metric is to that of real images.

    Attributes:
        text: such as "1.4x"; words for a KID, which is about 0 for real images; "" where there is nothing to say.
        grade: GOOD, FAIR or POOR; "" where `text` is empty.
    """

    text: str = ""
    grade: str = ""


def rate_metric(spec: MetricSpec, samples: MetricDict, real: MetricDict) -> Rating:
    """Rate one metric of samples.

    Args:
        spec: the metric.
        samples: metrics of the samples.
        real: metrics of as many real images.

    Returns:
        the rating; an empty one for a metric that was not measured, or that has no ratio.
    """
    value, real_value = samples.get(spec.name), real.get(spec.name)
    if value is None or real_value is None or spec.name in UNRATED or not math.isfinite(value):
        return Rating()
    if spec.name.startswith("kid_"):
        return _rate_kid(value, as_real_bound(spec.name, samples))
    if spec.name == "memorized_fraction":
        is_as_real = value <= real_value + EXTRA_MEMORIZED
        return Rating("as real", GOOD) if is_as_real else Rating("copies", POOR)
    if real_value <= 0:
        return Rating()
    ratio = value / real_value
    if spec.direction == "higher":
        return Rating(f"{ratio:.2f}x", _grade(ratio >= FULL_COVERAGE, ratio >= MOST_COVERAGE))
    distance = max(ratio, 1 / max(ratio, 1e-9)) if spec.direction == "real" else ratio
    return Rating(f"{ratio:.2f}x", _grade(distance <= MAX_GOOD_RATIO, distance <= MAX_FAIR_RATIO))


def _rate_kid(value: float, as_real: float) -> Rating:
    if value <= as_real:
        return Rating("as real", GOOD)
    if value <= CLOSE:
        return Rating("close", GOOD)
    return Rating("off", FAIR) if value <= VISIBLY_OFF else Rating("far off", POOR)


def _grade(is_good: bool, is_fair: bool) -> str:
    return GOOD if is_good else FAIR if is_fair else POOR
