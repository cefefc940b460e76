"""Line charts as SVG, with what the page's script needs to show values under the pointer."""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 24
POINTS = 240
WIDE = 30
"""How many times the smallest value the largest must be for a logarithmic axis."""


@dataclass(frozen=True)
class Line:
    """One line of a chart: finite values over pictures seen, in that order."""

    label: str
    images: Sequence[float]
    values: Sequence[float]


def thinned(line: Line, points: int = POINTS) -> Line:
    """A line of at most `points` points: means of as many neighbours each; the last point stays what it is."""
    count = len(line.values)
    if count <= points:
        return line
    edges = [k * (count - 1) // (points - 1) for k in range(points)]
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    images = [sum(line.images[part]) / len(line.images[part]) for part in parts]
    values = [sum(line.values[part]) / len(line.values[part]) for part in parts]
    return Line(line.label, [*images, line.images[-1]], [*values, line.values[-1]])


def short(value: float) -> str:
    """A number of few letters: 0.0123, 4.2, 315, 12k, 1.5M."""
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= unit:
            return f"{value / min(unit, 1e3 if letter == 'k' else unit):.3g}{letter}"
    return f"{value:.4g}" if size >= 1000 else f"{value:.3g}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    rough = (high - low) / count
    if not rough > 0 or not math.isfinite(rough):
        return [low]
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, first + 12) if k * step <= high + step * 1e-6]


class _Axis:
    """Where values lie between two edges, in pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool) -> None:
        self.log, self.start, self.end = log, start, end
        low, high = min(values), max(values)
        if log:
            low, high = math.log10(low), math.log10(high)
        margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin

    def __call__(self, value: float) -> float:
        part = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.low, self.high)
        powers = range(max(math.floor(self.low), -307), min(math.ceil(self.high) + 1, 308))  # what a float can be
        between = [f * 10.0**p for p in powers for f in (1, 2, 5)]
        shown = [value for value in between if self.low <= math.log10(value) <= self.high]
        return shown[:: math.ceil(len(shown) / 5)] if shown else []


def _frame(x: _Axis, y: _Axis) -> str:
    """Grid lines and their numbers."""
    parts = []
    for value in y.ticks():
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{short(value)}</text>')
    for value in x.ticks():
        if value >= 0:
            at = min(max(x(value), LEFT + 4), WIDTH - RIGHT - 14)
            parts.append(f'<text x="{at}" y="{HEIGHT - 7}" text-anchor="middle">{short(value)}</text>')
    return "".join(parts)


def chart(title: str, note: str, lines: Sequence[Line]) -> str:
    """A figure of one to four lines of at least one point each, over pictures seen; `note` says what it shows."""
    lines = [thinned(line) for line in lines]
    values = [value for line in lines for value in line.values]
    log = min(values) > 0 and max(values) / min(values) > WIDE
    x = _Axis([0.0, *(image for line in lines for image in line.images)], LEFT, WIDTH - RIGHT, False)
    y = _Axis(values, HEIGHT - BOTTOM, TOP, log)
    drawn, legend, data = [], [], list[dict[str, list[str] | list[float]]]()
    for index, line in enumerate(lines):
        xs, ys = [x(image) for image in line.images], [y(value) for value in line.values]
        path = "L".join(f"{a:g},{b:g}" for a, b in zip(xs, ys, strict=True))
        drawn.append(f'<path class="line s{index}" d="M{path}{"h.01" if len(xs) == 1 else ""}"/>')
        drawn.append(f'<circle class="s{index}" r="3" style="display:none"/>')
        legend.append(f"<li>{html.escape(line.label)} <b>{short(line.values[-1])}</b></li>")
        at = [f"after {short(image)} pictures" for image in line.images]
        data.append({"x": xs, "y": ys, "value": [short(value) for value in line.values], "at": at})
    last = f'<li class="at">after {short(lines[0].images[-1])} pictures</li>'
    said = html.escape(f"{title}: {note}. Left and right arrow keys read values.", quote=True)
    content = json.dumps({"lines": data, "box": WIDTH}, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<figure class="chart"><h3>{html.escape(title)}</h3>'
        f"<p>{html.escape(note)}{'; logarithmic' if log else ''}</p>"
        f'<ul class="legend" aria-live="polite">{"".join(legend)}{last}</ul>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" aria-label="{said}">{_frame(x, y)}'
        f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" style="display:none"/>{"".join(drawn)}</svg>'
        f'<script type="application/json">{content}</script></figure>'
    )
