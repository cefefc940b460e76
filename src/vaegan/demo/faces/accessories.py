"""Glasses and earrings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vaegan.demo.faces.attributes import CLOTHING_COLORS
from vaegan.demo.faces.canvas import OUTLINE_COLOR, WHITE, Color, blend, luma
from vaegan.demo.faces.eyes import EYE_Y
from vaegan.demo.faces.head import FaceDrawing, draw_nothing
from vaegan.demo.faces.shapes import Points, catmull_rom, ellipse_points, place

GOLD_COLOR: Color = (250, 200, 70)
SUNGLASSES_COLOR: Color = (52, 46, 74)


@dataclass(frozen=True)
class GlassesStyle:
    """The shape of the lenses, and whether they are dark."""

    lens_outline: Callable[[float, float, float], Points] | None
    """Maps (x, y, width_scale) to the outline of a lens with the center (x, y); None: no glasses."""
    has_dark_lenses: bool = False


def _placed_lenses(drawing: FaceDrawing, glasses: GlassesStyle) -> list[tuple[float, float, Points]]:
    """Return (center x, center y, outline) of the left and the right lens."""
    if glasses.lens_outline is None:
        return []
    lenses = []
    for side in (-1, 1):
        x, y = drawing.to_face_front(side * max(drawing.face.eye_gap, 0.34), EYE_Y + 0.02)
        width_scale = 1 - 0.10 * max(0.0, side * drawing.turn)
        lenses.append((x, y, glasses.lens_outline(x, y, width_scale)))
    return lenses


def draw_lenses(drawing: FaceDrawing, glasses: GlassesStyle) -> None:
    """Draw the clear lenses. They are drawn before the eyes.

    Args:
        drawing: the face.
        glasses: shape of the glasses.
    """
    for _, _, outline in _placed_lenses(drawing, glasses):
        drawing.canvas.fill_polygon(outline, blend(drawing.skin_color, WHITE, 0.38))


def draw_glasses_frame(drawing: FaceDrawing, glasses: GlassesStyle) -> None:
    """Draw the frame and dark lenses. They are drawn after the eyes.

    Args:
        drawing: the face.
        glasses: shape of the glasses.
    """
    canvas, lenses = drawing.canvas, _placed_lenses(drawing, glasses)
    if not lenses:
        return
    color = CLOTHING_COLORS[drawing.face.glasses_color]
    if luma(drawing.skin_color) > 0.5:
        color = blend(color, OUTLINE_COLOR, 0.75 if glasses.has_dark_lenses else 0.40)
    else:
        color = blend(color, WHITE, 0.15)
    for side, (x, y, _) in zip((-1, 1), lenses, strict=True):
        ear_x = side * (drawing.half_width(0.05) - 0.01)
        canvas.draw_line([(x + side * 0.26, y - 0.05), (ear_x, y - 0.07)], color, 0.07)
    middle_x, _ = drawing.to_face_front(0, 0)
    bridge = [(lenses[0][0] + 0.22, EYE_Y), (middle_x, EYE_Y - 0.05), (lenses[1][0] - 0.22, EYE_Y)]
    canvas.draw_line(catmull_rom(bridge), color, 0.08)
    for x, y, outline in lenses:
        if glasses.has_dark_lenses:
            canvas.fill_polygon(outline, SUNGLASSES_COLOR)
            reflection = [(x - 0.20, y + 0.20), (x - 0.02, y - 0.24), (x + 0.09, y - 0.24), (x - 0.09, y + 0.20)]
            canvas.fill_clipped(outline, reflection, blend(SUNGLASSES_COLOR, WHITE, 0.34))
        canvas.draw_outline(outline, color, 0.085)


def _round_lens_outline(x: float, y: float, width_scale: float) -> Points:
    return ellipse_points(x, y, 0.285 * width_scale, 0.275)


def _square_lens_outline(x: float, y: float, width_scale: float) -> Points:
    points = [
        (-1, -0.16), (-0.8, -0.225), (0.8, -0.225), (1, -0.16),
        (0.97, 0.14), (0.76, 0.215), (-0.76, 0.215), (-0.97, 0.14),
    ]  # fmt: skip
    return catmull_rom(place(points, x, y, 0.285 * width_scale), is_closed=True)


def _sunglasses_lens_outline(x: float, y: float, width_scale: float) -> Points:
    points = [(-1, -0.19), (0, -0.225), (1, -0.19), (0.84, 0.14), (0, 0.23), (-0.84, 0.14)]
    return catmull_rom(place(points, x, y, 0.30 * width_scale), is_closed=True)


GLASSES_STYLES: dict[str, GlassesStyle] = {
    "none": GlassesStyle(None),
    "round": GlassesStyle(_round_lens_outline),
    "square": GlassesStyle(_square_lens_outline),
    "sunglasses": GlassesStyle(_sunglasses_lens_outline, has_dark_lenses=True),
}


def _earlobe_positions(drawing: FaceDrawing) -> list[tuple[float, float]]:
    x = drawing.half_width(0.3) + 0.06
    return [(side * x - 0.07 * drawing.turn, 0.36) for side in (-1, 1)]


def _draw_stud_earrings(drawing: FaceDrawing) -> None:
    for x, y in _earlobe_positions(drawing):
        drawing.canvas.fill_disc(x, y - 0.02, 0.085, OUTLINE_COLOR)
        drawing.canvas.fill_disc(x, y - 0.02, 0.052, GOLD_COLOR)


def _draw_hoop_earrings(drawing: FaceDrawing) -> None:
    for x, y in _earlobe_positions(drawing):
        drawing.canvas.draw_outline(ellipse_points(x, y + 0.11, 0.105, 0.125), OUTLINE_COLOR, 0.11)
        drawing.canvas.draw_outline(ellipse_points(x, y + 0.11, 0.105, 0.125), GOLD_COLOR, 0.05)


EARRING_STYLES: dict[str, Callable[[FaceDrawing], None]] = {
    "none": draw_nothing,
    "studs": _draw_stud_earrings,
    "hoops": _draw_hoop_earrings,
}
