"""Noses, mouths and cheeks."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.canvas import OUTLINE_COLOR, WHITE, Color, blend, luma
from vaegan.demo.faces.head import FaceDrawing, draw_nothing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place

NOSE_Y = 0.36
MOUTH_Y = 0.63
TONGUE_COLOR = (240, 104, 118)
MOUTH_CAVITY_COLOR = (112, 26, 48)


def _nose_outline_color(drawing: FaceDrawing) -> Color:
    return blend(drawing.skin_shade, OUTLINE_COLOR, 0.62)


def _draw_button_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    drawing.canvas.draw_line(ellipse_points(x, y - 0.03, 0.085, 0.085, 15, 165), _nose_outline_color(drawing))


def _draw_small_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    color = blend(drawing.skin_shade, (210, 70, 60), 0.35)
    drawing.canvas.fill_polygon(ellipse_points(x, y + 0.01, 0.08, 0.055), color)


def _draw_pointed_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    line = catmull_rom(place([(0.01, -0.22), (0.06, -0.08), (0.13, 0.04)], x, y, direction))
    color = blend(drawing.skin_color, drawing.skin_shade, 0.55)
    drawing.canvas.fill_polygon([*line, (x - direction * 0.04, y + 0.06)], color)
    drawing.canvas.draw_line([*line, (x - direction * 0.04, y + 0.07)], _nose_outline_color(drawing), 0.068)


def _draw_round_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    ball = ellipse_points(x, y - 0.02, 0.135, 0.12)
    color, shade = blend(drawing.skin_color, (226, 84, 70), 0.20), blend(drawing.skin_shade, (190, 60, 56), 0.25)
    drawing.canvas.draw_shape(ball, color, shade, 0.06, outline_color=None)
    start, end = (-35, 205) if direction < 0 else (-25, 215)
    arc = ellipse_points(x, y - 0.02, 0.135, 0.12, start, end)
    drawing.canvas.draw_line(arc, _nose_outline_color(drawing), 0.062)


def _draw_wide_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    canvas, color = drawing.canvas, _nose_outline_color(drawing)
    canvas.draw_line(ellipse_points(x, y - 0.02, 0.10, 0.075, 20, 160), color, 0.065)
    for side, start, end in ((-1, 90, 260), (1, -80, 90)):
        canvas.draw_line(ellipse_points(x + side * 0.14, y - 0.02, 0.06, 0.07, start, end), color, 0.06)


def _draw_long_nose(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    points = [(0.03, -0.30), (0.07, -0.12), (0.10, 0.0), (0.03, 0.075), (-0.09, 0.045)]
    line = catmull_rom(place(points, x, y, direction))
    drawing.canvas.fill_polygon(line, blend(drawing.skin_color, drawing.skin_shade, 0.55))
    drawing.canvas.draw_line(line, _nose_outline_color(drawing), 0.065)


def _draw_nostrils(drawing: FaceDrawing, x: float, y: float, direction: float) -> None:
    for side in (-1, 1):
        drawing.canvas.fill_disc(x + side * 0.065, y + 0.01, 0.04, _nose_outline_color(drawing))


NOSE_STYLES: dict[str, Callable[[FaceDrawing, float, float, float], None]] = {
    "button": _draw_button_nose,
    "small": _draw_small_nose,
    "pointed": _draw_pointed_nose,
    "round": _draw_round_nose,
    "wide": _draw_wide_nose,
    "long": _draw_long_nose,
    "nostrils": _draw_nostrils,
}
"""Functions that draw a nose at (x, y). It points to the side `direction`, -1 or 1."""


def _draw_closed_mouth(drawing: FaceDrawing, points: Points) -> None:
    """Draw a closed mouth. With a full beard or dark skin, draw lips to make it visible."""
    if drawing.face.beard == "full" or luma(drawing.skin_color) < 0.40:
        left, right = points[0][0], points[-1][0]
        y = sum(y for _, y in points) / len(points)
        lips = ellipse_points((left + right) / 2, y + 0.015, (right - left) / 2 + 0.04, 0.095)
        drawing.canvas.fill_polygon(lips, drawing.lip_color)
    drawing.canvas.draw_line(points, width=0.08)


def _draw_smile(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    points = [(-1, -0.06), (-0.5, 0.04), (0, 0.07), (0.5, 0.04), (1, -0.06)]
    _draw_closed_mouth(drawing, catmull_rom(place(points, x, y, w)))


def _open_mouth_outline(x: float, y: float, w: float, depth: float) -> Points:
    """Return the outline of an open mouth: a nearly straight top, a round bottom."""
    top = [(-1, -0.08), (0, -0.045), (1, -0.08)]
    bottom = [(1, -0.08), (0.66, depth * 0.72), (0, depth), (-0.66, depth * 0.72), (-1, -0.08)]
    return [*catmull_rom(place(top, x, y, w)), *catmull_rom(place(bottom, x, y, w))]


def _draw_laugh(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    canvas = drawing.canvas
    mouth = _open_mouth_outline(x, y, w * 1.15, 0.19)
    canvas.fill_polygon(mouth, MOUTH_CAVITY_COLOR)
    canvas.fill_clipped(mouth, ellipse_points(x, y + 0.20, w * 0.72, 0.12), TONGUE_COLOR)
    canvas.fill_clipped(mouth, place([(-1.2, -0.2), (1.2, -0.2), (1.1, 0.01), (-1.1, 0.01)], x, y, w), WHITE)
    canvas.draw_outline(mouth, width=0.07)


def _draw_grin(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    canvas = drawing.canvas
    mouth = _open_mouth_outline(x, y, w * 1.15, 0.13)
    canvas.fill_polygon(mouth, WHITE)
    gap = place([(-0.5, 0.005), (0.5, 0.005), (0.5, 0.035), (-0.5, 0.035)], x, y)
    canvas.fill_clipped(mouth, gap, (188, 184, 204))
    canvas.draw_outline(mouth, width=0.07)


def _draw_flat_mouth(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    _draw_closed_mouth(drawing, [(x - w * 0.8, y), (x + w * 0.8, y)])


def _draw_frown(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    _draw_closed_mouth(drawing, catmull_rom(place([(-0.85, 0.08), (0, -0.02), (0.85, 0.08)], x, y, w)))


def _draw_surprised_mouth(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    mouth = ellipse_points(x, y + 0.03, w * 0.46, 0.15)
    drawing.canvas.fill_polygon(mouth, MOUTH_CAVITY_COLOR)
    drawing.canvas.fill_clipped(mouth, ellipse_points(x, y + 0.17, w * 0.40, 0.10), TONGUE_COLOR)
    drawing.canvas.draw_outline(mouth, width=0.07)


def _draw_smirk(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    side = 1 if drawing.turn >= 0 else -1  # the raised corner
    line = catmull_rom(place([(-0.75, 0.045), (0, 0.05), (0.65, -0.01), (0.8, -0.10)], x, y, side * w))
    _draw_closed_mouth(drawing, line if side > 0 else line[::-1])


def _draw_tongue_out(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    tongue = [(-0.02, 0.03), (-0.01, 0.20), (0.085, 0.25), (0.18, 0.19), (0.19, 0.01)]
    drawing.canvas.draw_shape(catmull_rom(place(tongue, x, y)), TONGUE_COLOR)
    _draw_smile(drawing, x, y, w)


def _draw_pout(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    w *= 0.72
    canvas = drawing.canvas
    points = [(-1, 0.01), (-0.35, -0.085), (0, -0.055), (0.35, -0.085), (1, 0.01), (0.45, 0.115), (-0.45, 0.115)]
    lips = catmull_rom(place(points, x, y, w), is_closed=True)
    color = blend(drawing.lip_color, (214, 40, 70), 0.45)
    canvas.fill_polygon(lips, color)
    canvas.draw_outline(lips, blend(color, OUTLINE_COLOR, 0.75), 0.055)
    canvas.draw_line(catmull_rom(place([(-0.9, 0.01), (0, 0.025), (0.9, 0.01)], x, y, w)), width=0.05)


def _draw_gritted_teeth(drawing: FaceDrawing, x: float, y: float, w: float) -> None:
    canvas, gap_color = drawing.canvas, (150, 146, 170)
    points = [(-1, -0.06), (0, -0.08), (1, -0.06), (1.02, 0.08), (0, 0.11), (-1.02, 0.08)]
    mouth = catmull_rom(place(points, x, y, w), is_closed=True)
    canvas.fill_polygon(mouth, WHITE)
    for offset in (-0.5, 0.0, 0.5):
        canvas.draw_line([(x + offset * w, y - 0.07), (x + offset * w, y + 0.09)], gap_color, 0.035)
    canvas.draw_line([(x - w, y + 0.01), (x + w, y + 0.01)], gap_color, 0.035)
    canvas.draw_outline(mouth, width=0.07)


MOUTH_STYLES: dict[str, Callable[[FaceDrawing, float, float, float], None]] = {
    "smile": _draw_smile,
    "laugh": _draw_laugh,
    "grin": _draw_grin,
    "flat": _draw_flat_mouth,
    "frown": _draw_frown,
    "surprised": _draw_surprised_mouth,
    "smirk": _draw_smirk,
    "tongue": _draw_tongue_out,
    "pout": _draw_pout,
    "gritted": _draw_gritted_teeth,
}
"""Functions that draw a mouth with the center (x, y) and the half width `w`."""


def _draw_blush(drawing: FaceDrawing, x: float, y: float, side: int) -> None:
    color = blend(drawing.skin_color, (236, 66, 84), 0.32)
    drawing.canvas.fill_clipped(drawing.face_clip, ellipse_points(x, y, 0.15, 0.10), color, blur_radius=0.03)


def _draw_freckles(drawing: FaceDrawing, x: float, y: float, side: int) -> None:
    for dx, dy in ((-0.10, -0.01), (0.0, -0.05), (0.09, 0.0), (0.01, 0.06)):
        drawing.canvas.fill_disc(x + side * dx, y + dy - 0.02, 0.028, blend(drawing.skin_shade, (120, 56, 30), 0.45))


CHEEK_STYLES: dict[str, Callable[[FaceDrawing, float, float, int], None]] = {
    "plain": draw_nothing,
    "blush": _draw_blush,
    "freckles": _draw_freckles,
}
"""Functions that draw a cheek at (x, y) on the side -1 (left) or 1 (right)."""


def draw_cheeks(drawing: FaceDrawing) -> None:
    """Draw both cheeks.

    Args:
        drawing: the face.
    """
    for side in (-1, 1):
        x, y = drawing.to_face_front(side * (drawing.face.eye_gap + 0.12), 0.42)
        CHEEK_STYLES[drawing.face.cheeks](drawing, x, y, side)


def draw_nose(drawing: FaceDrawing) -> None:
    """Draw the nose. It points to the side that the head turns to.

    Args:
        drawing: the face.
    """
    x, y = drawing.to_face_front(0.02 * drawing.turn, NOSE_Y)
    NOSE_STYLES[drawing.face.nose](drawing, x, y, 1.0 if drawing.turn >= 0 else -1.0)


def draw_mouth(drawing: FaceDrawing) -> None:
    """Draw the mouth.

    Args:
        drawing: the face.
    """
    x, y = drawing.to_face_front(0.0, MOUTH_Y)
    MOUTH_STYLES[drawing.face.mouth](drawing, x, y, 0.295 * drawing.face.mouth_width)
