"""Neck, shoulders and clothes, in a frame that does not tilt with the head."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.attributes import CLOTHING_COLORS
from vaegan.demo.faces.canvas import OUTLINE_COLOR, WHITE, Color, blend, luma
from vaegan.demo.faces.head import FaceDrawing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place, reflect_x, symmetric_line

NECK_HALF_WIDTH = 0.30  # units


def _clothes_colors(drawing: FaceDrawing) -> tuple[Color, Color, Color]:
    """Return the color of the clothes, its shade, and an accent color that contrasts with it."""
    color = CLOTHING_COLORS[drawing.face.clothes_color]
    accent = blend(color, WHITE, 0.72) if luma(color) < 0.75 else blend(color, (70, 100, 160), 0.55)
    return color, blend(color, (44, 20, 70), 0.26), accent


def _torso_outline() -> Points:
    """Return the outline of shoulders and chest, from the right side of the neck opening to its left."""
    right = catmull_rom([(0.42, 1.20), (0.72, 1.27), (1.08, 1.42), (1.28, 1.76), (1.36, 2.6), (1.36, 4.2)])
    return symmetric_line(*right)


def draw_neck(drawing: FaceDrawing) -> None:
    """Draw the neck and the shadow of the chin on it.

    Args:
        drawing: the face.
    """
    canvas = drawing.canvas
    right = catmull_rom([(NECK_HALF_WIDTH, 0.5), (NECK_HALF_WIDTH - 0.02, 1.05), (NECK_HALF_WIDTH + 0.10, 1.36)])
    neck = symmetric_line(*right, (0.0, 1.75))
    canvas.draw_shape(neck, drawing.skin_color, outline_color=None)
    shadow = ellipse_points(0.05 * drawing.turn - 0.10 * drawing.light_sign, 0.86, 0.62, 0.42)
    canvas.fill_clipped(neck, shadow, drawing.skin_shade)
    for line in (right, reflect_x(right)):
        canvas.draw_line(line)


def _draw_shirt(drawing: FaceDrawing, neckline: Points) -> Points:
    """Draw a plain shirt and return its outline. `neckline` runs from right to left."""
    color, shade, _ = _clothes_colors(drawing)
    outline = [*_torso_outline(), *reversed(neckline)]
    drawing.canvas.draw_shape(outline, color, shade, 0.22)
    return outline


def _round_neckline(depth: float) -> Points:
    return ellipse_points(0, 1.22, 0.42, depth, 0, 180)


def _draw_t_shirt(drawing: FaceDrawing) -> None:
    _, shade, _ = _clothes_colors(drawing)
    _draw_shirt(drawing, _round_neckline(0.26))
    drawing.canvas.draw_line(ellipse_points(0, 1.22, 0.53, 0.37, 8, 172), shade, 0.06)


def _draw_v_neck(drawing: FaceDrawing) -> None:
    _, _, accent = _clothes_colors(drawing)
    _draw_shirt(drawing, [(0.42, 1.22), (0.0, 1.68), (-0.42, 1.22)])
    drawing.canvas.draw_line([(0.53, 1.28), (0.0, 1.84), (-0.53, 1.28)], accent, 0.07)


def _draw_striped_shirt(drawing: FaceDrawing) -> None:
    _, _, accent = _clothes_colors(drawing)
    canvas = drawing.canvas
    outline = _draw_shirt(drawing, _round_neckline(0.24))
    for y in (1.60, 1.92, 2.24, 2.56):
        stripe = [(-2, 0), (0, 0.05), (2, 0), (2, 0.15), (0, 0.2), (-2, 0.15)]
        canvas.fill_clipped(outline, place(stripe, 0, y), accent)
    canvas.draw_outline(outline)
    canvas.draw_shape([*_round_neckline(0.24), *ellipse_points(0, 1.20, 0.54, 0.40, 180, 0)], accent)


def _draw_collar_shirt(drawing: FaceDrawing) -> None:
    _, shade, accent = _clothes_colors(drawing)
    canvas = drawing.canvas
    _draw_shirt(drawing, [(0.42, 1.22), (0.0, 1.62), (-0.42, 1.22)])
    canvas.draw_line([(0.0, 1.62), (0.0, 3.0)], shade, 0.06)
    for y in (1.80, 2.14, 2.48):
        canvas.fill_disc(0.0, y, 0.05, OUTLINE_COLOR)
    for side in (-1, 1):
        canvas.draw_shape(place([(0.36, 1.06), (0.0, 1.58), (0.34, 1.74), (0.56, 1.26)], 0, 0, side), accent)


def _draw_hoodie(drawing: FaceDrawing) -> None:
    color, shade, accent = _clothes_colors(drawing)
    canvas = drawing.canvas
    _draw_shirt(drawing, _round_neckline(0.34))
    hood = [
        (0.34, 1.02), (0.62, 1.08), (0.70, 1.34), (0.36, 1.66), (0.0, 1.74), (0.0, 1.56), (0.28, 1.44), (0.38, 1.24),
    ]  # fmt: skip
    for side in (-1, 1):
        canvas.draw_shape(catmull_rom(place(hood, 0, 0, side), is_closed=True), color, shade, 0.07)
        canvas.draw_line([(side * 0.17, 1.70), (side * 0.19, 2.02)], accent, 0.07)


def _draw_turtleneck(drawing: FaceDrawing) -> None:
    color, shade, _ = _clothes_colors(drawing)
    _draw_shirt(drawing, [(0.42, 1.22), (-0.42, 1.22)])
    collar = [
        (-0.36, 0.98), (0.0, 1.08), (0.36, 0.98), (0.43, 1.16),
        (0.40, 1.34), (0.0, 1.44), (-0.40, 1.34), (-0.43, 1.16),
    ]  # fmt: skip
    drawing.canvas.draw_shape(catmull_rom(collar, is_closed=True), color, shade, 0.12)
    drawing.canvas.draw_line(catmull_rom([(-0.30, 1.20), (0.0, 1.27), (0.30, 1.20)]), shade, 0.05)


def _draw_jacket(drawing: FaceDrawing) -> None:
    color, shade, accent = _clothes_colors(drawing)
    canvas = drawing.canvas
    canvas.draw_shape([*ellipse_points(0, 1.22, 0.44, 0.22, 180, 0), (0.62, 4.0), (-0.62, 4.0)], accent)
    _draw_shirt(drawing, [(0.42, 1.22), (0.30, 4.0), (-0.30, 4.0), (-0.42, 1.22)])
    lapel = [(0.40, 1.12), (0.30, 2.02), (0.72, 1.72), (0.62, 1.60), (0.74, 1.48)]
    for side in (-1, 1):
        canvas.draw_shape(place(lapel, 0, 0, side), blend(color, shade, 0.35))


CLOTHES_STYLES: dict[str, Callable[[FaceDrawing], None]] = {
    "t-shirt": _draw_t_shirt,
    "v-neck": _draw_v_neck,
    "striped": _draw_striped_shirt,
    "collar": _draw_collar_shirt,
    "hoodie": _draw_hoodie,
    "turtleneck": _draw_turtleneck,
    "jacket": _draw_jacket,
}
