"""What is behind the sitter: flat colours and simple comic patterns, in whole-picture coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable

from vaegan.demo.faces.attributes import BACKGROUND_PALETTES
from vaegan.demo.faces.canvas import Canvas, Color, blend

BackgroundFunction = Callable[[Canvas, Color, Color], None]


def _draw_flat_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    """The canvas is flat already."""


def _draw_two_tone_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    canvas.pillow_draw.polygon([(wide * 0.72, 0), (wide, 0), (wide, high), (wide * 0.28, high)], fill=second_color)


def _draw_gradient_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    deep = blend(color, (60, 40, 130), 0.16)
    for y in range(0, high, 6):
        canvas.pillow_draw.rectangle((0, y, wide, y + 5), fill=blend(deep, second_color, y / high))


def _draw_stripes_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    step = min(wide, high) / 4
    for i in range(-8, 9):
        x = wide / 2 + i * step - high / 4
        canvas.pillow_draw.polygon(
            [(x, high), (x + step / 2, high), (x + step / 2 + high / 2, 0), (x + high / 2, 0)], fill=second_color
        )


def _draw_dots_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    step = min(wide, high) / 7
    radius = step * 0.27
    for row in range(int(high / step) + 2):
        for column in range(int(wide / step) + 2):
            x, y = (column - 0.5 * (row % 2)) * step, row * step
            canvas.pillow_draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=second_color)


def _draw_sunburst_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    x, y, reach = wide / 2, high / 2, wide + high
    for i in range(12):
        a, b = math.radians(30 * i + 5), math.radians(30 * i + 20)
        canvas.pillow_draw.polygon(
            [
                (x, y),
                (x + reach * math.cos(a), y + reach * math.sin(a)),
                (x + reach * math.cos(b), y + reach * math.sin(b)),
            ],
            fill=second_color,
        )


def _draw_circle_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    wide, high = canvas.image.size
    radius = min(wide, high) * 0.45
    canvas.pillow_draw.ellipse(
        (wide / 2 - radius, high / 2 - radius, wide / 2 + radius, high / 2 + radius), fill=second_color
    )


BACKGROUND_PATTERNS: dict[str, BackgroundFunction] = {
    "flat": _draw_flat_background,
    "two-tone": _draw_two_tone_background,
    "gradient": _draw_gradient_background,
    "stripes": _draw_stripes_background,
    "dots": _draw_dots_background,
    "sunburst": _draw_sunburst_background,
    "circle": _draw_circle_background,
}
"""Backdrops by name."""


def draw_background(canvas: Canvas, pattern: str, palette: str) -> None:
    """Draw the backdrop `pattern` in the colours of `palette` on a canvas filled with its main colour."""
    BACKGROUND_PATTERNS[pattern](canvas, *BACKGROUND_PALETTES[palette])
