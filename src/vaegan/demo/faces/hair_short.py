"""Short and medium hair."""

from __future__ import annotations

import math
from functools import partial

from vaegan.demo.faces.canvas import Disc, blend
from vaegan.demo.faces.hair_shapes import HairLength, HairStyle, draw_front_hair, draw_strands, hair_cap_outline
from vaegan.demo.faces.head import FaceDrawing, draw_skull_highlight
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place, symmetric_line


def _draw_shaved_hair(drawing: FaceDrawing, points: Points, skin_amount: float, shade_amount: float) -> None:
    """Draw hair so short that the skin, of which there is `skin_amount` in its color, shines through."""
    color = blend(drawing.hair_color, drawing.skin_color, skin_amount)
    drawing.canvas.draw_shape(points, color, blend(drawing.hair_shade, drawing.skin_shade, shade_amount), 0.12)


def _draw_buzz_cut(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.82, -0.34), (w * 0.66, -0.52), (0.3, -0.62), (0.0, -0.62))
    _draw_shaved_hair(drawing, hair_cap_outline(drawing, 0.03, 0.03, -0.02, hairline), 0.22, 0.2)


def _draw_receding_hair(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.90, -0.26), (w * 0.78, -0.50), (w * 0.52, -0.84), (0.22, -0.80), (0.0, -0.72))
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.06, 0.05, 0.04, hairline), has_highlight=False)


def _draw_horseshoe_hair(drawing: FaceDrawing) -> None:
    draw_skull_highlight(drawing, 0.50, 0.74)
    tuft = [(-0.08, 0.10), (0.11, 0.06), (0.15, -0.20), (0.04, -0.46), (-0.16, -0.58), (-0.10, -0.28)]
    for side in (-1, 1):
        points = place(tuft, side * drawing.half_width(0.05), 0, side)
        drawing.draw_hair(catmull_rom(points, is_closed=True), 0.07)


def _draw_side_part(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    middle = [(0.30, -0.40), (-0.10, -0.52), (-0.42, -0.78), (-0.58, -0.55)]
    hairline = [(w * 0.90, -0.26), (w * 0.78, -0.46), *middle, (-w * 0.90, -0.26)]
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.09, 0.20, 0.04, hairline))
    parting = [(-0.40, -0.80), (-0.36, -0.98), (-0.22, -1.10)]
    draw_strands(drawing, parting, [(-0.02, -0.66), (0.28, -0.60), (0.56, -0.66)])


def _draw_quiff(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.88, -0.3), (w * 0.74, -0.55), (0.0, -0.66))
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.05, 0.05, 0.02, hairline), has_highlight=False)
    top = [
        (-0.62, -0.66), (-0.72, -0.98), (-0.46, -1.30), (0.02, -1.42), (0.50, -1.36),
        (0.80, -1.12), (0.74, -0.78), (0.52, -0.56), (0.12, -0.52), (-0.28, -0.54),
    ]  # fmt: skip
    drawing.draw_hair(catmull_rom(top, is_closed=True), 0.15)
    highlight = catmull_rom([(-0.46, -0.94), (-0.28, -1.16), (0.06, -1.24)])
    drawing.canvas.draw_line(highlight, drawing.hair_highlight, 0.10)
    draw_strands(drawing, [(-0.22, -0.68), (0.16, -0.82), (0.48, -0.98)], [(0.18, -0.62), (0.42, -0.70), (0.58, -0.82)])


def _spike_outline(
    drawing: FaceDrawing, start: float, end: float, count: int, base_offset: float, tip_offset: float
) -> Points:
    """Return a row of spikes from `start` to `end` degrees; the offsets are distances from the skull."""
    points: Points = []
    step = (end - start) / count
    for i in range(count):
        points += drawing.skull_arc(base_offset, base_offset, start + i * step, start + i * step, 1)[:1]
        height = tip_offset * (0.86 + 0.14 * math.cos(2.4 * i))
        points += drawing.skull_arc(height, height, start + (i + 0.5) * step, start + (i + 0.5) * step, 1)[:1]
    return [*points, drawing.skull_arc(base_offset, base_offset, end, end, 1)[0]]


def _draw_spiky_hair(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    fringe = [
        (w * 0.98, 0.0), (w * 0.88, -0.34), (0.52, -0.52), (0.40, -0.30), (0.20, -0.56), (0.02, -0.28),
        (-0.18, -0.56), (-0.34, -0.32), (-0.54, -0.54), (-w * 0.88, -0.34), (-w * 0.98, 0.0),
    ]  # fmt: skip
    draw_front_hair(drawing, [*_spike_outline(drawing, -186, 6, 8, 0.06, 0.38), *fringe])


def _draw_mohawk(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.84, -0.34), (w * 0.66, -0.52), (0.0, -0.62))
    _draw_shaved_hair(drawing, hair_cap_outline(drawing, 0.02, 0.02, -0.05, hairline), 0.58, 0.55)
    crest = [
        (-0.26, -0.66), (-0.44, -1.16), (-0.24, -1.10), (-0.24, -1.46), (-0.04, -1.22), (0.06, -1.58), (0.17, -1.20),
        (0.34, -1.42), (0.32, -1.08), (0.48, -1.10), (0.26, -0.66), (0.10, -0.46), (-0.08, -0.52),
    ]  # fmt: skip
    drawing.draw_hair(crest, 0.14)
    drawing.canvas.draw_line([(-0.14, -0.82), (-0.16, -1.06)], drawing.hair_highlight, 0.08)


