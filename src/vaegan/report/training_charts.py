"""Which numbers of metrics.jsonl make which chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vaegan.report.charts import Series, line_chart
from vaegan.report.html_page import details

MAX_EXTRA_CHARTS = 40
MAX_PLOTTED_VALUE = 1e100
"""What is larger, or no number, is not drawn."""


@dataclass(frozen=True)
class MetricChart:
    """A chart: its title, what it shows, and the metrics in it by the label of each."""

    title: str
    description: str
    metrics: Mapping[str, str]


METRIC_CHARTS = (
    MetricChart(
        "Distance of samples",
        "KID to held-out pictures, lower is better",
        {"kid": "mean", "kid_fine": "fine", "kid_middle": "middle", "kid_coarse": "coarse"},
    ),
    MetricChart("Losses", "of generator and discriminator", {"loss_g": "generator", "loss_d": "discriminator"}),
    MetricChart(
        "Margin", "how much more real real pictures look to the discriminator", {"d_logit_margin": "real - generated"}
    ),
    MetricChart(
        "Variety of samples",
        "beside held-out pictures; 1 is as varied",
        {
            "coverage": "coverage",
            "effective_rank_ratio": "effective_rank_ratio",
            "duplicate_fraction": "duplicate_fraction",
        },
    ),
    MetricChart("Overfitting", "1: the discriminator takes held-out pictures for generated", {"ada_rv": "share"}),
    MetricChart("Augmentation", "share of pictures that each augmentation changes", {"augment_p": "share"}),
    MetricChart("Drift", "0: draws as its VAE's decoder did; 1: any other face", {"decoder_drift": "distance"}),
    MetricChart(
        "Anchor", "distance of encoded faces to their originals, in features", {"recon_feature_loss": "distance"}
    ),
    MetricChart(
        "Gradient penalties", "before their weight", {"r1_penalty": "R1, on real", "r2_penalty": "R2, on generated"}
    ),
    MetricChart(
        "Reconstruction",
        "nats per picture, lower is better",
        {"recon_loss": "in training", "val_recon_loss": "held out"},
    ),
    MetricChart("KL divergence", "nats that latents say of a picture", {"kl": "in training", "val_kl": "held out"}),
    MetricChart("PSNR", "of reconstructions in dB", {"train_psnr": "training", "val_psnr": "held out"}),
    MetricChart("SSIM", "of reconstructions, 1 is best", {"val_ssim": "held out"}),
    MetricChart("Active latents", "how many are used", {"active_units": "latents"}),
    MetricChart("Left out", "steps whose gradients were not finite, so far", {"skipped_steps": "steps"}),
)
HIDDEN_METRICS = {"step", "images_seen", "images_per_second", "train_seconds", "kid_stderr", "rollbacks"}


def read_series(metrics: Iterable[Mapping[str, float]]) -> dict[str, Series]:
    """Every metric's finite values over pictures seen, by its name."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for numbers in metrics:
        images = numbers.get("images_seen", math.nan)
        for name, value in numbers.items():
            if name not in HIDDEN_METRICS and abs(value) < MAX_PLOTTED_VALUE and 0 <= images < MAX_PLOTTED_VALUE:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(images)
                ys.append(value)
    return {name: Series(name, xs, ys) for name, (xs, ys) in found.items()}


def metric_charts_html(series_by_metric: Mapping[str, Series]) -> str:
    """Charts of all metrics, as HTML: those that are known by their panels, the others one each, folded away."""
    shown, left = [], dict(series_by_metric)
    for panel in METRIC_CHARTS:
        found = [(label, left.pop(name)) for name, label in panel.metrics.items() if name in left]
        if found:
            renamed = [Series(label, line.images_seen, line.values) for label, line in found]
            shown.append(line_chart(panel.title, panel.description, renamed))
    charts = f'<div class="charts">{"".join(shown)}</div>' if shown else ""
    named = sorted(left.items())  # the order in which a resumed run first says them may be another
    others = [line_chart(name.replace("_", " "), "as in metrics.jsonl", [line]) for name, line in named][
        :MAX_EXTRA_CHARTS
    ]
    return charts + (details("More numbers", f'<div class="charts">{"".join(others)}</div>') if others else "")
