"""What is behind the sitter: flat colours and simple comic patterns, in whole-picture coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable

from vaegan.demo.faces.attributes import BACKGROUNDS
from vaegan.demo.faces.canvas import Canvas, Colour, mix

Draw = Callable[[Canvas, Colour, Colour], None]


def _flat(canvas: Canvas, main: Colour, other: Colour) -> None:
    """The canvas is flat already."""


def _two_tone(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    canvas.pen.polygon([(wide * 0.72, 0), (wide, 0), (wide, high), (wide * 0.28, high)], fill=other)


def _gradient(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    deep = mix(main, (60, 40, 130), 0.16)
    for y in range(0, high, 6):
        canvas.pen.rectangle((0, y, wide, y + 5), fill=mix(deep, other, y / high))


def _stripes(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    step = min(wide, high) / 4
    for i in range(-8, 9):
        x = wide / 2 + i * step - high / 4
        canvas.pen.polygon(
            [(x, high), (x + step / 2, high), (x + step / 2 + high / 2, 0), (x + high / 2, 0)], fill=other
        )


def _dots(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    step = min(wide, high) / 7
    radius = step * 0.27
    for row in range(int(high / step) + 2):
        for column in range(int(wide / step) + 2):
            x, y = (column - 0.5 * (row % 2)) * step, row * step
            canvas.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=other)


def _sunburst(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    x, y, reach = wide / 2, high / 2, wide + high
    for i in range(12):
        a, b = math.radians(30 * i + 5), math.radians(30 * i + 20)
        canvas.pen.polygon(
            [
                (x, y),
                (x + reach * math.cos(a), y + reach * math.sin(a)),
                (x + reach * math.cos(b), y + reach * math.sin(b)),
            ],
            fill=other,
        )


def _circle(canvas: Canvas, main: Colour, other: Colour) -> None:
    wide, high = canvas.image.size
    radius = min(wide, high) * 0.45
    canvas.pen.ellipse((wide / 2 - radius, high / 2 - radius, wide / 2 + radius, high / 2 + radius), fill=other)


BACKDROPS: dict[str, Draw] = {
    "flat": _flat,
    "two-tone": _two_tone,
    "gradient": _gradient,
    "stripes": _stripes,
    "dots": _dots,
    "sunburst": _sunburst,
    "circle": _circle,
}
"""Backdrops by name."""


def draw_backdrop(canvas: Canvas, pattern: str, palette: str) -> None:
    """Draw the backdrop `pattern` in the colours of `palette` on a canvas filled with its main colour."""
    BACKDROPS[pattern](canvas, *BACKGROUNDS[palette])
