"""A supersampled Pillow canvas with its own coordinates: smooth curves, outlines, flat shades.

Points are in "units" of a movable frame: x to the right, y down, one unit being half a head's height.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Points = list[Point]

INK: Colour = (36, 24, 42)
WHITE: Colour = (255, 255, 255)
SUPERSAMPLING = 3
_STEPS = 4
_CORNER = math.cos(math.radians(30))


def mix(a: Colour, b: Colour, amount: float) -> Colour:
    """Return `a` moved towards `b`: 0 gives `a`, 1 gives `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * amount),
        round(a[1] + (b[1] - a[1]) * amount),
        round(a[2] + (b[2] - a[2]) * amount),
    )


def lightness(colour: Colour) -> float:
    """Return how light a colour looks, 0 (black) to 1 (white)."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255


def _weights(steps: int) -> list[tuple[float, float, float, float]]:
    """Catmull-Rom weights of the four neighbouring points, for each step along a span."""
    rows = []
    for step in range(steps):
        t = step / steps
        rows.append(
            (
                (-t + 2 * t**2 - t**3) / 2,
                (2 - 5 * t**2 + 3 * t**3) / 2,
                (t + 4 * t**2 - 3 * t**3) / 2,
                (t**3 - t**2) / 2,
            )
        )
    return rows


_SPAN = _weights(_STEPS)


def smooth(points: Sequence[Point], closed: bool = False) -> Points:
    """Return a Catmull-Rom curve through `points`, densely; a closed one does not repeat its start."""
    if len(points) < 3:
        return list(points)
    before, after = (points[-1], [points[0], points[1]]) if closed else (points[0], [points[-1]])
    padded = [before, *points, *after]
    curve: Points = []
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve += [(a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy) for a, b, c, d in _SPAN]
    if not closed:
        curve.append(points[-1])
    return curve


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Return the points of an ellipse (or of an arc of it, degrees clockwise from the right)."""
    count = max(6, round(abs(end - start) / 15))
    whole = abs(end - start) >= 360
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + (not whole))]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def mirror(points: Iterable[Point]) -> Points:
    """Return the points reflected left to right, in reverse order, as the other half of an outline."""
    return [(-x, y) for x, y in points][::-1]


def _bounds(points: Points, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box of whole pixels around `points` that lies within a picture of `size`."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (
        max(0, int(min(xs) - margin)),
        max(0, int(min(ys) - margin)),
        min(size[0], int(max(xs) + margin) + 2),
        min(size[1], int(max(ys) + margin) + 2),
    )


class Canvas:
    """One picture being drawn: `width` x `height` final pixels, `SUPERSAMPLING` times as many inside."""

    def __init__(self, width: int, height: int, background: Colour) -> None:
        """Start with a flat background; `frame` must be called before anything is drawn in units."""
        self.size = (width, height)
        self.image = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), background)
        self.pen = ImageDraw.Draw(self.image)
        self.light = -1.0
        self.flip = 1.0
        self.frame(width / 2, height / 2, 1, 0)

    def frame(self, x: float, y: float, unit: float, degrees: float) -> None:
        """Put the origin at pixel (x, y), with `unit` pixels per unit, turned clockwise by `degrees`."""
        angle = math.radians(degrees)
        self.unit = unit * SUPERSAMPLING
        self._cos, self._sin = math.cos(angle) * self.unit, math.sin(angle) * self.unit
        self._x, self._y = x * SUPERSAMPLING, y * SUPERSAMPLING
        self.ink = 0.075

    def pixels(self, points: Iterable[Point]) -> Points:
        """Return points given in units as pixels of the supersampled picture."""
        c, s, ox, oy = self._cos, self._sin, self._x, self._y
        cx, sx = c * self.flip, s * self.flip
        return [(ox + x * cx - y * s, oy + x * sx + y * c) for x, y in points]

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill a polygon, without an outline."""
        self.pen.polygon(self.pixels(points), fill=colour)

    def shape(
        self,
        points: Points,
        colour: Colour,
        shade: Colour | None = None,
        depth: float = 0.13,
        soft: float = 0.0,
        ink: Colour | None = INK,
    ) -> None:
        """Fill a closed outline, darken its side away from the light by `shade`, and ink its edge.

        `depth` is the shade's width and `soft` the blur of its edge, both in units; `ink` None: no line.
        """
        placed = self.pixels(points)
        self.pen.polygon(placed, fill=colour)
        if shade is not None:
            dx, dy = self.light * depth * self.unit, -0.35 * depth * self.unit
            self._paint(placed, [(x + dx, y + dy) for x, y in placed], shade, soft, outside=True)
        if ink is not None:
            self._line([*placed, placed[0]], ink, self.ink)

    def stroke(self, points: Points, colour: Colour = INK, width: float | None = None) -> None:
        """Draw an open line with round ends and corners; `width` in units."""
        width = self.ink if width is None else width
        placed = self.pixels(points)
        self._line(placed, colour, width)
        for x, y in (placed[0], placed[-1]):
            self._disc(x, y, width / 2 * self.unit, colour)

    def outline(self, points: Points, colour: Colour = INK, width: float | None = None) -> None:
        """Draw a closed line."""
        placed = self.pixels(points)
        self._line([*placed, placed[0]], colour, self.ink if width is None else width)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a disc, without an outline."""
        ((px, py),) = self.pixels([(x, y)])
        self._disc(px, py, radius * self.unit, colour)

    def blobs(self, discs: Sequence[tuple[float, float, float]], colour: Colour, ink: bool = True) -> None:
        """Fill the union of discs (x, y, radius), with one outline around the whole of it."""
        if ink:
            for x, y, radius in discs:
                self.dot(x, y, radius + self.ink / 2, INK)
        for x, y, radius in discs:
            self.dot(x, y, radius - self.ink / 2 if ink else radius, colour)

    def inside(self, clip: Points, points: Points, colour: Colour, soft: float = 0.0) -> None:
        """Fill the part of `points` that lies within `clip`; `soft` blurs its edge, in units."""
        self._paint(self.pixels(clip), self.pixels(points), colour, soft, outside=False)

    def finished(self) -> Image.Image:
        """Return the picture at its final size, antialiased."""
        return self.image.reduce(SUPERSAMPLING)

    def _paint(self, clip: Points, points: Points, colour: Colour, soft: float, outside: bool) -> None:
        """Fill `clip` where `points` is (or, with `outside`, is not)."""
        blur = soft * self.unit
        left, top, right, bottom = _bounds(clip, 0, self.image.size)
        if not outside:
            inner = _bounds(points, blur, self.image.size)
            left, top = max(left, inner[0]), max(top, inner[1])
            right, bottom = min(right, inner[2]), min(bottom, inner[3])
        if right <= left or bottom <= top:
            return
        size, mode = (right - left, bottom - top), "L" if soft else "1"
        part = Image.new(mode, size, 255 if outside else 0)
        ImageDraw.Draw(part).polygon([(x - left, y - top) for x, y in points], fill=0 if outside else 255)
        mask = Image.new(mode, size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in clip], fill=255)
        if soft:
            mask = ImageChops.darker(mask, part.filter(ImageFilter.BoxBlur(blur)))
        else:
            mask = ImageChops.logical_and(mask, part)
        self.image.paste(colour, (left, top, right, bottom), mask)

    def _line(self, placed: Points, colour: Colour, width: float) -> None:
        """Draw a line through pixels: a ribbon from each sharp corner to the next, a disc at the corner.

        Pillow's own wide lines round every segment to whole pixels by itself, which looks like beads.
        """
        half = width * self.unit / 2
        ring = placed[0] == placed[-1]
        last = len(placed) - 1
        start = 0
        for i in range(1, last):
            (ax, ay), (bx, by), (cx, cy) = placed[i - 1], placed[i], placed[i + 1]
            ux, uy, vx, vy = bx - ax, by - ay, cx - bx, cy - by
            if ux * vx + uy * vy < _CORNER * math.sqrt((ux * ux + uy * uy) * (vx * vx + vy * vy)):
                self._disc(bx, by, half, colour)
                self._ribbon(placed[start : i + 1], half, colour)
                start = i
        self._ribbon(placed[start:], half, colour, ring and start == 0)
        if ring:
            self._disc(*placed[0], half, colour)

    def _ribbon(self, placed: Points, half: float, colour: Colour, ring: bool = False) -> None:
        """Fill a smooth line through pixels, `half` wide to each side."""
        before = [placed[-2] if ring else placed[0], *placed[:-1]]
        after = [*placed[1:], placed[1] if ring else placed[-1]]
        left, right = [], []
        for (ax, ay), (bx, by), (cx, cy) in zip(before, placed, after, strict=True):
            dx, dy = cx - ax, cy - ay
            scale = half / (math.sqrt(dx * dx + dy * dy) or 1.0)
            ox, oy = -dy * scale, dx * scale
            left.append((bx + ox + 0.5, by + oy + 0.5))
            right.append((bx - ox + 0.5, by - oy + 0.5))
        self.pen.polygon(left + right[::-1], fill=colour)

    def _disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a disc given in pixels."""
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
