"""A chart as SVG text, drawn by hand: no extra package, readable in every browser, light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

PLOT_WIDTH, PLOT_HEIGHT = 640, 400
PLOT_MARGIN_LEFT, PLOT_MARGIN_RIGHT, PLOT_MARGIN_TOP, PLOT_MARGIN_BOTTOM = 70, 30, 44, 56
NUM_TICKS = 5
PLOT_CSS = (
    "text{font:14px system-ui,sans-serif;fill:#1c1c1c}.soft{fill:#6a6a64}.grid{stroke:#d8d8d0}"
    ".line{fill:none;stroke:#3465a4;stroke-width:2}.dot{fill:#3465a4}.chosen{fill:#d9822b}.paper{fill:#fdfdfb}"
    "@media(prefers-color-scheme:dark){text{fill:#e8e8e4}.soft{fill:#a0a09a}.grid{stroke:#3a3b3e}.paper{fill:#191a1c}}"
)


@dataclass(frozen=True)
class LabeledPoint:
    """A point of a chart and what is written beside it; `chosen` is drawn in another colour."""

    x: float
    y: float
    label: str
    is_selected: bool = False


def _padded_range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest, with a tenth to spare on either side."""
    low, high = min(values), max(values)
    spare = (high - low) / 10 or 1.0
    return low - spare, high + spare


def labeled_curve(points: Sequence[LabeledPoint], title: str, x_label: str, y_label: str) -> str:
    """One line through labelled points, in their order, on linear axes; an SVG document."""
    (low_x, high_x), (low_y, high_y) = (
        _padded_range([getattr(point, axis) for point in points]) for axis in ("x", "y")
    )

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            PLOT_MARGIN_LEFT + (x - low_x) / (high_x - low_x) * (PLOT_WIDTH - PLOT_MARGIN_LEFT - PLOT_MARGIN_RIGHT),
            PLOT_HEIGHT
            - PLOT_MARGIN_BOTTOM
            - (y - low_y) / (high_y - low_y) * (PLOT_HEIGHT - PLOT_MARGIN_TOP - PLOT_MARGIN_BOTTOM),
        )

    parts = []
    for step in range(NUM_TICKS):
        value_x, value_y = (
            low + (high - low) * step / (NUM_TICKS - 1) for low, high in ((low_x, high_x), (low_y, high_y))
        )
        x, y = place(value_x, value_y)
        parts += [
            f'<line class="grid" x1="{PLOT_MARGIN_LEFT}" y1="{y:.1f}" x2="{PLOT_WIDTH - PLOT_MARGIN_RIGHT}" y2="{y:.1f}"/>',
            f'<text class="soft" x="{PLOT_MARGIN_LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{value_y:.4g}</text>',
            f'<text class="soft" x="{x:.1f}" y="{PLOT_HEIGHT - PLOT_MARGIN_BOTTOM + 20}" text-anchor="middle">{value_x:.3g}</text>',
        ]
    places = [place(point.x, point.y) for point in points]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    for point, (x, y) in zip(points, places, strict=True):
        kind, radius = ("chosen", 7) if point.is_selected else ("dot", 4)
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 12:.1f}" text-anchor="middle">{html.escape(point.label)}</text>')
    middle = (PLOT_MARGIN_TOP + PLOT_HEIGHT - PLOT_MARGIN_BOTTOM) / 2
    parts += [
        f'<text x="{PLOT_MARGIN_LEFT}" y="24">{html.escape(title)}</text>',
        f'<text x="{(PLOT_MARGIN_LEFT + PLOT_WIDTH - PLOT_MARGIN_RIGHT) / 2}" y="{PLOT_HEIGHT - 12}" text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{html.escape(y_label)}</text>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}">'
        f"<title>{html.escape(title)}</title><style>{PLOT_CSS}</style>"
        f'<rect class="paper" width="{PLOT_WIDTH}" height="{PLOT_HEIGHT}"/>{"".join(parts)}</svg>\n'
    )
