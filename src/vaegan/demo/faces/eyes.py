"""Eyes and eyebrows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from vaegan.demo.faces.canvas import OUTLINE_COLOR, WHITE, Color, blend
from vaegan.demo.faces.head import FaceDrawing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points

EYE_Y = 0.10  # units

EyeFunction = Callable[[FaceDrawing, float, float, float, int], None]
"""Draws one eye. Arguments after the drawing: center x and y, width factor, side (-1 left, 1 right)."""


def _draw_eyeball(drawing: FaceDrawing, outline: Points, x: float, y: float, radius: float, gaze_range: float) -> None:
    """Fill the outline of an eye: white, iris, pupil, highlight; the iris moves by `gaze_range`."""
    canvas, face = drawing.canvas, drawing.face
    canvas.fill_polygon(outline, WHITE)
    iris_x, iris_y = x + gaze_range * face.gaze_x, y + gaze_range * 0.8 * face.gaze_y
    canvas.fill_clipped(outline, ellipse_points(iris_x, iris_y, radius, radius), drawing.iris_color)
    canvas.fill_clipped(outline, ellipse_points(iris_x, iris_y, radius * 0.58, radius * 0.58), OUTLINE_COLOR)
    canvas.fill_disc(iris_x - radius * 0.38, iris_y - radius * 0.42, radius * 0.36, WHITE)


def _lower_lid_color(drawing: FaceDrawing) -> Color:
    # Lighter than the other outlines: a dark line all around an eye looks like glasses.
    return blend(drawing.skin_shade, OUTLINE_COLOR, 0.42)


def _draw_lashes(drawing: FaceDrawing, x: float, y: float, side: int, length: float = 0.10) -> None:
    """Draw two lashes that point outwards from the outer corner (x, y) of the eye."""
    if drawing.face.has_eyelashes:
        drawing.canvas.draw_line([(x, y), (x + side * length, y - length * 0.75)], width=0.055)
        drawing.canvas.draw_line([(x, y + 0.05), (x + side * length, y + 0.05 - length * 0.2)], width=0.05)


def _draw_open_eye(
    drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int, rx: float, ry: float, iris_radius: float
) -> None:
    size, canvas = drawing.face.eye_size, drawing.canvas
    rx, ry = rx * size * width_scale, ry * size
    outline = ellipse_points(x, y, rx, ry)
    _draw_eyeball(drawing, outline, x, y + 0.01, iris_radius * size, rx * 0.34)
    canvas.draw_outline(outline, _lower_lid_color(drawing), 0.045)
    canvas.draw_line(ellipse_points(x, y, rx, ry, -176, -4), width=0.09)
    _draw_lashes(drawing, x + side * rx * 0.9, y - ry * 0.42, side)


_draw_round_eye = partial(_draw_open_eye, rx=0.185, ry=0.19, iris_radius=0.128)
_draw_tall_eye = partial(_draw_open_eye, rx=0.16, ry=0.225, iris_radius=0.135)
_draw_wide_eye = partial(_draw_open_eye, rx=0.215, ry=0.215, iris_radius=0.125)


def _draw_almond_eye(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    size, canvas = drawing.face.eye_size, drawing.canvas
    rx, ry = 0.21 * size * width_scale, 0.145 * size
    inner, outer = (x - side * rx, y + 0.05), (x + side * rx, y - 0.03)
    upper = catmull_rom([inner, (x - side * rx * 0.45, y - ry * 0.82), (x + side * rx * 0.3, y - ry), outer])
    lower = catmull_rom([outer, (x + side * rx * 0.4, y + ry * 0.78), (x - side * rx * 0.3, y + ry * 0.85), inner])
    outline = [*upper, *lower]
    _draw_eyeball(drawing, outline, x, y, 0.118 * size, rx * 0.36)
    canvas.draw_line(lower, _lower_lid_color(drawing), 0.045)
    canvas.draw_line(upper, width=0.085)
    _draw_lashes(drawing, *outer, side)


def _draw_sleepy_eye(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    size, canvas = drawing.face.eye_size, drawing.canvas
    rx, ry = 0.19 * size * width_scale, 0.18 * size
    outline = ellipse_points(x, y, rx, ry)
    _draw_eyeball(drawing, outline, x, y + 0.04, 0.115 * size, rx * 0.34)
    lid = [*ellipse_points(x, y, rx, ry, -180, 0), (x + rx, y - 0.02), (x - rx, y - 0.02)]
    canvas.fill_polygon(lid, blend(drawing.skin_color, drawing.skin_shade, 0.6))
    canvas.draw_outline(outline, _lower_lid_color(drawing), 0.045)
    canvas.draw_line([(x - rx, y - 0.02), (x + rx, y - 0.02)], width=0.08)
    _draw_lashes(drawing, x + side * rx, y, side)


def _draw_dot_eye(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    size, canvas = drawing.face.eye_size, drawing.canvas
    x += 0.03 * drawing.face.gaze_x
    canvas.fill_polygon(ellipse_points(x, y, 0.095 * size * width_scale, 0.135 * size), OUTLINE_COLOR)
    canvas.fill_disc(x - 0.03 * size, y - 0.055 * size, 0.04 * size, WHITE)
    _draw_lashes(drawing, x + side * 0.08 * size, y - 0.06 * size, side)


def _draw_happy_eye(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    rx = 0.18 * drawing.face.eye_size * width_scale
    drawing.canvas.draw_line(ellipse_points(x, y + 0.07, rx, 0.17, -172, -8), width=0.09)
    _draw_lashes(drawing, x + side * rx, y + 0.02, side)


def _draw_winking_eye(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    closed_side = -1 if drawing.face.light_side == "left" else 1
    draw_eye = _draw_happy_eye if side == closed_side else _draw_round_eye
    draw_eye(drawing, x, y, width_scale, side)


EYE_STYLES: dict[str, EyeFunction] = {
    "round": _draw_round_eye,
    "tall": _draw_tall_eye,
    "wide": _draw_wide_eye,
    "almond": _draw_almond_eye,
    "sleepy": _draw_sleepy_eye,
    "dots": _draw_dot_eye,
    "happy": _draw_happy_eye,
    "wink": _draw_winking_eye,
}

EYEBROW_STYLES: dict[str, tuple[float, float, float]] = {
    "straight": (0.0, 0.0, 0.0),
    "arched": (0.02, -0.08, 0.04),
    "round": (0.02, -0.05, 0.02),
    "raised": (-0.03, -0.12, -0.05),
}
"""Offsets (units, downwards) of the inner end, the middle and the outer end from a straight line."""


def draw_eyes(drawing: FaceDrawing) -> None:
    """Draw both eyes and both eyebrows.

    Args:
        drawing: the face.
    """
    face = drawing.face
    for side in (-1, 1):
        x, y = drawing.to_face_front(side * face.eye_gap, EYE_Y)
        width_scale = 1 - 0.16 * max(0.0, side * drawing.turn)
        EYE_STYLES[face.eyes](drawing, x, y, width_scale, side)
        _draw_eyebrow(drawing, x, y, width_scale, side)


def _draw_eyebrow(drawing: FaceDrawing, x: float, y: float, width_scale: float, side: int) -> None:
    """Draw the eyebrow above the eye at (x, y), thicker towards the nose."""
    face = drawing.face
    inner, middle, outer = EYEBROW_STYLES[face.brows]
    y -= 0.34 if face.eyes in ("tall", "wide") else 0.30
    half_length = 0.20 * width_scale
    color = blend(drawing.hair_color, (66, 34, 40), 0.45)
    inner_end = (x - side * half_length, y + inner + face.brow_angle)
    outer_end = (x + side * half_length, y + outer - face.brow_angle * 0.5)
    line = catmull_rom([inner_end, (x + side * 0.02, y + middle), outer_end])
    drawing.canvas.draw_line(line, color, face.brow_thickness * 0.75)
    drawing.canvas.draw_line(line[: len(line) * 2 // 3], color, face.brow_thickness)
