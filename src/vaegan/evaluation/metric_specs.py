"""The measures by name: what each says, and which way is better. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

MEAN_OF_SCALES = "together"


@dataclass(frozen=True)
class MetricSpec:
    """One number: how it is told, which way is better ("lower", "higher" or "real", near the real pictures' value)."""

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
    "set": "  learned from the set",
}


def _specs_per_space(name: str, label: str, display_scale: float = 1.0, has_stderr: bool = False) -> list[MetricSpec]:
    """The same distance in every space, the mean of the random ones first."""
    return [
        MetricSpec(
            f"{name}_{space}",
            words if words.startswith(" ") else label + words,
            "lower",
            2,
            f"{name}_{space}_error" if has_stderr else None,
            display_scale,
        )
        for space, words in SPACE_LABELS.items()
    ]


METRIC_SPECS = {
    measure.name: measure
    for measure in (
        *_specs_per_space("frechet", "Frechet distance"),
        *_specs_per_space("kid", "KID x 1000", 1000.0, has_stderr=True),
        MetricSpec("frechet_vae", "Frechet distance, VAE's encoder (favours its own GAN)", "lower"),
        MetricSpec("kid_vae", "KID x 1000, VAE's encoder (favours its own GAN)", "lower", 2, "kid_vae_error", 1000.0),
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
        MetricSpec("channel_mean", "largest shift of a colour channel x 1000", "lower", 1),
        MetricSpec("channel_deviation", "largest change of a channel's contrast x 1000", "lower", 1),
        MetricSpec("ndb_over_k", "bins of kinds of faces that differ (0.05 by chance)", "lower", 2),
        MetricSpec("ndb_missing", "  bins left empty", "lower", 2),
        MetricSpec("duplicate_pairs", "pairs that are nearly the same", "lower", 0),
        MetricSpec("birthday_support", "different pictures, estimated", "higher", 0),
        MetricSpec("memorized_fraction", "nearer a training picture than its neighbour", "real", 3),
        MetricSpec("inception_fid", "FID (Inception)", "lower"),
        MetricSpec("inception_kid", "KID x 1000 (Inception)", "lower", 2, "inception_kid_error", 1000.0),
        MetricSpec("inception_precision", "precision (Inception)", "higher", 3),
        MetricSpec("inception_recall", "recall (Inception)", "higher", 3),
    )
}


def format_metric(spec: MetricSpec, metrics: dict[str, float | None]) -> str:
    """Say a measure's number as text: "12.34", "1.20 +- 0.30", or "-" where there is none."""
    value = metrics.get(spec.name)
    if value is None:
        return "-"
    if value == float("inf"):
        return "no pair found"
    text = f"{value * spec.display_scale:.{spec.decimals}f}"
    error = metrics.get(spec.stderr_key) if spec.stderr_key is not None else None
    return text if error is None else f"{text} ±{error * spec.display_scale:.{spec.decimals}f}"
