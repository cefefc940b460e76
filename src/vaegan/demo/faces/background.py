"""Background patterns. They are drawn in pixels of the supersampled image, not in units of the face."""

from __future__ import annotations

import math
from collections.abc import Callable

from vaegan.demo.faces.attributes import BACKGROUND_PALETTES
from vaegan.demo.faces.canvas import Canvas, Color, blend
from vaegan.demo.faces.head import draw_nothing
from vaegan.demo.faces.shapes import Point

BackgroundFunction = Callable[[Canvas, Color, Color], None]
"""Draws a pattern in the main and the second color of a palette."""


def _draw_two_tone_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    corners = [(width * 0.72, 0), (width, 0), (width, height), (width * 0.28, height)]
    canvas.pillow_draw.polygon(corners, fill=second_color)


def _draw_gradient_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    top_color = blend(color, (60, 40, 130), 0.16)
    for y in range(0, height, 6):
        canvas.pillow_draw.rectangle((0, y, width, y + 5), fill=blend(top_color, second_color, y / height))


def _draw_stripes_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    step = min(width, height) / 4
    for i in range(-8, 9):
        x = width / 2 + i * step - height / 4
        stripe = [(x, height), (x + step / 2, height), (x + step / 2 + height / 2, 0), (x + height / 2, 0)]
        canvas.pillow_draw.polygon(stripe, fill=second_color)


def _draw_dots_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    step = min(width, height) / 7
    radius = step * 0.27
    for row in range(int(height / step) + 2):
        for column in range(int(width / step) + 2):
            x, y = (column - 0.5 * (row % 2)) * step, row * step
            canvas.pillow_draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=second_color)


def _draw_sunburst_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    x, y, ray_length = width / 2, height / 2, width + height
    for degrees in range(0, 360, 30):
        ray: list[Point] = [(x, y)]
        for angle in (math.radians(degrees + 5), math.radians(degrees + 20)):
            ray.append((x + ray_length * math.cos(angle), y + ray_length * math.sin(angle)))
        canvas.pillow_draw.polygon(ray, fill=second_color)


def _draw_circle_background(canvas: Canvas, color: Color, second_color: Color) -> None:
    width, height = canvas.image.size
    x, y, radius = width / 2, height / 2, min(width, height) * 0.45
    canvas.pillow_draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=second_color)


BACKGROUND_PATTERNS: dict[str, BackgroundFunction] = {
    "flat": draw_nothing,  # the canvas is already filled with the main color
    "two-tone": _draw_two_tone_background,
    "gradient": _draw_gradient_background,
    "stripes": _draw_stripes_background,
    "dots": _draw_dots_background,
    "sunburst": _draw_sunburst_background,
    "circle": _draw_circle_background,
}


def draw_background(canvas: Canvas, pattern: str, palette: str) -> None:
    """Draw a background pattern on a canvas that is filled with the main color of the palette.

    Args:
        canvas: the canvas.
        pattern: name of a pattern.
        palette: name of a palette.
    """
    BACKGROUND_PATTERNS[pattern](canvas, *BACKGROUND_PALETTES[palette])
