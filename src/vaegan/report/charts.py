"""Line and bar charts as SVG, without a plotting library.

`line_chart` and `bar_chart` return an HTML figure for a page of `vaegan.report.html_page`. `labeled_curve` returns an
SVG document for a file of its own.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vaegan.report.html_page import CHART_CSS, THEME_CSS

MAX_POINTS = 240
MIN_LOG_RATIO = 30
"""A y axis is logarithmic if the largest value is more than this many times the smallest."""
NUM_COLORS = 8
BAR_HEIGHT, BAR_GROUP_GAP = 13, 9


@dataclass(frozen=True)
class Series:
    """One line of a line chart: finite values `y` at ascending positions `x`."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class BarSeries:
    """One bar per category, all of one color; gray if it is the reference of the others."""

    label: str
    values: Sequence[float]
    is_reference: bool = False


@dataclass(frozen=True)
class LabeledPoint:
    """A point with the text beside it; a selected point has another color."""

    x: float
    y: float
    label: str
    is_selected: bool = False


@dataclass(frozen=True)
class _PlotArea:
    """Size of an SVG and the edges of the plot inside it, in pixels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


LINE_CHART_AREA = _PlotArea(360, 190, left=46, right=350, top=8, bottom=166)
LABELED_CURVE_AREA = _PlotArea(480, 300, left=58, right=460, top=36, bottom=252)


def downsample_series(series: Series, max_points: int = MAX_POINTS) -> Series:
    """Average neighboring points so that few remain; the last point is kept unchanged.

    Args:
        series: the line.
        max_points: largest number of points, at least 2.

    Returns:
        the line with fewer points.
    """
    count = len(series.y)
    if count <= max_points:
        return series
    edges = [k * (count - 1) // (max_points - 1) for k in range(max_points)]
    parts = [slice(start, end) for start, end in itertools.pairwise(edges)]
    x, y = ([sum(values[part]) / len(values[part]) for part in parts] for values in (series.x, series.y))
    return Series(series.label, [*x, series.x[-1]], [*y, series.y[-1]])


def format_short(value: float) -> str:
    """Format a number with few characters: 0.0123, 4.2, 315, 12k, 1.5M.

    Args:
        value: the number.

    Returns:
        the text.
    """
    for minimum, unit, suffix in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= minimum:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about `count` round numbers between `low` and `high`.

    Args:
        low: smallest value.
        high: largest value.
        count: about how many.

    Returns:
        in ascending order; only `low` for an empty or infinite range.
    """
    min_step = (high - low) / count
    if not min_step > 0 or not math.isfinite(min_step):
        return [low]
    power = 10.0 ** math.floor(math.log10(min_step))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= min_step * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, first + 12) if k * step <= high + step * 1e-6]


