"""The state of drawing one face (colors and geometry), the head and the ears."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from vaegan.demo.faces.attributes import HAIR_COLORS, IRIS_COLORS, SKIN_TONES, Face
from vaegan.demo.faces.canvas import WHITE, Canvas, blend, luma
from vaegan.demo.faces.shapes import Point, Points, catmull_rom, ellipse_points, place, symmetric_line

SKULL_CENTER_Y = -0.05
"""Above this height (units) the head is half an ellipse, below it are the jaw points."""
SKULL_HEIGHT = 0.95
"""Height of the half ellipse, units."""


@dataclass(frozen=True)
class HeadShape:
    """Proportions of a head in units. A jaw point is (half width, height)."""

    skull_half_width: float
    jaw_points: tuple[Point, ...]


HEAD_SHAPES: dict[str, HeadShape] = {
    "round": HeadShape(0.86, ((0.83, 0.28), (0.70, 0.62), (0.42, 0.88))),
    "oval": HeadShape(0.79, ((0.75, 0.30), (0.60, 0.65), (0.33, 0.91))),
    "square": HeadShape(0.82, ((0.81, 0.30), (0.75, 0.66), (0.49, 0.92))),
    "heart": HeadShape(0.85, ((0.75, 0.30), (0.52, 0.66), (0.24, 0.91))),
    "long": HeadShape(0.72, ((0.70, 0.32), (0.60, 0.68), (0.36, 0.94))),
    "pear": HeadShape(0.77, ((0.83, 0.30), (0.78, 0.62), (0.48, 0.90))),
}


class FaceDrawing:
    """A face, its canvas, its colors and the geometry of its head."""

    def __init__(self, face: Face, canvas: Canvas) -> None:
        """Compute the colors and the outline of the head."""
        self.face, self.canvas = face, canvas
        self.skin_color, self.skin_shade = SKIN_TONES[face.skin]
        self.hair_color = HAIR_COLORS[face.hair_color]
        self.hair_shade = blend(self.hair_color, (40, 16, 56), 0.30)
        self.hair_highlight = blend(self.hair_color, WHITE, 0.20 if luma(self.hair_color) < 0.3 else 0.34)
        self.iris_color = IRIS_COLORS[face.eye_color]
        self.lip_color = blend(self.skin_shade, (214, 70, 80), 0.38)
        shape = HEAD_SHAPES[face.head]
        self.skull_half_width = shape.skull_half_width * face.head_width
        self.jaw_points = [(x * face.head_width * face.jaw_width, y) for x, y in shape.jaw_points]
        # from the right temple along the jaw to the chin
        self._right_side = [(self.skull_half_width, SKULL_CENTER_Y), *self.jaw_points, (0.0, 1.0)]
        outline = [*symmetric_line(*self._right_side), *self.skull_arc(0, 0, -160, -20, 30)]
        self.head_outline = catmull_rom(outline, is_closed=True)
        self.face_clip = [(x * 0.96, y * 0.965) for x, y in self.head_outline]

    @property
    def turn(self) -> float:
        """The turn of the head towards the positive x of the frame, -1 to 1."""
        return self.face.turn * self.canvas.x_sign

    @property
    def light_sign(self) -> float:
        """The side that the light comes from: -1 (negative x of the frame) or 1."""
        return self.canvas.light_sign * self.canvas.x_sign

    def skull_arc(self, pad: float, lift: float, start: float, end: float, step: float = 18) -> Points:
        """Return points along the skull; -180 degrees is the left temple, -90 the top, 0 the right temple.

        Args:
            pad: how much wider, in units.
            lift: how much higher, in units.
            start: in degrees.
            end: in degrees.
            step: about the distance of the points, in degrees.

        Returns:
            in units.
        """
        count = max(2, round(abs(end - start) / step))
        angles = [math.radians(start + (end - start) * i / count) for i in range(count + 1)]
        rx, ry = self.skull_half_width + pad, SKULL_HEIGHT + lift
        return [(rx * math.cos(a), SKULL_CENTER_Y + ry * math.sin(a)) for a in angles]

    def half_width(self, y: float) -> float:
        """Return half the width of the head at a height.

        Args:
            y: height, in units.

        Returns:
            in units; 0 below the chin.
        """
        if y <= SKULL_CENTER_Y:
            return self.skull_half_width * math.sqrt(max(0.0, 1 - ((y - SKULL_CENTER_Y) / SKULL_HEIGHT) ** 2))
        for (upper_x, upper_y), (lower_x, lower_y) in itertools.pairwise(self._right_side):
            if y <= lower_y:
                return upper_x + (lower_x - upper_x) * (y - upper_y) / (lower_y - upper_y)
        return 0.0

    def to_face_front(self, x: float, y: float) -> Point:
        """Shift a point on the front of the face by the turn of the head.

        Args:
            x: in units.
            y: in units.

        Returns:
            the shifted point, in units.
        """
        return x + 0.12 * self.turn, y

    def draw_hair(self, points: Points, shade_width: float = 0.12) -> None:
        """Draw a shape in the hair color, with its shade and outline.

        Args:
            points: outline, in units.
            shade_width: in units.
        """
        self.canvas.draw_shape(points, self.hair_color, self.hair_shade, shade_width)


def draw_nothing(*args: object) -> None:
    """Draw nothing, for styles like "none".

    Args:
        *args: not used.
    """


def draw_ears(drawing: FaceDrawing) -> None:
    """Draw both ears. The head is drawn later and covers their inner halves.

    Args:
        drawing: the face.
    """
    canvas = drawing.canvas
    for side in (-1, 1):
        x = side * (drawing.half_width(0.15) + 0.06) - 0.07 * drawing.turn
        ear = [(-0.16, -0.06), (0, -0.10), (0.11, 0.02), (0.06, 0.22), (-0.04, 0.33), (-0.16, 0.30)]
        inner_line = [(-0.02, 0.02), (0.04, 0.07), (0, 0.17)]
        outline = catmull_rom(place(ear, x, 0, side), is_closed=True)
        canvas.draw_shape(outline, drawing.skin_color, drawing.skin_shade, 0.06)
        canvas.draw_line(catmull_rom(place(inner_line, x, 0, side)), drawing.skin_shade, 0.06)


def draw_head(drawing: FaceDrawing) -> None:
    """Draw the head.

    Args:
        drawing: the face.
    """
    drawing.canvas.draw_shape(drawing.head_outline, drawing.skin_color, drawing.skin_shade, 0.17, blur_radius=0.035)


def draw_forehead_shadow(drawing: FaceDrawing, points: Points) -> None:
    """Draw the shadow of hair or a hat on the head.

    Args:
        drawing: the face.
        points: outline of the hair or the hat, in units.
    """
    shadow = [(x - 0.04 * drawing.light_sign, y + 0.12) for x, y in points]
    drawing.canvas.fill_clipped(drawing.face_clip, shadow, drawing.skin_shade)


def draw_skull_highlight(drawing: FaceDrawing, rx: float, ry: float) -> None:
    """Draw a highlight on the lit side of a bald skull.

    Args:
        drawing: the face.
        rx: horizontal radius of the arc, in units.
        ry: vertical radius of the arc, in units.
    """
    start, end = (-150, -122) if drawing.light_sign < 0 else (-30, -58)
    arc = ellipse_points(0, SKULL_CENTER_Y, rx, ry, start, end)
    drawing.canvas.draw_line(arc, blend(drawing.skin_color, WHITE, 0.55), 0.08)
