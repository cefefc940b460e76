"""Hats. They are drawn over the hair."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.attributes import CLOTHING_COLORS
from vaegan.demo.faces.canvas import OUTLINE_COLOR, WHITE, Color, blend, luma
from vaegan.demo.faces.head import FaceDrawing, draw_forehead_shadow, draw_nothing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place, symmetric_line

HatFunction = Callable[[FaceDrawing, Color, Color, Color], None]
"""Draws a hat in a color, its shade, and an accent color."""


def _hat_band_outline(drawing: FaceDrawing, top: float, bottom: float, pad: float, sag: float = 0.09) -> Points:
    """Return a band around the head from height `top` to `bottom`, lower by `sag` in the middle."""
    top_x, bottom_x = drawing.half_width(top) + pad, drawing.half_width(bottom) + pad
    turn = 0.05 * drawing.turn
    upper_edge = catmull_rom([(-top_x, top), (turn, top + sag), (top_x, top)])
    return [*upper_edge, *catmull_rom([(bottom_x, bottom), (turn, bottom + sag), (-bottom_x, bottom)])]


def _hat_crown_outline(drawing: FaceDrawing, pad: float, lift: float, edge_y: float, sag: float = 0.08) -> Points:
    """Return the outline of the part of a hat above height `edge_y`, lower by `sag` in the middle."""
    edge_x = drawing.half_width(edge_y) + pad
    arc = [(x, y) for x, y in drawing.skull_arc(pad, lift, -172, -8) if y < edge_y - 0.06]
    top = catmull_rom([(-edge_x, edge_y), *arc, (edge_x, edge_y)])
    return [*top, *catmull_rom([(edge_x, edge_y), (0.05 * drawing.turn, edge_y + sag), (-edge_x, edge_y)])]


def _draw_beanie(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    canvas = drawing.canvas
    cuff = _hat_band_outline(drawing, -0.60, -0.30, 0.13)
    draw_forehead_shadow(drawing, cuff)
    canvas.fill_discs([(0.0, -1.30, 0.19)], accent)
    canvas.draw_shape(_hat_crown_outline(drawing, 0.10, 0.24, -0.5), color, shade, 0.16)
    canvas.draw_shape(cuff, accent, blend(accent, shade, 0.4), 0.14)
    for x in (-0.6, -0.3, 0.0, 0.3, 0.6):
        rib = [(x, -0.50 + 0.05 * (1 - x * x)), (x * 1.04, -0.30 + 0.05 * (1 - x * x))]
        canvas.draw_line(rib, blend(accent, shade, 0.6), 0.05)


def _draw_cap(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    canvas, turn = drawing.canvas, drawing.turn
    points = [
        (-0.74 + 0.1 * turn, -0.46), (-0.66 + 0.16 * turn, -0.26), (0.22 * turn, -0.17),
        (0.66 + 0.16 * turn, -0.26), (0.74 + 0.1 * turn, -0.46), (0.18 * turn, -0.58),
    ]  # fmt: skip
    brim = catmull_rom(points, is_closed=True)
    draw_forehead_shadow(drawing, brim)
    canvas.draw_shape(_hat_crown_outline(drawing, 0.07, 0.20, -0.36, -0.02), color, shade, 0.18)
    canvas.draw_line(catmull_rom([(0.0, -1.19), (0.12 * turn, -0.85), (0.16 * turn, -0.55)]), shade, 0.05)
    canvas.fill_disc(0.0, -1.20, 0.075, OUTLINE_COLOR)
    canvas.draw_shape(ellipse_points(0.14 * turn, -0.76, 0.17, 0.17), accent, outline_color=None)
    canvas.draw_shape(brim, blend(color, OUTLINE_COLOR, 0.22), blend(shade, OUTLINE_COLOR, 0.22), 0.08)


def _draw_top_hat(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    canvas = drawing.canvas
    color, dark_shade = blend(color, OUTLINE_COLOR, 0.30), blend(shade, OUTLINE_COLOR, 0.45)
    w = drawing.half_width(-0.5) * 0.92
    brim = ellipse_points(0.0, -0.56, drawing.skull_half_width + 0.30, 0.17)
    draw_forehead_shadow(drawing, brim)
    tube = [
        *catmull_rom([(-w, -0.56), (-w - 0.03, -1.0), (-w - 0.08, -1.36)]),
        *catmull_rom([(w + 0.08, -1.36), (w + 0.03, -1.0), (w, -0.56)]),
    ]
    canvas.draw_shape(brim, color, dark_shade, 0.08)
    canvas.draw_shape([*tube, *ellipse_points(0, -0.56, w, 0.09, 0, 180)], color, dark_shade, 0.2)
    band = [(-w - 0.01, -0.80), (w + 0.01, -0.80), (w, -0.56), *ellipse_points(0, -0.57, w, 0.09, 0, 180)]
    canvas.draw_shape(band, accent, blend(accent, shade, 0.4), 0.18)


def _draw_headband(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    band = _hat_band_outline(drawing, -0.62, -0.42, 0.07, 0.05)
    drawing.canvas.draw_shape(band, color, shade, 0.12)
    drawing.canvas.fill_clipped(band, _hat_band_outline(drawing, -0.54, -0.49, 0.07, 0.05), accent)


def _draw_bow(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    x, y = 0.46, -0.92
    loop = [(0, 0), (0.18, -0.20), (0.38, -0.20), (0.36, 0.06), (0.30, 0.20), (0.14, 0.14)]
    for side in (-1, 1):
        drawing.canvas.draw_shape(catmull_rom(place(loop, x, y, side), is_closed=True), color, shade, 0.08)
    drawing.canvas.draw_shape(ellipse_points(x, y, 0.10, 0.12), blend(color, WHITE, 0.2))


def _draw_party_hat(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    canvas = drawing.canvas
    cone = [*ellipse_points(0, -0.74, 0.52, 0.12, 180, 0), (0.0, -1.44)]
    draw_forehead_shadow(drawing, [*cone[:-1], (0.5, -0.9), (-0.5, -0.9)])
    canvas.draw_shape(cone, color, shade, 0.16)
    stripe = [(-0.7, -0.02), (0, 0.08), (0.7, -0.02), (0.7, 0.09), (0, 0.19), (-0.7, 0.09)]
    for y in (-0.90, -1.13):
        canvas.fill_clipped(cone, catmull_rom(place(stripe, 0, y), is_closed=True), accent)
    canvas.draw_outline(cone)
    canvas.fill_discs([(0.0, -1.42, 0.13)], accent)


def _draw_bucket_hat(drawing: FaceDrawing, color: Color, shade: Color, accent: Color) -> None:
    canvas, w = drawing.canvas, drawing.skull_half_width
    brim = [
        *catmull_rom([(-w * 0.94, -0.62), (0.0, -0.56), (w * 0.94, -0.62)]),
        *catmull_rom([(w + 0.24, -0.30), (w * 0.6, -0.22), (0.0, -0.19), (-w * 0.6, -0.22), (-w - 0.24, -0.30)]),
    ]
    draw_forehead_shadow(drawing, brim)
    crown = symmetric_line((-0.95, -0.55), (-0.84, -0.95), (-0.5, -1.16), (0, -1.20))
    canvas.draw_shape(catmull_rom(place(crown, 0, 0, w)), color, shade, 0.18)
    canvas.draw_shape(brim, blend(color, WHITE, 0.12), shade, 0.14)


HAT_STYLES: dict[str, HatFunction] = {
    "none": draw_nothing,
    "cap": _draw_cap,
    "beanie": _draw_beanie,
    "top hat": _draw_top_hat,
    "bucket": _draw_bucket_hat,
    "party": _draw_party_hat,
    "headband": _draw_headband,
    "bow": _draw_bow,
}

OPEN_HAT_STYLES = ("none", "headband", "bow")
"""Hats that do not cover the top of the hair."""


def draw_hat(drawing: FaceDrawing) -> None:
    """Draw the hat.

    Args:
        drawing: the face.
    """
    color = CLOTHING_COLORS[drawing.face.hat_color]
    accent = blend(color, WHITE, 0.78) if luma(color) < 0.75 else blend(color, (222, 66, 66), 0.8)
    HAT_STYLES[drawing.face.hat](drawing, color, blend(color, (44, 20, 70), 0.28), accent)
