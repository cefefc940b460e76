"""The sitter: one face with its colours and geometry, and the drawing of the head and its ears."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from vaegan.demo.faces.attributes import HAIRS, IRISES, SKINS, Face
from vaegan.demo.faces.canvas import WHITE, Canvas, Point, Points, ellipse, lightness, mirror, mix, smooth

BROW = -0.05
"""Height of the skull's centre, units: above it the head is half an ellipse, below it a jaw."""


@dataclass(frozen=True)
class HeadShape:
    """Proportions of a head, in units: half the skull's width, and the jaw's half widths down to the chin."""

    skull: float
    jaw: tuple[Point, ...]


HEADS: dict[str, HeadShape] = {
    "round": HeadShape(0.86, ((0.83, 0.28), (0.70, 0.62), (0.42, 0.88))),
    "oval": HeadShape(0.79, ((0.75, 0.30), (0.60, 0.65), (0.33, 0.91))),
    "square": HeadShape(0.82, ((0.81, 0.30), (0.75, 0.66), (0.49, 0.92))),
    "heart": HeadShape(0.85, ((0.75, 0.30), (0.52, 0.66), (0.24, 0.91))),
    "long": HeadShape(0.72, ((0.70, 0.32), (0.60, 0.68), (0.36, 0.94))),
    "pear": HeadShape(0.77, ((0.83, 0.30), (0.78, 0.62), (0.48, 0.90))),
}
"""Head shapes by name; a jaw point is (half width, height)."""


class Sitter:
    """One face on its canvas, with everything that the drawing functions share."""

    def __init__(self, face: Face, canvas: Canvas) -> None:
        """Work out the colours and the outline of `face`."""
        self.face = face
        self.canvas = canvas
        self.skin, self.shade = SKINS[face.skin]
        self.hair = HAIRS[face.hair_colour]
        self.hair_shade = mix(self.hair, (40, 16, 56), 0.30)
        self.hair_shine = mix(self.hair, WHITE, 0.20 if lightness(self.hair) < 0.3 else 0.34)
        self.iris = IRISES[face.eye_colour]
        self.lip = mix(self.shade, (214, 70, 80), 0.38)
        shape = HEADS[face.head]
        self.skull = shape.skull * face.breadth
        self.jaw = [(x * face.breadth * face.jaw, y) for x, y in shape.jaw]
        lower = [(self.skull, BROW), *self.jaw, (0.0, 1.0)]
        ring = [*lower, *mirror(self.jaw), (-self.skull, BROW), *self.arc(0, 0, -160, -20, 30)]
        self.outline = smooth(ring, closed=True)
        self.face_area = [(x * 0.96, y * 0.965) for x, y in self.outline]

    @property
    def turn(self) -> float:
        """How far the face turns towards positive x of the frame, -1 to 1."""
        return self.face.turn * self.canvas.flip

    @property
    def light(self) -> float:
        """The side of the frame that the light comes from, -1 or 1."""
        return self.canvas.light * self.canvas.flip

    def arc(self, pad: float, lift: float, start: float, end: float, step: float = 18) -> Points:
        """Return points over the skull, `pad` wider and `lift` higher, from `start` to `end` degrees.

        -180 is the left temple, -90 the top, 0 the right temple.
        """
        count = max(2, round(abs(end - start) / step))
        angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
        wide, high = self.skull + pad, 0.95 + lift
        return [(wide * math.cos(a), BROW + high * math.sin(a)) for a in angles]

    def half_width(self, y: float) -> float:
        """Return the head's half width at height `y`, units; 0 outside the head."""
        if y <= BROW:
            return self.skull * math.sqrt(max(0.0, 1 - ((y - BROW) / 0.95) ** 2))
        rows = [(self.skull, BROW), *self.jaw, (0.0, 1.0)]
        for (wide, above), (narrow, below) in itertools.pairwise(rows):
            if y <= below:
                return wide + (narrow - wide) * (y - above) / (below - above)
        return 0.0

    def along(self, x: float, y: float) -> Point:
        """Return a point of the face's front, shifted as the face turns."""
        return x + 0.12 * self.turn, y

    def hairs(self, points: Points, depth: float = 0.12) -> None:
        """Draw one lock or mass of hair."""
        self.canvas.shape(points, self.hair, self.hair_shade, depth)


def draw_ears(sitter: Sitter) -> None:
    """Draw both ears; the head, drawn later, covers their inner half."""
    canvas = sitter.canvas
    for side in (-1, 1):
        x = side * (sitter.half_width(0.15) + 0.06) - 0.07 * sitter.turn
        ear = smooth(
            [
                (x - side * 0.16, -0.06),
                (x, -0.10),
                (x + side * 0.11, 0.02),
                (x + side * 0.06, 0.22),
                (x - side * 0.04, 0.33),
                (x - side * 0.16, 0.30),
            ],
            closed=True,
        )
        canvas.shape(ear, sitter.skin, sitter.shade, 0.06)
        canvas.stroke(smooth([(x - side * 0.02, 0.02), (x + side * 0.04, 0.07), (x, 0.17)]), sitter.shade, 0.06)


def draw_head(sitter: Sitter) -> None:
    """Draw the head itself: skin, one soft shade, outline."""
    sitter.canvas.shape(sitter.outline, sitter.skin, sitter.shade, 0.17, soft=0.035)


def draw_forehead_shadow(sitter: Sitter, points: Points) -> None:
    """Let hair or a hat whose outline is `points` throw a shadow on the head."""
    moved = [(x - 0.04 * sitter.light, y + 0.12) for x, y in points]
    sitter.canvas.inside(sitter.face_area, moved, sitter.shade)


def draw_shine(sitter: Sitter, x: float, y: float, rx: float, ry: float) -> None:
    """Draw a highlight on the lit side of the skull."""
    light = sitter.light
    arc = ellipse(0, BROW, rx, ry, *((-150, -122) if light < 0 else (-30, -58)))
    sitter.canvas.stroke([(px + x, py + y) for px, py in arc], mix(sitter.skin, WHITE, 0.55), 0.08)
