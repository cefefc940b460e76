"""Beards, glasses and earrings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vaegan.demo.faces.attributes import CLOTHING_COLORS
from vaegan.demo.faces.canvas import (
    OUTLINE_COLOR,
    WHITE,
    Color,
    Points,
    blend,
    catmull_rom,
    ellipse_points,
    luma,
    reflect_x,
)
from vaegan.demo.faces.eyes import EYE_Y
from vaegan.demo.faces.features import MOUTH_Y
from vaegan.demo.faces.head import FaceDrawing

GOLD_COLOR: Color = (250, 200, 70)
SUNGLASSES_COLOR: Color = (52, 46, 74)


def _draw_nothing(drawing: FaceDrawing) -> None:
    """Nothing to draw."""


def _beard_outline(drawing: FaceDrawing, pad: float) -> Points:
    """The outline of a full beard, `pad` outside the jaw."""
    turn = 0.10 * drawing.turn
    outer = [(drawing.half_width(0.02) + pad * 0.4, 0.0), *((x + pad, y + pad * 0.6) for x, y in drawing.jaw_points)]
    around = catmull_rom([*outer, (0.0, 1.0 + pad * 1.6), *reflect_x(outer)])
    cheek = drawing.half_width(0.3)
    inner = [(drawing.half_width(0.02) - 0.07, 0.0), (cheek - 0.11, 0.24), (cheek - 0.24, 0.44), (0.28, 0.49)]
    left = [(turn - x, y) for x, y in inner]
    right = [(turn + x, y) for x, y in inner[::-1]]
    return [*around, *catmull_rom([*left, (turn, 0.46), *right])]


def _draw_full_beard(drawing: FaceDrawing) -> None:
    drawing.draw_hair(_beard_outline(drawing, 0.07), 0.14)


def _draw_stubble(drawing: FaceDrawing) -> None:
    colour = blend(drawing.skin_color, (64, 48, 66), 0.30)
    canvas = drawing.canvas
    canvas.fill_clipped(drawing.face_clip, _beard_outline(drawing, 0.05), colour, blur_radius=0.025)


def _draw_mustache(drawing: FaceDrawing) -> None:
    x, y = drawing.to_face_front(0.0, MOUTH_Y - 0.12)
    half = [
        (0.0, y - 0.055),
        (0.14, y - 0.075),
        (0.29, y + 0.0),
        (0.43, y - 0.03),
        (0.36, y + 0.10),
        (0.18, y + 0.115),
        (0.0, y + 0.06),
    ]
    ring = catmull_rom([*half, *reflect_x(half[1:-1])], is_closed=True)
    drawing.draw_hair([(px + x, py) for px, py in ring], 0.06)


def _draw_goatee(drawing: FaceDrawing) -> None:
    x, _ = drawing.to_face_front(0.0, 0.0)
    half = [(0.0, 0.80), (0.15, 0.78), (0.24, 0.85), (0.21, 0.99), (0.11, 1.12), (0.0, 1.16)]
    ring = catmull_rom([*half, *reflect_x(half[1:-1])], is_closed=True)
    drawing.draw_hair([(px + x * 0.7, py) for px, py in ring], 0.08)


def _draw_van_dyke(drawing: FaceDrawing) -> None:
    _draw_goatee(drawing)
    _draw_mustache(drawing)


BEARD_STYLES: dict[str, Callable[[FaceDrawing], None]] = {
    "none": _draw_nothing,
    "stubble": _draw_stubble,
    "moustache": _draw_mustache,
    "goatee": _draw_goatee,
    "van dyke": _draw_van_dyke,
    "full": _draw_full_beard,
}
"""Beards by name."""


@dataclass(frozen=True)
class GlassesStyle:
    """A pair of glasses: the outline of a lens at (x, y), `squeeze` (0..1) wide, and whether it is dark."""

    lens_outline: Callable[[float, float, float], Points] | None
    has_dark_lenses: bool = False


def _placed_lenses(drawing: FaceDrawing, glasses: GlassesStyle) -> list[tuple[float, float, Points]]:
    """The middle and the outline of each lens."""
    if glasses.lens_outline is None:
        return []
    found = []
    for side in (-1, 1):
        x, y = drawing.to_face_front(side * max(drawing.face.eye_gap, 0.34), EYE_Y + 0.02)
        found.append((x, y, glasses.lens_outline(x, y, 1 - 0.10 * max(0.0, side * drawing.turn))))
    return found


def draw_lenses(drawing: FaceDrawing, glasses: GlassesStyle) -> None:
    """Draw the glass of clear glasses, which lies behind the eyes."""
    for _, _, outline in _placed_lenses(drawing, glasses):
        drawing.canvas.fill_polygon(outline, blend(drawing.skin_color, WHITE, 0.38))


def draw_glasses_frame(drawing: FaceDrawing, glasses: GlassesStyle) -> None:
    """Draw the frame of the glasses, and the glass of sunglasses, in front of the eyes."""
    canvas, lenses = drawing.canvas, _placed_lenses(drawing, glasses)
    if not lenses:
        return
    frame = CLOTHING_COLORS[drawing.face.glasses_color]
    frame = (
        blend(frame, OUTLINE_COLOR, 0.75 if glasses.has_dark_lenses else 0.40)
        if luma(drawing.skin_color) > 0.5
        else blend(frame, WHITE, 0.15)
    )
    for side, (x, y, _) in zip((-1, 1), lenses, strict=True):
        end = side * (drawing.half_width(0.05) - 0.01)
        canvas.draw_line([(x + side * 0.26, y - 0.05), (end, y - 0.07)], frame, 0.07)
    bridge = [
        (lenses[0][0] + 0.22, EYE_Y),
        (drawing.to_face_front(0, 0)[0], EYE_Y - 0.05),
        (lenses[1][0] - 0.22, EYE_Y),
    ]
    canvas.draw_line(catmull_rom(bridge), frame, 0.08)
    for x, y, outline in lenses:
        if glasses.has_dark_lenses:
            canvas.fill_polygon(outline, SUNGLASSES_COLOR)
            shine = [(x - 0.20, y + 0.20), (x - 0.02, y - 0.24), (x + 0.09, y - 0.24), (x - 0.09, y + 0.20)]
            canvas.fill_clipped(outline, shine, blend(SUNGLASSES_COLOR, WHITE, 0.34))
        canvas.draw_outline(outline, frame, 0.085)


def _round_lens_outline(x: float, y: float, width_scale: float) -> Points:
    return ellipse_points(x, y, 0.285 * width_scale, 0.275)


def _square_lens_outline(x: float, y: float, width_scale: float) -> Points:
    w = 0.285 * width_scale
    return catmull_rom(
        [
            (x - w, y - 0.16),
            (x - w * 0.8, y - 0.225),
            (x + w * 0.8, y - 0.225),
            (x + w, y - 0.16),
            (x + w * 0.97, y + 0.14),
            (x + w * 0.76, y + 0.215),
            (x - w * 0.76, y + 0.215),
            (x - w * 0.97, y + 0.14),
        ],
        is_closed=True,
    )


def _sunglasses_lens_outline(x: float, y: float, width_scale: float) -> Points:
    w = 0.30 * width_scale
    return catmull_rom(
        [
            (x - w, y - 0.19),
            (x, y - 0.225),
            (x + w, y - 0.19),
            (x + w * 0.84, y + 0.14),
            (x, y + 0.23),
            (x - w * 0.84, y + 0.14),
        ],
        is_closed=True,
    )


GLASSES_STYLES: dict[str, GlassesStyle] = {
    "none": GlassesStyle(None),
    "round": GlassesStyle(_round_lens_outline),
    "square": GlassesStyle(_square_lens_outline),
    "sunglasses": GlassesStyle(_sunglasses_lens_outline, has_dark_lenses=True),
}
"""Glasses by name."""


def _earlobe_positions(drawing: FaceDrawing) -> list[tuple[float, float]]:
    """Where the two ear lobes are."""
    wide = drawing.half_width(0.3) + 0.06
    return [(side * wide - 0.07 * drawing.turn, 0.36) for side in (-1, 1)]


def _draw_stud_earrings(drawing: FaceDrawing) -> None:
    for x, y in _earlobe_positions(drawing):
        drawing.canvas.fill_disc(x, y - 0.02, 0.085, OUTLINE_COLOR)
        drawing.canvas.fill_disc(x, y - 0.02, 0.052, GOLD_COLOR)


def _draw_hoop_earrings(drawing: FaceDrawing) -> None:
    for x, y in _earlobe_positions(drawing):
        drawing.canvas.draw_outline(ellipse_points(x, y + 0.11, 0.105, 0.125), OUTLINE_COLOR, 0.11)
        drawing.canvas.draw_outline(ellipse_points(x, y + 0.11, 0.105, 0.125), GOLD_COLOR, 0.05)


EARRING_STYLES: dict[str, Callable[[FaceDrawing], None]] = {
    "none": _draw_nothing,
    "studs": _draw_stud_earrings,
    "hoops": _draw_hoop_earrings,
}
"""Earrings by name."""