class _AxisScale:
    """Map values to pixels from `start` to `end`; `padding` is a fraction of the values' range on both sides."""

    def __init__(
        self, values: Sequence[float], start: float, end: float, is_log: bool = False, padding: float = 0.04
    ) -> None:
        self.is_log, self.start, self.end = is_log, start, end
        low, high = self._transform(min(values)), self._transform(max(values))
        margin = (high - low) * padding if high > low else abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin

    def _transform(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def __call__(self, value: float) -> float:
        fraction = (self._transform(value) - self.low) / (self.high - self.low)
        return round(self.start + fraction * (self.end - self.start), 1)

    def tick_values(self) -> list[float]:
        if not self.is_log:
            return round_ticks(self.low, self.high)
        powers = range(max(math.floor(self.low), -307), min(math.ceil(self.high) + 1, 308))  # the range of a float
        candidates = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        ticks = [value for value in candidates if self.low <= math.log10(value) <= self.high]
        return ticks[:: math.ceil(len(ticks) / 5)] if ticks else []


def _line_svg(css_class: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{css_class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _text_svg(x: float, y: float, text: str, anchor: str = "start", attributes: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{attributes}>{html.escape(text)}</text>'


def _x_ticks_svg(area: _PlotArea, scale: _AxisScale) -> str:
    ticks = ((min(scale(value), area.width - 14), format_short(value)) for value in scale.tick_values())
    return "".join(_text_svg(x, area.bottom + 17, text, "middle") for x, text in ticks)


def _y_ticks_svg(area: _PlotArea, scale: _AxisScale) -> str:
    """Return horizontal grid lines and their values."""
    ticks = ((scale(value), format_short(value)) for value in scale.tick_values())
    return "".join(
        _line_svg("grid", area.left, y, area.right, y) + _text_svg(area.left - 5, y + 4, text, "end")
        for y, text in ticks
    )


def _svg(area: _PlotArea, label: str, content: str, attributes: str = "") -> str:
    size = f'viewBox="0 0 {area.width} {area.height}"'
    return f'<svg {size} role="img" aria-label="{html.escape(label, quote=True)}"{attributes}>{content}</svg>'


def _figure(kind: str, title: str, description: str, legend: Sequence[str], content: str) -> str:
    return (
        f'<figure class="chart {kind}"><h3>{html.escape(title)}</h3><p>{html.escape(description)}</p>'
        f'<ul class="legend" aria-live="polite">{"".join(legend)}</ul>{content}</figure>'
    )


def _legend_entry(css_class: str, label: str, value: str = "") -> str:
    return f'<li><i class="{css_class}"></i>{html.escape(label)}{value}</li>'


def line_chart(title: str, description: str, series: Sequence[Series], x_unit: str = "images") -> str:
    """Draw a line chart as an HTML figure; page.js shows the values under the pointer or the arrow keys.

    page.js shows the values under the pointer or the arrow keys.

    Args:
        title: title of the chart.
        description: what it shows, in a sentence.
        series: at least one line, each of at least one point.
        x_unit: unit of the x axis.

    Returns:
        HTML.
    """
    # axes
    area, series = LINE_CHART_AREA, [downsample_series(line) for line in series]
    values = [value for line in series for value in line.y]
    is_log = min(values) > 0 and max(values) / min(values) > MIN_LOG_RATIO
    x_scale = _AxisScale([0.0, max(max(line.x) for line in series) or 1.0], area.left, area.right, padding=0.0)
    y_scale = _AxisScale(values, area.bottom, area.top, is_log)

    # lines, their legend entries, and the values for page.js
    paths, legend, data = [], [], []
    for index, line in enumerate(series):
        color = f"series-{index % NUM_COLORS}"
        xs, ys = [x_scale(x) for x in line.x], [y_scale(y) for y in line.y]
        points = "L".join(f"{x:g},{y:g}" for x, y in zip(xs, ys, strict=True))
        dot = "h.01" if len(xs) == 1 else ""  # a path of one point would not be drawn
        paths.append(f'<path class="line {color}" d="M{points}{dot}"/>')
        paths.append(f'<circle class="{color}" r="3" style="display:none"/>')
        legend.append(_legend_entry(color, line.label, f" <b>{format_short(line.y[-1])}</b>"))
        positions = [f"after {format_short(x)} {x_unit}" for x in line.x]
        data.append({"x": xs, "y": ys, "value": [format_short(y) for y in line.y], "position": positions})

    legend.append(f'<li class="position">after {format_short(series[0].x[-1])} {x_unit}</li>')
    cursor = f'<line class="cursor" y1="{area.top}" y2="{area.bottom}" style="display:none"/>'
    content = _y_ticks_svg(area, y_scale) + _x_ticks_svg(area, x_scale) + cursor + "".join(paths)
    label = f"{title}: {description}. Left and right arrow keys read values."
    script = json.dumps({"lines": data, "width": area.width}, separators=(",", ":")).replace("<", "\\u003c")
    svg = _svg(area, label, content, ' tabindex="0"') + f'<script type="application/json">{script}</script>'
    return _figure("lines", title, description + ("; logarithmic" if is_log else ""), legend, svg)


def bar_chart(
    title: str,
    description: str,
    categories: Sequence[str],
    series: Sequence[BarSeries],
    baseline: float = 0.0,
    is_log: bool = False,
) -> str:
    """Draw horizontal bars, grouped by category, as an HTML figure.

    Args:
        title: title of the chart.
        description: what it shows, in a sentence.
        categories: names of the groups.
        series: each with a value per category, positive if `is_log`.
        baseline: where bars start.
        is_log: whether the axis is logarithmic.

    Returns:
        HTML.
    """
    # axes
    group_height = len(series) * BAR_HEIGHT + BAR_GROUP_GAP
    bottom = 4 + len(categories) * group_height
    area = _PlotArea(360, bottom + 24, left=112, right=315, top=4, bottom=bottom)
    x_scale = _AxisScale(
        [baseline, *(value for bars in series for value in bars.values)], area.left, area.right, is_log
    )
    start = x_scale(baseline)
    parts = [_line_svg("grid", x_scale(x), area.top, x_scale(x), bottom) for x in x_scale.tick_values()]

    # bars with their values
    legend = []
    for index, bars in enumerate(series):
        color = "reference" if bars.is_reference else f"series-{index % NUM_COLORS}"
        legend.append(_legend_entry(color, bars.label))
        for group, value in enumerate(bars.values):
            end, y = x_scale(value), area.top + group * group_height + BAR_GROUP_GAP / 2 + index * BAR_HEIGHT
            shape = f'x="{min(start, end):g}" y="{y:g}" width="{abs(end - start):.4g}" height="{BAR_HEIGHT - 2}"'
            parts.append(f'<rect class="bar {color}" {shape}/>')
            parts.append(_text_svg(max(start, end) + 4, y + BAR_HEIGHT - 3, format_short(value)))
    for group, category in enumerate(categories):
        parts.append(_text_svg(area.left - 6, area.top + (group + 0.5) * group_height + 4, category, "end"))
    parts += [_line_svg("baseline", start, area.top, start, bottom), _x_ticks_svg(area, x_scale)]

    svg = _svg(area, f"{title}: {description}", "".join(parts))
    return _figure("bars", title, description, legend, svg)


def labeled_curve(points: Sequence[LabeledPoint], title: str, x_label: str, y_label: str) -> str:
    """Draw one line through labeled points as an SVG document with linear axes.

    Args:
        points: the points, in order.
        title: title of the chart.
        x_label: label of the x axis.
        y_label: label of the y axis.

    Returns:
        SVG.
    """
    area = LABELED_CURVE_AREA
    x_scale = _AxisScale([point.x for point in points], area.left, area.right, padding=0.1)
    y_scale = _AxisScale([point.y for point in points], area.bottom, area.top, padding=0.1)
    line = " ".join(f"{x_scale(point.x)},{y_scale(point.y)}" for point in points)
    parts = [
        f"<title>{html.escape(title)}</title><style>{_standalone_css()}</style>",
        f'<rect class="background" width="{area.width}" height="{area.height}"/>',
        _y_ticks_svg(area, y_scale) + _x_ticks_svg(area, x_scale),
        f'<polyline class="line series-0" points="{line}"/>',
    ]
    for point in points:
        x, y, color = x_scale(point.x), y_scale(point.y), "selected" if point.is_selected else "series-0"
        parts.append(f'<circle class="{color}" cx="{x}" cy="{y}" r="{6 if point.is_selected else 4}"/>')
        parts.append(_text_svg(x, y - 10, point.label, "middle"))
    middle_x, middle_y = (area.left + area.right) / 2, (area.top + area.bottom) / 2
    parts += [
        _text_svg(area.left, 20, title, attributes=' class="title"'),
        _text_svg(middle_x, area.height - 10, x_label, "middle"),
        _text_svg(0, 0, y_label, "middle", f' transform="translate(14 {middle_y:g}) rotate(-90)"'),
    ]
    size = f'width="{area.width * 3 // 2}" height="{area.height * 3 // 2}"'
    return _svg(area, title, "".join(parts), f' xmlns="http://www.w3.org/2000/svg" {size}') + "\n"


def _standalone_css() -> str:
    """Return the chart style with literal colors: many programs that open SVG files do not support CSS variables."""
    light_css, dark_css = (_substitute_colors(CHART_CSS, block) for block in THEME_CSS.split("@media"))
    return f"{light_css}@media (prefers-color-scheme: dark) {{{dark_css}}}"


def _substitute_colors(css: str, theme_block: str) -> str:
    colors = dict(re.findall(r"--(\w+): (#\w+)", theme_block))
    return re.sub(r"var\(--(\w+)\)", lambda match: colors[match[1]], css)
