"""A chart as SVG text, drawn by hand: no extra package, readable in every browser, light and dark."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 44, 56
STEPS = 5
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1c1c1c}.soft{fill:#6a6a64}.grid{stroke:#d8d8d0}"
    ".line{fill:none;stroke:#3465a4;stroke-width:2}.dot{fill:#3465a4}.chosen{fill:#d9822b}.paper{fill:#fdfdfb}"
    "@media(prefers-color-scheme:dark){text{fill:#e8e8e4}.soft{fill:#a0a09a}.grid{stroke:#3a3b3e}.paper{fill:#191a1c}}"
)


@dataclass(frozen=True)
class Point:
    """A point of a chart and what is written beside it; `chosen` is drawn in another colour."""

    x: float
    y: float
    label: str
    chosen: bool = False


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest, with a tenth to spare on either side."""
    low, high = min(values), max(values)
    spare = (high - low) / 10 or 1.0
    return low - spare, high + spare


def curve(points: Sequence[Point], title: str, across: str, up: str) -> str:
    """One line through labelled points, in their order, on linear axes; an SVG document."""
    (low_x, high_x), (low_y, high_y) = (_range([getattr(point, axis) for point in points]) for axis in ("x", "y"))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for step in range(STEPS):
        value_x, value_y = (low + (high - low) * step / (STEPS - 1) for low, high in ((low_x, high_x), (low_y, high_y)))
        x, y = place(value_x, value_y)
        parts += [
            f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>',
            f'<text class="soft" x="{LEFT - 8}" y="{y + 5:.1f}" text-anchor="end">{value_y:.4g}</text>',
            f'<text class="soft" x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{value_x:.3g}</text>',
        ]
    places = [place(point.x, point.y) for point in points]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
    for point, (x, y) in zip(points, places, strict=True):
        kind, radius = ("chosen", 7) if point.chosen else ("dot", 4)
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 12:.1f}" text-anchor="middle">{html.escape(point.label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts += [
        f'<text x="{LEFT}" y="24">{html.escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(across)}</text>',
        f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{html.escape(up)}</text>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>{"".join(parts)}</svg>\n'
    )
