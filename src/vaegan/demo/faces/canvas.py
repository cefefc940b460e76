"""A supersampled Pillow canvas with its own coordinates: smooth curves, outlines, flat shades.

Points are in "units" of a movable frame: x to the right, y down, one unit being half a head's height.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Color = tuple[int, int, int]
Point = tuple[float, float]
Points = list[Point]

OUTLINE_COLOR: Color = (36, 24, 42)
WHITE: Color = (255, 255, 255)
SUPERSAMPLING = 3
_POINTS_PER_SPAN = 4
_CORNER_COSINE = math.cos(math.radians(30))


def blend(a: Color, b: Color, amount: float) -> Color:
    """Return `a` moved towards `b`: 0 gives `a`, 1 gives `b`."""
    return (
        round(a[0] + (b[0] - a[0]) * amount),
        round(a[1] + (b[1] - a[1]) * amount),
        round(a[2] + (b[2] - a[2]) * amount),
    )


def luma(color: Color) -> float:
    """Return how light a colour looks, 0 (black) to 1 (white)."""
    return (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255


def _catmull_rom_weights(steps: int) -> list[tuple[float, float, float, float]]:
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


_SPAN_WEIGHTS = _catmull_rom_weights(_POINTS_PER_SPAN)


def catmull_rom(points: Sequence[Point], is_closed: bool = False) -> Points:
    """Return a Catmull-Rom curve through `points`, densely; a closed one does not repeat its start."""
    if len(points) < 3:
        return list(points)
    before, after = (points[-1], [points[0], points[1]]) if is_closed else (points[0], [points[-1]])
    padded = [before, *points, *after]
    curve: Points = []
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve += [
            (a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy) for a, b, c, d in _SPAN_WEIGHTS
        ]
    if not is_closed:
        curve.append(points[-1])
    return curve


def ellipse_points(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Return the points of an ellipse (or of an arc of it, degrees clockwise from the right)."""
    count = max(6, round(abs(end - start) / 15))
    whole = abs(end - start) >= 360
    angles = [math.radians(start + (end - start) * i / count) for i in range(count + (not whole))]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def reflect_x(points: Iterable[Point]) -> Points:
    """Return the points reflected left to right, in reverse order, as the other half of an outline."""
    return [(-x, y) for x, y in points][::-1]


