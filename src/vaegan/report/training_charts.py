"""Which metrics of metrics.jsonl are drawn in which chart of a run's report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vaegan.report.charts import Series, line_chart
from vaegan.report.html_page import chart_grid, details

MAX_EXTRA_CHARTS = 40
MAX_PLOTTED_VALUE = 1e100
"""Values that are larger or not finite are not drawn."""


@dataclass(frozen=True)
class MetricChart:
    """One chart; `metrics` maps the keys of metrics.jsonl to the labels of their lines."""

    title: str
    description: str
    metrics: Mapping[str, str]


METRIC_CHARTS = (
    MetricChart(
        "KID",
        "of samples to validation images, lower is better",
        {"kid": "mean", "kid_fine": "fine", "kid_middle": "middle", "kid_coarse": "coarse"},
    ),
    MetricChart("Losses", "of generator and discriminator", {"loss_g": "generator", "loss_d": "discriminator"}),
    MetricChart("Discriminator margin", "mean logit of real minus fake images", {"d_logit_margin": "real - fake"}),
    MetricChart(
        "Discriminator reconstruction loss",
        "mean absolute error of small real images, from the discriminator's features",
        {"d_recon_loss": "error"},
    ),
    MetricChart(
        "Patch distance", "Wasserstein distance of 3x3 patches of generated and real images", {"patch_loss": "distance"}
    ),
    MetricChart(
        "Sample diversity",
        "relative to validation images; best: 1, and 0 duplicates",
        {"coverage": "coverage", "effective_rank_ratio": "effective rank", "duplicate_fraction": "duplicates"},
    ),
    MetricChart(
        "Discriminator overfitting", "r_v of ADA; 1: validation images get the logits of fake ones", {"ada_rv": "r_v"}
    ),
    MetricChart("Augmentation", "probability of each augmentation", {"augment_p": "p"}),
    MetricChart(
        "Decoder drift", "0: same images as the VAE's decoder; 1: unrelated images", {"decoder_drift": "drift"}
    ),
    MetricChart(
        "Feature reconstruction loss", "on encoded training images", {"recon_feature_loss": "feature distance"}
    ),
    MetricChart(
        "Gradient penalties", "before weighting by gamma", {"r1_penalty": "R1 (real)", "r2_penalty": "R2 (fake)"}
    ),
    MetricChart(
        "Reconstruction loss",
        "nats per image, lower is better",
        {"recon_loss": "training", "val_recon_loss": "validation"},
    ),
    MetricChart("KL divergence", "nats per image", {"kl": "training", "val_kl": "validation"}),
    MetricChart("PSNR", "of reconstructions in dB", {"train_psnr": "training", "val_psnr": "validation"}),
    MetricChart("SSIM", "of reconstructions; 1 is best", {"val_ssim": "validation"}),
    MetricChart("Active latents", "number of latent dimensions in use", {"active_units": "active"}),
    MetricChart("Skipped steps", "total of steps whose gradients were not finite", {"skipped_steps": "steps"}),
)
HIDDEN_METRICS = {"step", "images_seen", "images_per_second", "train_seconds", "kid_stderr", "rollbacks"}


def read_series(metrics_log: Iterable[Mapping[str, float]]) -> dict[str, Series]:
    """Return every metric's finite values over images seen, by the name of the metric.

    Args:
        metrics_log: lines of metrics.jsonl.

    Returns:
        line by name of the metric.
    """
    points: dict[str, tuple[list[float], list[float]]] = {}
    for metrics in metrics_log:
        images_seen = metrics.get("images_seen", math.nan)
        for name, value in metrics.items():
            if name not in HIDDEN_METRICS and abs(value) < MAX_PLOTTED_VALUE and 0 <= images_seen < MAX_PLOTTED_VALUE:
                xs, ys = points.setdefault(name, ([], []))
                xs.append(images_seen)
                ys.append(value)
    return {name: Series(name, xs, ys) for name, (xs, ys) in points.items()}


def metric_charts_html(series_by_metric: Mapping[str, Series]) -> str:
    """Return the charts of METRIC_CHARTS, then one for every other metric, folded away.

    Args:
        series_by_metric: line by name of the metric.

    Returns:
        HTML.
    """
    charts, remaining = [], dict(series_by_metric)
    for chart in METRIC_CHARTS:
        series = [(label, remaining.pop(name)) for name, label in chart.metrics.items() if name in remaining]
        if series:
            lines = [Series(label, line.x, line.y) for label, line in series]
            charts.append(line_chart(chart.title, chart.description, lines))
    # sorted: a resumed run may log the metrics in another order
    extra = [
        line_chart(name.replace("_", " "), "as in metrics.jsonl", [line]) for name, line in sorted(remaining.items())
    ]
    content = chart_grid(charts) if charts else ""
    return content + (details("More metrics", chart_grid(extra[:MAX_EXTRA_CHARTS])) if extra else "")
