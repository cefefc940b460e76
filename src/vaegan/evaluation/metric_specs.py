"""Labels and formats of the metrics of an evaluation. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MetricDict = dict[str, float | None]
MEAN_OF_SCALES = "mean"
LEARNED_SPACE = "learned"


@dataclass(frozen=True)
class MetricSpec:
    """How one metric is shown.

    Attributes:
        direction: which way is better: "lower", "higher" or "real" (close to the value of real images).
        stderr_key: name of the metric that holds its standard error.
        display_scale: factor between the metric and the number shown.
    """

    name: str
    label: str
    direction: str
    decimals: int = 2
    stderr_key: str | None = None
    display_scale: float = 1.0


SPACE_LABELS = {
    MEAN_OF_SCALES: ", mean of the three scales",
    "fine": "  fine texture",
    "middle": "  middle",
    "coarse": "  coarse content",
    LEARNED_SPACE: "  learned features",
}


def _specs_per_space(name: str, label: str, display_scale: float = 1.0, has_stderr: bool = False) -> list[MetricSpec]:
    """Return a distance in every feature space; the first one has the full label, the others are indented."""
    specs = []
    for space, suffix in SPACE_LABELS.items():
        stderr_key = f"{name}_{space}_stderr" if has_stderr else None
        full_label = label + suffix if space == MEAN_OF_SCALES else suffix
        specs.append(MetricSpec(f"{name}_{space}", full_label, "lower", 2, stderr_key, display_scale))
    return specs


METRIC_SPECS = {
    spec.name: spec
    for spec in (
        *_specs_per_space("frechet", "Frechet distance"),
        *_specs_per_space("kid", "KID x 1000", 1000.0, has_stderr=True),
        MetricSpec("frechet_vae", "Frechet distance, VAE's encoder (favors its own GAN)", "lower"),
        MetricSpec("kid_vae", "KID x 1000, VAE's encoder (favors its own GAN)", "lower", 2, "kid_vae_stderr", 1000.0),
        MetricSpec("precision", "precision", "higher", 3),
        MetricSpec("recall", "recall", "higher", 3),
        MetricSpec("density", "density", "real", 3),
        MetricSpec("coverage", "coverage", "higher", 3),
        MetricSpec("coverage_fine", "  in fine features", "higher", 3),
        MetricSpec("coverage_coarse", "  in coarse features", "higher", 3),
        MetricSpec("sliced_wasserstein", "sliced Wasserstein distance x 1000", "lower", 1),
        MetricSpec("sliced_wasserstein_0", "  finest level", "lower", 1),
        MetricSpec("sliced_wasserstein_1", "  half size", "lower", 1),
        MetricSpec("sliced_wasserstein_2", "  quarter size", "lower", 1),
        MetricSpec("channel_mean", "shift of a channel's mean x 1000", "lower", 1),
        MetricSpec("channel_deviation", "change of a channel's contrast x 1000", "lower", 1),
        MetricSpec("luminance_deviation", "noise in calm areas, gray levels of 255", "real", 2),
        MetricSpec("chroma_deviation", "  of color", "real", 2),
        MetricSpec("power_low", "detail at 0.2-0.3 cycles a pixel, real = 1", "real", 2),
        MetricSpec("power_middle", "  at 0.3-0.4", "real", 2),
        MetricSpec("power_high", "  at 0.4-0.5", "real", 2),
        MetricSpec("ndb_over_k", "NDB/k, bins that differ (0.05 by chance)", "lower", 2),
        MetricSpec("ndb_missing", "  bins left empty", "lower", 2),
        MetricSpec("duplicate_pairs", "pairs of near-duplicates", "lower", 0),
        MetricSpec("birthday_support", "different images, estimated", "higher", 0),
        MetricSpec("memorized_fraction", "closer to a training image than its neighbor", "real", 3),
        MetricSpec("inception_fid", "FID (Inception)", "lower"),
        MetricSpec("inception_kid", "KID x 1000 (Inception)", "lower", 2, "inception_kid_stderr", 1000.0),
        MetricSpec("inception_precision", "precision (Inception)", "higher", 3),
        MetricSpec("inception_recall", "recall (Inception)", "higher", 3),
    )
}


def format_metric(spec: MetricSpec, metrics: Mapping[str, float | None], has_stderr: bool = True) -> str:
    """Format a metric.

    Args:
        spec: the metric.
        metrics: value by name.
        has_stderr: give the standard error too, where there is one.

    Returns:
        "12.34" or "1.20 ±0.30"; "-" if it was not measured.
    """
    value = metrics.get(spec.name)
    if value is None:
        return "-"
    if value == float("inf"):
        return "none found"
    text = f"{value * spec.display_scale:.{spec.decimals}f}"
    stderr = metrics.get(spec.stderr_key) if has_stderr and spec.stderr_key is not None else None
    return text if stderr is None else f"{text} ±{stderr * spec.display_scale:.{spec.decimals}f}"
