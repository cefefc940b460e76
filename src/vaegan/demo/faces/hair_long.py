"""Long hair and tied hair."""

from __future__ import annotations

from functools import partial

from vaegan.demo.faces.hair_shapes import HairLength, HairStyle, draw_front_hair, draw_strands, hair_cap_outline
from vaegan.demo.faces.head import FaceDrawing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place, reflect_x, symmetric_line

HAIR_TIE_COLOR = (236, 84, 110)


def _draw_straight_hair_back(drawing: FaceDrawing, bottom: float, curl: float) -> None:
    """Draw hair behind the head down to height `bottom`, whose ends curl inwards by `curl`."""
    w = drawing.skull_half_width
    side = [(w + 0.15, -0.1), (w + 0.194, bottom * 0.45), (w + 0.14, bottom * 0.82), (w - curl, bottom)]
    right = catmull_rom([*drawing.skull_arc(0.14, 0.16, -90, -20), *side, (0.3, bottom + 0.06 - curl * 0.6)])
    drawing.draw_hair(symmetric_line(*right), 0.16)


_draw_long_hair_back = partial(_draw_straight_hair_back, bottom=1.62, curl=0.0)
_draw_bob_back = partial(_draw_straight_hair_back, bottom=0.84, curl=0.10)


def _side_hair_outline(drawing: FaceDrawing, hairline: Points, outer_edge: Points, inner_edge: Points) -> Points:
    """Return the outline of hair that falls down on both sides of the face.

    `hairline` runs along the forehead from right to left, the two edges of the right side run downwards.
    """
    turn = 0.07 * drawing.turn
    outer = [*reflect_x(outer_edge), *drawing.skull_arc(0.15, 0.17, -172, -8), *outer_edge]
    inner = [*inner_edge[::-1], *((x + turn, y) for x, y in hairline), *((-x, y) for x, y in inner_edge)]
    return [*catmull_rom(outer), *catmull_rom(inner)]


def _straight_hair_edges(drawing: FaceDrawing) -> tuple[Points, Points]:
    """Return the right outer and the right inner edge of long straight hair."""
    w = drawing.skull_half_width
    outer = [(w + 0.17, 0.2), (w + 0.19, 0.75), (w + 0.16, 1.25), (w + 0.04, 1.62)]
    return outer, [(w * 0.92, 0.12), (w * 0.93, 0.5), (w * 0.84, 0.9), (w * 0.72, 1.2), (w - 0.16, 1.46)]


def _draw_long_hair(drawing: FaceDrawing) -> None:
    w, parting_x = drawing.skull_half_width, -0.08
    parting = [(parting_x + 0.34, -0.60), (parting_x, -0.86), (parting_x - 0.30, -0.60)]
    hairline = [(w * 0.78, -0.30), *parting, (-w * 0.78, -0.30)]
    draw_front_hair(drawing, _side_hair_outline(drawing, hairline, *_straight_hair_edges(drawing)))
    draw_strands(drawing, [(parting_x, -0.90), (parting_x + 0.01, -1.05)])


def _draw_long_fringe(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.86, -0.20), (0.46, -0.28), (0.0, -0.25))
    draw_front_hair(drawing, _side_hair_outline(drawing, hairline, *_straight_hair_edges(drawing)))
    draw_strands(drawing, [(0.20, -0.33), (0.18, -0.50)], [(-0.22, -0.33), (-0.20, -0.50)])


def _draw_bob(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = [(w * 0.86, -0.22), (0.30, -0.40), (-0.20, -0.56), (-0.40, -0.80), (-w * 0.74, -0.40)]
    outer = [(w + 0.18, 0.15), (w + 0.24, 0.52), (w + 0.14, 0.82), (w - 0.10, 0.86)]
    inner = [(w * 0.94, 0.10), (w * 0.95, 0.40), (w * 0.84, 0.68)]
    draw_front_hair(drawing, _side_hair_outline(drawing, hairline, outer, inner))


def _draw_wavy_hair_back(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    side = [(0.14, -0.2), (0.28, 0.12), (0.16, 0.42), (0.34, 0.74), (0.20, 1.06), (0.30, 1.38), (-0.10, 1.56)]
    right = catmull_rom([*drawing.skull_arc(0.14, 0.16, -90, -26), *place(side, w, 0), (0.3, 1.5)])
    drawing.draw_hair(symmetric_line(*right), 0.16)


def _draw_wavy_hair(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = [(w * 0.80, -0.28), (0.34, -0.44), (0.0, -0.62), (-0.30, -0.86), (-0.50, -0.58), (-w * 0.82, -0.28)]
    outer = [(w + 0.26, 0.10), (w + 0.15, 0.42), (w + 0.30, 0.74), (w + 0.16, 1.06), (w + 0.22, 1.34), (w - 0.02, 1.56)]
    inner = [(w * 0.98, 0.04), (w * 0.86, 0.30), (w * 0.98, 0.58), (w * 0.78, 0.88), (w * 0.86, 1.14), (w - 0.14, 1.40)]
    draw_front_hair(drawing, _side_hair_outline(drawing, hairline, outer, inner))
    draw_strands(drawing, [(-0.28, -0.88), (-0.22, -1.06)], [(0.06, -0.72), (0.36, -0.62), (0.62, -0.60)])


def _draw_slick_hair(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.92, -0.24), (w * 0.74, -0.50), (0.36, -0.68), (0.0, -0.72))
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.06, 0.08, 0.06, hairline))


