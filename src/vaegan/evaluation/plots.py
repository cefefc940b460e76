"""Charts as PNG bytes, drawn by matplotlib (extra: plot)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaegan.evaluation.metric_specs import METRIC_SPECS
from vaegan.evaluation.reference import MetricDict

MATPLOTLIB_HINT = "charts need matplotlib: pip install 'vaegan[plot]'"
RATIO_METRICS = (
    "frechet_fine",
    "frechet_middle",
    "frechet_coarse",
    "frechet_set",
    "sliced_wasserstein_0",
    "sliced_wasserstein_1",
    "sliced_wasserstein_2",
)
FRACTION_METRICS = ("precision", "recall", "density", "coverage")
RATIO_LABELS = {
    "frechet_fine": "Frechet, fine",
    "frechet_middle": "Frechet, middle",
    "frechet_coarse": "Frechet, coarse",
    "frechet_set": "Frechet, learned",
    "sliced_wasserstein_0": "sliced W., finest",
    "sliced_wasserstein_1": "sliced W., half",
    "sliced_wasserstein_2": "sliced W., quarter",
}
COLORS = ("#3465a4", "#d9822b", "#5a9e5a", "#9b59b6", "#c0392b", "#16a3a3", "#8a6d3b", "#555555")


@dataclass(frozen=True)
class MetricCurve:
    """A line of a chart: values of one measure of one run, against pictures seen and against seconds."""

    label: str
    images_seen: Sequence[float]
    train_seconds: Sequence[float]
    values: Sequence[float]


def is_matplotlib_available() -> bool:
    """Say whether matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _make_figure(width: float, height: float, num_panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.set_axisbelow(True)
    return figure, axes


def _to_png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": "vaegan"})
    return buffer.getvalue()


def draw_metric_bars(metrics: Mapping[str, MetricDict], real_column: str) -> bytes:
    """Distances as multiples of what real pictures get, and shares beside the real ones."""
    figure, (left, right) = _make_figure(10, 3.8, 2)
    shown = [name for name in metrics if name != real_column]
    floor = metrics[real_column]
    ratios = [name for name in RATIO_METRICS if floor.get(name) and all(metrics[lot].get(name) for lot in shown)]
    height = 0.8 / max(1, len(shown))
    for index, lot in enumerate(shown):
        places = [row + (index - (len(shown) - 1) / 2) * height for row in range(len(ratios))]
        times = [(metrics[lot][name] or 0) / (floor[name] or 1) for name in ratios]
        left.barh(places, times, height * 0.9, label=lot, color=COLORS[index % len(COLORS)])
    left.set_yticks(range(len(ratios)), [RATIO_LABELS[name] for name in ratios])
    left.invert_yaxis()
    left.set_xscale("log")
    left.axvline(1, color="black", linewidth=1)
    left.set_xlabel("times the distance of real pictures (1 is best)")
    shares = [name for name in FRACTION_METRICS if all(metrics[lot].get(name) is not None for lot in metrics)]
    width = 0.8 / len(metrics)
    for index, lot in enumerate([*shown, real_column]):
        places = [column + (index - (len(metrics) - 1) / 2) * width for column in range(len(shares))]
        colour = "#999999" if lot == real_column else COLORS[index % len(COLORS)]
        right.bar(places, [metrics[lot][name] for name in shares], width * 0.9, label=lot, color=colour)
    right.set_xticks(range(len(shares)), [METRIC_SPECS[name].label for name in shares])
    right.legend(frameon=False)
    return _to_png(figure)


def draw_metric_curves(metric_curves: Sequence[MetricCurve], metric_label: str) -> bytes:
    """One measure of several runs, against pictures seen and against seconds of training."""
    figure, (left, right) = _make_figure(10, 3.8, 2)
    for index, line in enumerate(metric_curves):
        colour = COLORS[index % len(COLORS)]
        left.plot(line.images_seen, line.values, marker=".", label=line.label, color=colour)
        right.plot(line.train_seconds, line.values, marker=".", label=line.label, color=colour)
    left.set_xlabel("pictures seen")
    right.set_xlabel("seconds of training, the VAE's included")
    left.set_ylabel(metric_label)
    if all(value > 0 for line in metric_curves for value in line.values):
        left.set_yscale("log")
        right.set_yscale("log")
    right.legend(frameon=False)
    return _to_png(figure)
