"""What hair styles are made of: masses of hair over the skull, with their shadow and shine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vaegan.demo.faces.canvas import OUTLINE_COLOR, Point, Points, blend, catmull_rom, reflect_x
from vaegan.demo.faces.head import SKULL_CENTER_Y, FaceDrawing, draw_forehead_shadow

HairFunction = Callable[[FaceDrawing], None]


@dataclass(frozen=True)
class HairStyle:
    """A hair style: drawn behind and in front of the head, how common, and what goes with it."""

    draw_front: HairFunction
    draw_back: HairFunction | None = None
    weight: float = 1.0
    length: int = 0
    """0 short, 1 either, 2 long."""
    fits_hats: bool = True
    """Whether a hat that hides the top of the head fits over it."""


def hair_cap_outline(drawing: FaceDrawing, pad: float, lift: float, end_y: float, hairline: Points) -> Points:
    """The outline of hair over the skull down to height `end` at each side; `hairline` runs right to left."""
    turn = 0.07 * drawing.turn
    wide = drawing.half_width(end_y) + pad * 0.6
    outer = catmull_rom([(-wide, end_y), *drawing.skull_arc(pad, lift, -172, -8), (wide, end_y)])
    inner = [(wide - 0.13, end_y), *((x + turn, y) for x, y in hairline), (-wide + 0.13, end_y)]
    return [*outer, *catmull_rom(inner)]


def symmetric_hairline(*right_half: Point) -> Points:
    """A symmetrical hairline from its right half, given from the temple to the middle."""
    middle = [] if right_half[-1][0] else [right_half[-1]]
    side = list(right_half[: len(right_half) - len(middle)])
    return [*side, *middle, *reflect_x(side)]


def crescent_outline(drawing: FaceDrawing, start: float, end: float, radius: float, width: float) -> Points:
    """A sickle along the skull, thickest in its middle."""
    arc = drawing.skull_arc(0, 0, start, end, 6)
    upper, lower = [], []
    for i, (x, y) in enumerate(arc):
        half = width / 2 * math.sin(math.pi * (0.1 + 0.8 * i / (len(arc) - 1)))
        upper.append((x * (radius + half), SKULL_CENTER_Y + (y - SKULL_CENTER_Y) * (radius + half)))
        lower.append((x * (radius - half), SKULL_CENTER_Y + (y - SKULL_CENTER_Y) * (radius - half)))
    return [*upper, *lower[::-1]]


def draw_hair_highlight(drawing: FaceDrawing, clip: Points) -> None:
    """Draw the shine along the lit side of the crown, within the hair's outline `clip`."""
    start, end = (-152, -96) if drawing.light_sign < 0 else (-28, -84)
    drawing.canvas.fill_clipped(clip, crescent_outline(drawing, start, end, 0.90, 0.15), drawing.hair_highlight)


def draw_front_hair(
    drawing: FaceDrawing, points: Points, has_highlight: bool = True, shade_width: float = 0.13
) -> None:
    """Draw hair over the forehead, with its shadow and its shine."""
    draw_forehead_shadow(drawing, points)
    drawing.draw_hair(points, shade_width)
    if has_highlight:
        draw_hair_highlight(drawing, points)


def draw_strands(drawing: FaceDrawing, *lines: Points) -> None:
    """Draw a few thin strands in the hair's shade."""
    for line in lines:
        drawing.canvas.draw_line(catmull_rom(line), blend(drawing.hair_shade, OUTLINE_COLOR, 0.25), 0.045)
