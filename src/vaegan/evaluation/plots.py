"""Charts as PNG bytes, drawn by matplotlib (extra: plot)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaegan.evaluation.metric_specs import MEASURES
from vaegan.evaluation.reference import Numbers

HINT = "charts need matplotlib: pip install 'vaegan[plot]'"
RATIOS = (
    "frechet_fine",
    "frechet_middle",
    "frechet_coarse",
    "frechet_set",
    "sliced_wasserstein_0",
    "sliced_wasserstein_1",
    "sliced_wasserstein_2",
)
SHARES = ("precision", "recall", "density", "coverage")
NAMES = {
    "frechet_fine": "Frechet, fine",
    "frechet_middle": "Frechet, middle",
    "frechet_coarse": "Frechet, coarse",
    "frechet_set": "Frechet, learned",
    "sliced_wasserstein_0": "sliced W., finest",
    "sliced_wasserstein_1": "sliced W., half",
    "sliced_wasserstein_2": "sliced W., quarter",
}
COLOURS = ("#3465a4", "#d9822b", "#5a9e5a", "#9b59b6", "#c0392b", "#16a3a3", "#8a6d3b", "#555555")


@dataclass(frozen=True)
class Curve:
    """A line of a chart: values of one measure of one run, against pictures seen and against seconds."""

    label: str
    images: Sequence[float]
    seconds: Sequence[float]
    values: Sequence[float]


def available() -> bool:
    """Say whether matplotlib is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def _figure(width: float, height: float, panels: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        axis.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": "vaegan"})
    return buffer.getvalue()


def bars(columns: Mapping[str, Numbers], real: str) -> bytes:
    """Distances as multiples of what real pictures get, and shares beside the real ones."""
    figure, (left, right) = _figure(10, 3.8, 2)
    shown = [name for name in columns if name != real]
    floor = columns[real]
    ratios = [name for name in RATIOS if floor.get(name) and all(columns[lot].get(name) for lot in shown)]
    height = 0.8 / max(1, len(shown))
    for index, lot in enumerate(shown):
        places = [row + (index - (len(shown) - 1) / 2) * height for row in range(len(ratios))]
        times = [(columns[lot][name] or 0) / (floor[name] or 1) for name in ratios]
        left.barh(places, times, height * 0.9, label=lot, color=COLOURS[index % len(COLOURS)])
    left.set_yticks(range(len(ratios)), [NAMES[name] for name in ratios])
    left.invert_yaxis()
    left.set_xscale("log")
    left.axvline(1, color="black", linewidth=1)
    left.set_xlabel("times the distance of real pictures (1 is best)")
    shares = [name for name in SHARES if all(columns[lot].get(name) is not None for lot in columns)]
    width = 0.8 / len(columns)
    for index, lot in enumerate([*shown, real]):
        places = [column + (index - (len(columns) - 1) / 2) * width for column in range(len(shares))]
        colour = "#999999" if lot == real else COLOURS[index % len(COLOURS)]
        right.bar(places, [columns[lot][name] for name in shares], width * 0.9, label=lot, color=colour)
    right.set_xticks(range(len(shares)), [MEASURES[name].label for name in shares])
    right.legend(frameon=False)
    return _png(figure)


def curves(lines: Sequence[Curve], label: str) -> bytes:
    """One measure of several runs, against pictures seen and against seconds of training."""
    figure, (left, right) = _figure(10, 3.8, 2)
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        left.plot(line.images, line.values, marker=".", label=line.label, color=colour)
        right.plot(line.seconds, line.values, marker=".", label=line.label, color=colour)
    left.set_xlabel("pictures seen")
    right.set_xlabel("seconds of training, the VAE's included")
    left.set_ylabel(label)
    if all(value > 0 for line in lines for value in line.values):
        left.set_yscale("log")
        right.set_yscale("log")
    right.legend(frameon=False)
    return _png(figure)