def _curl_row(drawing: FaceDrawing, start: float, end: float, count: int, offset: float, radius: float) -> list[Disc]:
    """Return a row of curls along the skull from `start` to `end` degrees."""
    arc = drawing.skull_arc(offset, offset, start, end, abs(end - start) / count)
    return [(x, y, radius * (1 + 0.12 * math.sin(2.1 * i + 1))) for i, (x, y) in enumerate(arc)]


def _fringe_curl_row(drawing: FaceDrawing, y: float, radius: float) -> list[Disc]:
    """Return a row of curls over the forehead."""
    w, turn = drawing.skull_half_width, 0.06 * drawing.turn
    return [
        (turn + offset * w, y + 0.16 * offset * offset, radius * (1 + 0.1 * math.cos(7 * offset)))
        for offset in (-0.8, -0.45, -0.1, 0.25, 0.58, 0.84)
    ]


def _draw_curly_hair(drawing: FaceDrawing) -> None:
    canvas = drawing.canvas
    fringe = _fringe_curl_row(drawing, -0.64, 0.20)
    curls = [*_curl_row(drawing, -186, 6, 8, 0.04, 0.25), *fringe]
    for x, y, radius in fringe:
        shadow = ellipse_points(x - 0.04 * drawing.light_sign, y + 0.11, radius, radius)
        canvas.fill_clipped(drawing.face_clip, shadow, drawing.skin_shade)
    canvas.fill_discs(curls, drawing.hair_color)
    crown = [*drawing.skull_arc(0.02, 0.02, -175, -5), *((x, y) for x, y, _ in fringe[::-1])]
    canvas.fill_polygon(crown, drawing.hair_color)
    for x, y, radius in curls[::2]:
        canvas.draw_line(ellipse_points(x, y, radius * 0.55, radius * 0.55, 10, 140), drawing.hair_shade, 0.055)
    for x, y, radius in curls[1::2]:
        canvas.draw_line(ellipse_points(x, y, radius * 0.5, radius * 0.5, 190, 280), drawing.hair_highlight, 0.06)


def _draw_afro_back(drawing: FaceDrawing) -> None:
    drawing.canvas.fill_discs([(0.0, -0.36, 1.12), *_curl_row(drawing, -214, 34, 12, 0.28, 0.30)], drawing.hair_color)


def _draw_afro(drawing: FaceDrawing) -> None:
    canvas = drawing.canvas
    fringe = _fringe_curl_row(drawing, -0.72, 0.16)
    for x, y, radius in fringe:
        canvas.fill_clipped(drawing.face_clip, ellipse_points(x, y + 0.10, radius, radius), drawing.skin_shade)
    canvas.fill_discs(fringe, drawing.hair_color)
    crown = [*drawing.skull_arc(0.12, 0.10, -168, -12), *((x, y - 0.02) for x, y, _ in fringe[::-1])]
    canvas.fill_polygon(crown, drawing.hair_color)
    for x, y, radius in _curl_row(drawing, -150, -30, 5, 0.16, 0.2):
        is_lit = x * drawing.light_sign > 0.1
        arc = ellipse_points(x, y, radius * 0.6, radius * 0.6, *((170, 290) if is_lit else (-20, 110)))
        canvas.draw_line(arc, drawing.hair_highlight if is_lit else drawing.hair_shade, 0.06)


def _draw_bowl_cut(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.86, -0.24), (0.4, -0.28), (0.0, -0.26))
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.15, 0.20, 0.06, hairline))
    strands = [[(0.16, -0.34), (0.14, -0.50)], [(-0.26, -0.36), (-0.25, -0.50)], [(0.48, -0.36), (0.44, -0.52)]]
    draw_strands(drawing, *strands)


def _draw_fringe(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = [
        (w * 0.93, -0.10), (w * 0.80, -0.36), (0.42, -0.26), (0.34, -0.42), (0.08, -0.24),
        (0.0, -0.42), (-0.26, -0.25), (-0.36, -0.44), (-w * 0.72, -0.30), (-w * 0.90, -0.10),
    ]  # fmt: skip
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.10, 0.16, 0.10, hairline))


SHORT_HAIR_STYLES: dict[str, HairStyle] = {
    "bald": HairStyle(partial(draw_skull_highlight, rx=0.58, ry=0.74), weight=0.6),
    "buzz": HairStyle(_draw_buzz_cut, weight=0.9),
    "receding": HairStyle(_draw_receding_hair, weight=0.5),
    "horseshoe": HairStyle(_draw_horseshoe_hair, weight=0.4, fits_hats=False),
    "side part": HairStyle(_draw_side_part, fits_hats=False, weight=1.3),
    "quiff": HairStyle(_draw_quiff, fits_hats=False),
    "spiky": HairStyle(_draw_spiky_hair, fits_hats=False),
    "mohawk": HairStyle(_draw_mohawk, fits_hats=False, weight=0.5),
    "curly": HairStyle(_draw_curly_hair, length=HairLength.MEDIUM, fits_hats=False, weight=1.3),
    "afro": HairStyle(_draw_afro, _draw_afro_back, length=HairLength.MEDIUM, fits_hats=False),
    "bowl": HairStyle(_draw_bowl_cut, length=HairLength.MEDIUM),
    "fringe": HairStyle(_draw_fringe, length=HairLength.MEDIUM, weight=1.2),
}
