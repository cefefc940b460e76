"""Beards."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.canvas import blend
from vaegan.demo.faces.facial_features import MOUTH_Y
from vaegan.demo.faces.head import FaceDrawing, draw_nothing
from vaegan.demo.faces.shapes import Points, catmull_rom, place, reflect_x, symmetric_line


def _beard_outline(drawing: FaceDrawing, pad: float) -> Points:
    """Return the outline of a full beard that reaches `pad` beyond the jaw."""
    turn, ear_x, cheek_x = 0.10 * drawing.turn, drawing.half_width(0.02), drawing.half_width(0.3)
    outer = [(ear_x + pad * 0.4, 0.0), *((x + pad, y + pad * 0.6) for x, y in drawing.jaw_points)]
    jawline = catmull_rom(symmetric_line(*outer, (0.0, 1.0 + pad * 1.6)))
    inner = [(ear_x - 0.07, 0.0), (cheek_x - 0.11, 0.24), (cheek_x - 0.24, 0.44), (0.28, 0.49)]
    return [*jawline, *catmull_rom([*place(inner, turn, 0, -1), (turn, 0.46), *place(inner[::-1], turn, 0)])]


def _draw_full_beard(drawing: FaceDrawing) -> None:
    drawing.draw_hair(_beard_outline(drawing, 0.07), 0.14)


def _draw_stubble(drawing: FaceDrawing) -> None:
    color = blend(drawing.skin_color, (64, 48, 66), 0.30)
    drawing.canvas.fill_clipped(drawing.face_clip, _beard_outline(drawing, 0.05), color, blur_radius=0.025)


def _draw_mustache(drawing: FaceDrawing) -> None:
    x, y = drawing.to_face_front(0.0, MOUTH_Y - 0.12)
    right_half = [(0.0, -0.055), (0.14, -0.075), (0.29, 0.0), (0.43, -0.03), (0.36, 0.10), (0.18, 0.115), (0.0, 0.06)]
    outline = catmull_rom(place([*right_half, *reflect_x(right_half[1:-1])], 0, y), is_closed=True)
    drawing.draw_hair(place(outline, x, 0), 0.06)


def _draw_goatee(drawing: FaceDrawing) -> None:
    x, _ = drawing.to_face_front(0.0, 0.0)
    right_half = [(0.0, 0.80), (0.15, 0.78), (0.24, 0.85), (0.21, 0.99), (0.11, 1.12), (0.0, 1.16)]
    outline = catmull_rom([*right_half, *reflect_x(right_half[1:-1])], is_closed=True)
    drawing.draw_hair(place(outline, x * 0.7, 0), 0.08)


def _draw_van_dyke(drawing: FaceDrawing) -> None:
    _draw_goatee(drawing)
    _draw_mustache(drawing)


BEARD_STYLES: dict[str, Callable[[FaceDrawing], None]] = {
    "none": draw_nothing,
    "stubble": _draw_stubble,
    "mustache": _draw_mustache,
    "goatee": _draw_goatee,
    "van dyke": _draw_van_dyke,
    "full": _draw_full_beard,
}
