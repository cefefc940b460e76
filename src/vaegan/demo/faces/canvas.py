"""A supersampled Pillow canvas for comic drawings: filled shapes with outlines and flat shading.

Points are in the "units" of a frame that can be moved and rotated: x to the right, y down. For a face, one unit is half
the height of the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from vaegan.demo.faces.shapes import Point, Points

Color = tuple[int, int, int]
Disc = tuple[float, float, float]
"""(x, y, radius)."""

OUTLINE_COLOR: Color = (36, 24, 42)
WHITE: Color = (255, 255, 255)
OUTLINE_WIDTH = 0.075  # units
SUPERSAMPLING = 3
_CORNER_COSINE = math.cos(math.radians(30))
"""A line has a corner where it turns by more than 30 degrees."""


def blend(a: Color, b: Color, amount: float) -> Color:
    """Return a mixture of two colors.

    Args:
        a: first color.
        b: second color.
        amount: 0 gives `a`, 1 gives `b`.

    Returns:
        the color.
    """
    red, green, blue = (round(x + (y - x) * amount) for x, y in zip(a, b, strict=True))
    return red, green, blue


def luma(color: Color) -> float:
    """Return the brightness of a color (BT.601 luma).

    Args:
        color: RGB, 0 to 255.

    Returns:
        0 (black) to 1 (white).
    """
    return (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255


def _clipped_bounding_box(points: Points, margin: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the pixel box (left, top, right, bottom) around `points`, clipped to an image of `size`."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, top = max(0, int(min(xs) - margin)), max(0, int(min(ys) - margin))
    return left, top, min(size[0], int(max(xs) + margin) + 2), min(size[1], int(max(ys) + margin) + 2)


class Canvas:
    """An image in progress, drawn at `SUPERSAMPLING` times its final width and height."""

    def __init__(self, width: int, height: int, background: Color) -> None:
        """Create a canvas of `width` x `height` final pixels. `set_frame` defines the units before drawing."""
        self.image = Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING), background)
        self.pillow_draw = ImageDraw.Draw(self.image)
        self.light_sign = -1.0  # light from the left; 1: from the right
        self.x_sign = 1.0  # -1: mirror what is drawn
        self.set_frame(width / 2, height / 2, 1, 0)

    def set_frame(self, x: float, y: float, unit_pixels: float, degrees: float) -> None:
        """Set origin, unit and rotation of what is drawn next.

        Args:
            x: of the origin, in final pixels.
            y: of the origin, in final pixels.
            unit_pixels: final pixels per unit.
            degrees: clockwise rotation of the axes.
        """
        angle = math.radians(degrees)
        self.unit_pixels = unit_pixels * SUPERSAMPLING
        self._cos, self._sin = math.cos(angle) * self.unit_pixels, math.sin(angle) * self.unit_pixels
        self._origin_x, self._origin_y = x * SUPERSAMPLING, y * SUPERSAMPLING

    def to_pixels(self, points: Iterable[Point]) -> Points:
        """Convert points from units to pixels of the supersampled image.

        Args:
            points: in units.

        Returns:
            in pixels of the supersampled image.
        """
        c, s, ox, oy = self._cos, self._sin, self._origin_x, self._origin_y
        cx, sx = c * self.x_sign, s * self.x_sign
        return [(ox + x * cx - y * s, oy + x * sx + y * c) for x, y in points]

    def fill_polygon(self, points: Iterable[Point], color: Color) -> None:
        """Fill a polygon without an outline.

        Args:
            points: corners, in units.
            color: RGB.
        """
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
        """Fill a polygon, shade the side away from the light, and draw the outline.

        Args:
            points: corners, in units.
            color: RGB.
            shade_color: RGB; None leaves the shade out.
            shade_width: in units.
            blur_radius: blur of the shade's edge, in units.
            outline_color: RGB; None leaves the outline out.
        """
        polygon = self.to_pixels(points)
        self.pillow_draw.polygon(polygon, fill=color)
        if shade_color is not None:
            # The shade is the part of the polygon outside a copy that is moved towards the light.
            dx, dy = self.light_sign * shade_width * self.unit_pixels, -0.35 * shade_width * self.unit_pixels
            lit = [(x + dx, y + dy) for x, y in polygon]
            self._fill_masked(polygon, lit, shade_color, blur_radius, fill_outside=True)
        if outline_color is not None:
            self._draw_pixel_line([*polygon, polygon[0]], outline_color, OUTLINE_WIDTH)

    def draw_line(self, points: Points, color: Color = OUTLINE_COLOR, width: float = OUTLINE_WIDTH) -> None:
        """Draw an open line with round ends and corners.

        Args:
            points: in units.
            color: RGB.
            width: in units.
        """
        pixel_points = self.to_pixels(points)
        self._draw_pixel_line(pixel_points, color, width)
        for x, y in (pixel_points[0], pixel_points[-1]):
            self._fill_pixel_disc(x, y, width / 2 * self.unit_pixels, color)

    def draw_outline(self, points: Points, color: Color = OUTLINE_COLOR, width: float = OUTLINE_WIDTH) -> None:
        """Draw a closed line.

        Args:
            points: in units.
            color: RGB.
            width: in units.
        """
        polygon = self.to_pixels(points)
        self._draw_pixel_line([*polygon, polygon[0]], color, width)

    def fill_disc(self, x: float, y: float, radius: float, color: Color) -> None:
        """Fill a disc without an outline.

        Args:
            x: of the center, in units.
            y: of the center, in units.
            radius: in units.
            color: RGB.
        """
        ((px, py),) = self.to_pixels([(x, y)])
        self._fill_pixel_disc(px, py, radius * self.unit_pixels, color)

    def fill_discs(self, discs: Sequence[Disc], color: Color) -> None:
        """Fill the union of discs, with one outline around all of them.

        Args:
            discs: x, y and radius of each, in units.
            color: RGB.
        """
        for x, y, radius in discs:
            self.fill_disc(x, y, radius + OUTLINE_WIDTH / 2, OUTLINE_COLOR)
        for x, y, radius in discs:
            self.fill_disc(x, y, radius - OUTLINE_WIDTH / 2, color)

    def fill_clipped(self, clip: Points, points: Points, color: Color, blur_radius: float = 0.0) -> None:
        """Fill the intersection of two polygons.

        Args:
            clip: corners of one, in units.
            points: corners of the other, in units.
            color: RGB.
            blur_radius: blur of the edge of `points`, in units.
        """
        self._fill_masked(self.to_pixels(clip), self.to_pixels(points), color, blur_radius, fill_outside=False)

    def to_image(self) -> Image.Image:
        """Return the image at its final size, antialiased.

        Returns:
            RGB.
        """
        return self.image.reduce(SUPERSAMPLING)

    def _fill_masked(self, clip: Points, points: Points, color: Color, blur_radius: float, fill_outside: bool) -> None:
        """Fill the part of `clip` that is inside of `points`, or outside of it; both are pixel polygons."""
        # The masks cover only the bounding box of what is filled, which is faster than masks of the whole image.
        blur = blur_radius * self.unit_pixels
        left, top, right, bottom = _clipped_bounding_box(clip, 0, self.image.size)
        if not fill_outside:
            inner = _clipped_bounding_box(points, blur, self.image.size)
            left, top = max(left, inner[0]), max(top, inner[1])
            right, bottom = min(right, inner[2]), min(bottom, inner[3])
        if right <= left or bottom <= top:
            return
        size, mode = (right - left, bottom - top), "L" if blur_radius else "1"
        fill_mask = Image.new(mode, size, 255 if fill_outside else 0)
        ImageDraw.Draw(fill_mask).polygon([(x - left, y - top) for x, y in points], fill=0 if fill_outside else 255)
        clip_mask = Image.new(mode, size, 0)
        ImageDraw.Draw(clip_mask).polygon([(x - left, y - top) for x, y in clip], fill=255)
        if blur_radius:
            mask = ImageChops.darker(clip_mask, fill_mask.filter(ImageFilter.BoxBlur(blur)))
        else:
            mask = ImageChops.logical_and(clip_mask, fill_mask)
        self.image.paste(color, (left, top, right, bottom), mask)

    def _draw_pixel_line(self, pixel_points: Points, color: Color, width: float) -> None:
        """Draw a line: a ribbon from each corner to the next, and a disc at each corner.

        Pillow's own wide lines are not used: they round each segment to whole pixels, so that curves look uneven.
        """
        half_width = width * self.unit_pixels / 2
        is_closed = pixel_points[0] == pixel_points[-1]
        start = 0
        for i in range(1, len(pixel_points) - 1):
            (x0, y0), (x1, y1), (x2, y2) = pixel_points[i - 1 : i + 2]
            in_x, in_y, out_x, out_y = x1 - x0, y1 - y0, x2 - x1, y2 - y1
            # A corner: the cosine of the angle between the two segments (dot product / lengths) is small.
            lengths = math.sqrt((in_x * in_x + in_y * in_y) * (out_x * out_x + out_y * out_y))
            if in_x * out_x + in_y * out_y < _CORNER_COSINE * lengths:
                self._fill_pixel_disc(x1, y1, half_width, color)
                self._fill_ribbon(pixel_points[start : i + 1], half_width, color)
                start = i
        self._fill_ribbon(pixel_points[start:], half_width, color, is_closed and start == 0)
        if is_closed:
            self._fill_pixel_disc(*pixel_points[0], half_width, color)

    def _fill_ribbon(self, pixel_points: Points, half_width: float, color: Color, is_closed: bool = False) -> None:
        """Fill the area within `half_width` pixels of a line without corners."""
        before = [pixel_points[-2] if is_closed else pixel_points[0], *pixel_points[:-1]]
        after = [*pixel_points[1:], pixel_points[1] if is_closed else pixel_points[-1]]
        left, right = [], []
        for (x0, y0), (x1, y1), (x2, y2) in zip(before, pixel_points, after, strict=True):
            dx, dy = x2 - x0, y2 - y0  # the direction of the line at (x1, y1)
            scale = half_width / (math.sqrt(dx * dx + dy * dy) or 1.0)
            normal_x, normal_y = -dy * scale, dx * scale
            left.append((x1 + normal_x + 0.5, y1 + normal_y + 0.5))
            right.append((x1 - normal_x + 0.5, y1 - normal_y + 0.5))
        self.pillow_draw.polygon(left + right[::-1], fill=color)

    def _fill_pixel_disc(self, x: float, y: float, radius: float, color: Color) -> None:
        self.pillow_draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
