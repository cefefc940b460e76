"""Line charts as SVG, with what the page's script needs to show values under the pointer."""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

CHART_WIDTH, CHART_HEIGHT = 360, 190
CHART_MARGIN_LEFT, CHART_MARGIN_RIGHT, CHART_MARGIN_TOP, CHART_MARGIN_BOTTOM = 46, 10, 8, 24
MAX_POINTS = 240
MIN_LOG_RATIO = 30
"""How many times the smallest value the largest must be for a logarithmic axis."""


@dataclass(frozen=True)
class Series:
    """One line of a chart: finite values over pictures seen, in that order."""

    label: str
    images_seen: Sequence[float]
    values: Sequence[float]


def downsample_series(series: Series, max_points: int = MAX_POINTS) -> Series:
    """A line of at most `points` points: means of as many neighbours each; the last point stays what it is."""
    count = len(series.values)
    if count <= max_points:
        return series
    edges = [k * (count - 1) // (max_points - 1) for k in range(max_points)]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    images = [sum(series.images_seen[part]) / len(series.images_seen[part]) for part in parts]
    values = [sum(series.values[part]) / len(series.values[part]) for part in parts]
    return Series(series.label, [*images, series.images_seen[-1]], [*values, series.values[-1]])


def format_short(value: float) -> str:
    """A number of few letters: 0.0123, 4.2, 315, 12k, 1.5M."""
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{value / min(unit, 1e3 if letter == 'k' else unit):.3g}{letter}"
    return f"{value:.4g}" if size >= 1000 else f"{value:.3g}"


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    rough = (high - low) / count
    if not rough > 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, first + 12) if k * step <= high + step * 1e-6]


class _AxisScale:
    """Where values lie between two edges, in pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float, is_log: bool) -> None:
        self.is_log, self.start, self.end = is_log, start, end
        low, high = min(values), max(values)
        if is_log:
            low, high = math.log10(low), math.log10(high)
        margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        part = ((math.log10(value) if self.is_log else value) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def tick_values(self) -> list[float]:
        if not self.is_log:
            return round_ticks(self.low, self.high)
        powers = range(max(math.floor(self.low), -307), min(math.ceil(self.high) + 1, 308))  # what a float can be
        between = [f * 10.0**p for p in powers for f in (1, 2, 5)]
        shown = [value for value in between if self.low <= math.log10(value) <= self.high]
        return shown[:: math.ceil(len(shown) / 5)] if shown else []


def _grid_svg(x_scale: _AxisScale, y_scale: _AxisScale) -> str:
    """Grid lines and their numbers."""
    parts = []
    for value in y_scale.tick_values():
        at = y_scale(value)
        parts.append(
            f'<line class="grid" x1="{CHART_MARGIN_LEFT}" x2="{CHART_WIDTH - CHART_MARGIN_RIGHT}" y1="{at}" y2="{at}"/>'
        )
        parts.append(
            f'<text x="{CHART_MARGIN_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{format_short(value)}</text>'
        )
    for value in x_scale.tick_values():
        if value >= 0:
            at = min(max(x_scale(value), CHART_MARGIN_LEFT + 4), CHART_WIDTH - CHART_MARGIN_RIGHT - 14)
            parts.append(f'<text x="{at}" y="{CHART_HEIGHT - 7}" text-anchor="middle">{format_short(value)}</text>')
    return "".join(parts)


def line_chart(title: str, description: str, all_series: Sequence[Series]) -> str:
    """A figure of one to four lines of at least one point each, over pictures seen; `note` says what it shows."""
    all_series = [downsample_series(line) for line in all_series]
    values = [value for line in all_series for value in line.values]
    log = min(values) > 0 and max(values) / min(values) > MIN_LOG_RATIO
    x = _AxisScale(
        [0.0, *(image for line in all_series for image in line.images_seen)],
        CHART_MARGIN_LEFT,
        CHART_WIDTH - CHART_MARGIN_RIGHT,
        False,
    )
    y = _AxisScale(values, CHART_HEIGHT - CHART_MARGIN_BOTTOM, CHART_MARGIN_TOP, log)
    drawn, legend, data = [], [], list[dict[str, list[str] | list[float]]]()
    for index, line in enumerate(all_series):
        xs, ys = [x(image) for image in line.images_seen], [y(value) for value in line.values]
        path = "L".join(f"{a:g},{b:g}" for a, b in zip(xs, ys, strict=True))
        drawn.append(f'<path class="line s{index}" d="M{path}{"h.01" if len(xs) == 1 else ""}"/>')
        drawn.append(f'<circle class="s{index}" r="3" style="display:none"/>')
        legend.append(f"<li>{html.escape(line.label)} <b>{format_short(line.values[-1])}</b></li>")
        at = [f"after {format_short(image)} pictures" for image in line.images_seen]
        data.append({"x": xs, "y": ys, "value": [format_short(value) for value in line.values], "at": at})
    last = f'<li class="at">after {format_short(all_series[0].images_seen[-1])} pictures</li>'
    said = html.escape(f"{title}: {description}. Left and right arrow keys read values.", quote=True)
    content = json.dumps({"lines": data, "box": CHART_WIDTH}, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<figure class="chart"><h3>{html.escape(title)}</h3>'
        f"<p>{html.escape(description)}{'; logarithmic' if log else ''}</p>"
        f'<ul class="legend" aria-live="polite">{"".join(legend)}{last}</ul>'
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" role="img" tabindex="0" aria-label="{said}">{_grid_svg(x, y)}'
        f'<line class="cursor" y1="{CHART_MARGIN_TOP}" y2="{CHART_HEIGHT - CHART_MARGIN_BOTTOM}" style="display:none"/>{"".join(drawn)}</svg>'
        f'<script type="application/json">{content}</script></figure>'
    )
