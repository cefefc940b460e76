"""Building blocks of the hair styles: outlines over the skull, shadows, highlights and strands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from vaegan.demo.faces.canvas import OUTLINE_COLOR, blend
from vaegan.demo.faces.head import SKULL_CENTER_Y, FaceDrawing, draw_forehead_shadow
from vaegan.demo.faces.shapes import Points, catmull_rom

HairFunction = Callable[[FaceDrawing], None]


class HairLength(IntEnum):
    """The length of a hair style."""

    SHORT = 0
    MEDIUM = 1
    LONG = 2


@dataclass(frozen=True)
class HairStyle:
    """How to draw a hair style in front of the head and behind it, and how often it is chosen."""

    draw_front: HairFunction
    draw_back: HairFunction | None = None
    length: HairLength = HairLength.SHORT
    weight: float = 1.0
    fits_hats: bool = True
    """Whether a hat that covers the top of the head can be drawn over it."""


def hair_cap_outline(drawing: FaceDrawing, pad: float, lift: float, end_y: float, hairline: Points) -> Points:
    """Return an outline of hair.

    Args:
        drawing: the face.
        pad: how much wider than the skull, in units.
        lift: how much higher than the skull, in units.
        end_y: height at which it ends, in units.
        hairline: points from right to left, in units.

    Returns:
        in units.
    """
    turn = 0.07 * drawing.turn
    edge = drawing.half_width(end_y) + pad * 0.6
    outer = catmull_rom([(-edge, end_y), *drawing.skull_arc(pad, lift, -172, -8), (edge, end_y)])
    inner = [(edge - 0.13, end_y), *((x + turn, y) for x, y in hairline), (-edge + 0.13, end_y)]
    return [*outer, *catmull_rom(inner)]


def _crescent_outline(drawing: FaceDrawing, start: float, end: float, radius: float, width: float) -> Points:
    """Return a crescent along the skull from `start` to `end` degrees; `radius` 1 is on the skull."""
    arc = drawing.skull_arc(0, 0, start, end, 6)
    upper, lower = [], []
    for i, (x, y) in enumerate(arc):
        half = width / 2 * math.sin(math.pi * (0.1 + 0.8 * i / (len(arc) - 1)))
        upper.append((x * (radius + half), SKULL_CENTER_Y + (y - SKULL_CENTER_Y) * (radius + half)))
        lower.append((x * (radius - half), SKULL_CENTER_Y + (y - SKULL_CENTER_Y) * (radius - half)))
    return [*upper, *lower[::-1]]


def draw_front_hair(drawing: FaceDrawing, points: Points, has_highlight: bool = True) -> None:
    """Draw hair in front of the head, its shadow on the forehead, and a highlight on its lit side.

    Args:
        drawing: the face.
        points: outline of the hair, in units.
        has_highlight: whether to draw the highlight.
    """
    draw_forehead_shadow(drawing, points)
    drawing.draw_hair(points, 0.13)
    if has_highlight:
        start, end = (-152, -96) if drawing.light_sign < 0 else (-28, -84)
        highlight = _crescent_outline(drawing, start, end, 0.90, 0.15)
        drawing.canvas.fill_clipped(points, highlight, drawing.hair_highlight)


def draw_strands(drawing: FaceDrawing, *lines: Points) -> None:
    """Draw thin strands of darker hair.

    Args:
        drawing: the face.
        *lines: points of each strand, in units.
    """
    for line in lines:
        drawing.canvas.draw_line(catmull_rom(line), blend(drawing.hair_shade, OUTLINE_COLOR, 0.25), 0.045)