def _draw_bun_back(drawing: FaceDrawing) -> None:
    drawing.draw_hair(ellipse_points(0.0, -1.18, 0.36, 0.32), 0.12)
    drawing.canvas.draw_line(ellipse_points(0.0, -1.18, 0.20, 0.17, 200, 330), drawing.hair_highlight, 0.06)


def _draw_space_buns_back(drawing: FaceDrawing) -> None:
    for side in (-1, 1):
        drawing.draw_hair(ellipse_points(side * 0.66, -0.98, 0.31, 0.30), 0.10)
        drawing.canvas.draw_line(ellipse_points(side * 0.66, -0.98, 0.16, 0.16, 180, 300), drawing.hair_highlight, 0.06)


def _draw_ponytail_back(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    tail = [
        (0.12, -1.02), (0.42, -0.62), (0.46, 0.0), (0.30, 0.56),
        (0.38, 0.92), (0.10, 0.72), (0.06, 0.2), (0.02, -0.4),
    ]  # fmt: skip
    drawing.draw_hair(catmull_rom([(0.40, -0.92), *place(tail, w, 0)], is_closed=True), 0.12)


def _draw_ponytail(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    middle = [(0.46, -0.40), (0.0, -0.54), (-0.34, -0.80)]
    hairline = [(w * 0.92, -0.22), (w * 0.80, -0.44), *middle, (-w * 0.72, -0.50), (-w * 0.92, -0.22)]
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.07, 0.12, 0.06, hairline))
    tie = [(0.50, -0.98), (0.62, -1.04), (0.74, -0.86), (0.64, -0.78)]
    drawing.canvas.draw_shape(catmull_rom(tie, is_closed=True), HAIR_TIE_COLOR)


def _draw_pigtails_back(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    tail = [(-0.06, 0.06), (0.26, -0.06), (0.52, 0.26), (0.52, 0.78), (0.26, 1.28), (0.12, 1.02), (0.06, 0.5)]
    strand = [(0.24, 0.22), (0.34, 0.5), (0.30, 0.82)]
    for side in (-1, 1):
        drawing.draw_hair(catmull_rom(place(tail, side * w, 0, side), is_closed=True), 0.12)
        drawing.canvas.draw_line(catmull_rom(place(strand, side * w, 0, side)), drawing.hair_highlight, 0.06)
        drawing.canvas.draw_shape(ellipse_points(side * (w + 0.13), 0.05, 0.11, 0.13), HAIR_TIE_COLOR)


def _draw_pigtails(drawing: FaceDrawing) -> None:
    w = drawing.skull_half_width
    hairline = symmetric_line((w * 0.92, -0.1), (w * 0.84, -0.28), (0.36, -0.34), (0.0, -0.31))
    draw_front_hair(drawing, hair_cap_outline(drawing, 0.08, 0.12, 0.06, hairline))


LONG_HAIR_STYLES: dict[str, HairStyle] = {
    "long": HairStyle(_draw_long_hair, _draw_long_hair_back, HairLength.LONG, weight=1.2),
    "long fringe": HairStyle(_draw_long_fringe, _draw_long_hair_back, HairLength.LONG),
    "bob": HairStyle(_draw_bob, _draw_bob_back, HairLength.LONG, weight=1.3),
    "wavy": HairStyle(_draw_wavy_hair, _draw_wavy_hair_back, HairLength.LONG, weight=1.3),
    "bun": HairStyle(_draw_slick_hair, _draw_bun_back, HairLength.LONG, fits_hats=False),
    "space buns": HairStyle(_draw_pigtails, _draw_space_buns_back, HairLength.LONG, weight=0.6, fits_hats=False),
    "ponytail": HairStyle(_draw_ponytail, _draw_ponytail_back, HairLength.LONG, fits_hats=False),
    "pigtails": HairStyle(_draw_pigtails, _draw_pigtails_back, HairLength.LONG, weight=0.8),
}
