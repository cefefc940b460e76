"""What hair styles are made of: masses of hair over the skull, with their shadow and shine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vaegan.demo.faces.canvas import INK, Point, Points, mirror, mix, smooth
from vaegan.demo.faces.head import BROW, Sitter, draw_forehead_shadow

Draw = Callable[[Sitter], None]


@dataclass(frozen=True)
class Style:
    """A hair style: drawn behind and in front of the head, how common, and what goes with it."""

    front: Draw
    back: Draw | None = None
    weight: float = 1.0
    length: int = 0
    """0 short, 1 either, 2 long."""
    hats: bool = True
    """Whether a hat that hides the top of the head fits over it."""


def cap(sitter: Sitter, pad: float, lift: float, end: float, hairline: Points) -> Points:
    """The outline of hair over the skull down to height `end` at each side; `hairline` runs right to left."""
    turn = 0.07 * sitter.turn
    wide = sitter.half_width(end) + pad * 0.6
    outer = smooth([(-wide, end), *sitter.arc(pad, lift, -172, -8), (wide, end)])
    inner = [(wide - 0.13, end), *((x + turn, y) for x, y in hairline), (-wide + 0.13, end)]
    return [*outer, *smooth(inner)]


def even(*half: Point) -> Points:
    """A symmetrical hairline from its right half, given from the temple to the middle."""
    middle = [] if half[-1][0] else [half[-1]]
    side = list(half[: len(half) - len(middle)])
    return [*side, *middle, *mirror(side)]


def crescent(sitter: Sitter, start: float, end: float, radius: float, width: float) -> Points:
    """A sickle along the skull, thickest in its middle."""
    arc = sitter.arc(0, 0, start, end, 6)
    upper, lower = [], []
    for i, (x, y) in enumerate(arc):
        half = width / 2 * math.sin(math.pi * (0.1 + 0.8 * i / (len(arc) - 1)))
        upper.append((x * (radius + half), BROW + (y - BROW) * (radius + half)))
        lower.append((x * (radius - half), BROW + (y - BROW) * (radius - half)))
    return [*upper, *lower[::-1]]


def draw_gloss(sitter: Sitter, clip: Points) -> None:
    """Draw the shine along the lit side of the crown, within the hair's outline `clip`."""
    start, end = (-152, -96) if sitter.light < 0 else (-28, -84)
    sitter.canvas.inside(clip, crescent(sitter, start, end, 0.90, 0.15), sitter.hair_shine)


def draw_over(sitter: Sitter, points: Points, shiny: bool = True, depth: float = 0.13) -> None:
    """Draw hair over the forehead, with its shadow and its shine."""
    draw_forehead_shadow(sitter, points)
    sitter.hairs(points, depth)
    if shiny:
        draw_gloss(sitter, points)


def draw_strands(sitter: Sitter, *lines: Points) -> None:
    """Draw a few thin strands in the hair's shade."""
    for line in lines:
        sitter.canvas.stroke(smooth(line), mix(sitter.hair_shade, INK, 0.25), 0.045)