def _clipped_bounding_box(points: Points, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
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

    def __init__(self, width: int, height: int, background: Color) -> None:
        """Start with a flat background; `frame` must be called before anything is drawn in units."""
        self.size = (width, height)
        self.image = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), background)
        self.pillow_draw = ImageDraw.Draw(self.image)
        self.light_sign = -1.0
        self.x_sign = 1.0
        self.set_frame(width / 2, height / 2, 1, 0)

    def set_frame(self, x: float, y: float, unit_pixels: float, degrees: float) -> None:
        """Put the origin at pixel (x, y), with `unit` pixels per unit, turned clockwise by `degrees`."""
        angle = math.radians(degrees)
        self.unit_pixels = unit_pixels * SUPERSAMPLING
        self._cos, self._sin = math.cos(angle) * self.unit_pixels, math.sin(angle) * self.unit_pixels
        self._origin_x, self._origin_y = x * SUPERSAMPLING, y * SUPERSAMPLING
        self.outline_width = 0.075

    def to_pixels(self, points: Iterable[Point]) -> Points:
        """Return points given in units as pixels of the supersampled picture."""
        c, s, ox, oy = self._cos, self._sin, self._origin_x, self._origin_y
        cx, sx = c * self.x_sign, s * self.x_sign
        return [(ox + x * cx - y * s, oy + x * sx + y * c) for x, y in points]

    def fill_polygon(self, points: Iterable[Point], color: Color) -> None:
        """Fill a polygon, without an outline."""
        self.pillow_draw.polygon(self.to_pixels(points), fill=color)

    def draw_shape(
        self,
        points: Points,
        color: Color,
        shade_color: Color | None = None,
        shade_width: float = 0.13,
        blur_radius: float = 0.0,
        outline_color: Color | None = OUTLINE_COLOR,
    ) -> None:
        """Fill a closed outline, darken its side away from the light by `shade`, and ink its edge.

        `depth` is the shade's width and `soft` the blur of its edge, both in units; `ink` None: no line.
        """
        placed = self.to_pixels(points)
        self.pillow_draw.polygon(placed, fill=color)
        if shade_color is not None:
            dx, dy = self.light_sign * shade_width * self.unit_pixels, -0.35 * shade_width * self.unit_pixels
            self._fill_masked(
                placed, [(x + dx, y + dy) for x, y in placed], shade_color, blur_radius, fill_outside=True
            )
        if outline_color is not None:
            self._draw_pixel_line([*placed, placed[0]], outline_color, self.outline_width)

    def draw_line(self, points: Points, color: Color = OUTLINE_COLOR, width: float | None = None) -> None:
        """Draw an open line with round ends and corners; `width` in units."""
        width = self.outline_width if width is None else width
        placed = self.to_pixels(points)
        self._draw_pixel_line(placed, color, width)
        for x, y in (placed[0], placed[-1]):
            self._fill_pixel_disc(x, y, width / 2 * self.unit_pixels, color)

    def draw_outline(self, points: Points, color: Color = OUTLINE_COLOR, width: float | None = None) -> None:
        """Draw a closed line."""
        placed = self.to_pixels(points)
        self._draw_pixel_line([*placed, placed[0]], color, self.outline_width if width is None else width)

    def fill_disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a disc, without an outline."""
        ((px, py),) = self.to_pixels([(x, y)])
        self._fill_pixel_disc(px, py, radius * self.unit_pixels, color)

    def fill_discs(self, discs: Sequence[tuple[float, float, float]], color: Color, has_outline: bool = True) -> None:
        """Fill the union of discs (x, y, radius), with one outline around the whole of it."""
        if has_outline:
            for x, y, radius in discs:
                self.fill_disc(x, y, radius + self.outline_width / 2, OUTLINE_COLOR)
        for x, y, radius in discs:
            self.fill_disc(x, y, radius - self.outline_width / 2 if has_outline else radius, color)

    def fill_clipped(self, clip: Points, points: Points, color: Color, blur_radius: float = 0.0) -> None:
        """Fill the part of `points` that lies within `clip`; `soft` blurs its edge, in units."""
        self._fill_masked(self.to_pixels(clip), self.to_pixels(points), color, blur_radius, fill_outside=False)

    def to_image(self) -> Image.Image:
        """Return the picture at its final size, antialiased."""
        return self.image.reduce(SUPERSAMPLING)

    def _fill_masked(self, clip: Points, points: Points, color: Color, blur_radius: float, fill_outside: bool) -> None:
        """Fill `clip` where `points` is (or, with `outside`, is not)."""
        blur = blur_radius * self.unit_pixels
        left, top, right, bottom = _clipped_bounding_box(clip, 0, self.image.size)
        if not fill_outside:
            inner = _clipped_bounding_box(points, blur, self.image.size)
            left, top = max(left, inner[0]), max(top, inner[1])
            right, bottom = min(right, inner[2]), min(bottom, inner[3])
        if right <= left or bottom <= top:
            return
        size, mode = (right - left, bottom - top), "L" if blur_radius else "1"
        part = Image.new(mode, size, 255 if fill_outside else 0)
        ImageDraw.Draw(part).polygon([(x - left, y - top) for x, y in points], fill=0 if fill_outside else 255)
        mask = Image.new(mode, size, 0)
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in clip], fill=255)
        if blur_radius:
            mask = ImageChops.darker(mask, part.filter(ImageFilter.BoxBlur(blur)))
        else:
            mask = ImageChops.logical_and(mask, part)
        self.image.paste(color, (left, top, right, bottom), mask)

    def _draw_pixel_line(self, pixel_points: Points, color: Color, width: float) -> None:
        """Draw a line through pixels: a ribbon from each sharp corner to the next, a disc at the corner.

        Pillow's own wide lines round every segment to whole pixels by itself, which looks like beads.
        """
        half = width * self.unit_pixels / 2
        ring = pixel_points[0] == pixel_points[-1]
        last = len(pixel_points) - 1
        start = 0
        for i in range(1, last):
            (ax, ay), (bx, by), (cx, cy) = pixel_points[i - 1], pixel_points[i], pixel_points[i + 1]
            ux, uy, vx, vy = bx - ax, by - ay, cx - bx, cy - by
            if ux * vx + uy * vy < _CORNER_COSINE * math.sqrt((ux * ux + uy * uy) * (vx * vx + vy * vy)):
                self._fill_pixel_disc(bx, by, half, color)
                self._fill_ribbon(pixel_points[start : i + 1], half, color)
                start = i
        self._fill_ribbon(pixel_points[start:], half, color, ring and start == 0)
        if ring:
            self._fill_pixel_disc(*pixel_points[0], half, color)

    def _fill_ribbon(self, pixel_points: Points, half_width: float, color: Color, is_closed: bool = False) -> None:
        """Fill a smooth line through pixels, `half` wide to each side."""
        before = [pixel_points[-2] if is_closed else pixel_points[0], *pixel_points[:-1]]
        after = [*pixel_points[1:], pixel_points[1] if is_closed else pixel_points[-1]]
        left, right = [], []
        for (ax, ay), (bx, by), (cx, cy) in zip(before, pixel_points, after, strict=True):
            dx, dy = cx - ax, cy - ay
            scale = half_width / (math.sqrt(dx * dx + dy * dy) or 1.0)
            ox, oy = -dy * scale, dx * scale
            left.append((bx + ox + 0.5, by + oy + 0.5))
            right.append((bx - ox + 0.5, by - oy + 0.5))
        self.pillow_draw.polygon(left + right[::-1], fill=color)

    def _fill_pixel_disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a disc given in pixels."""
        self.pillow_draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
