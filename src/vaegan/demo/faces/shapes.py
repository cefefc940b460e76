"""Lists of points: smooth curves, ellipses, and their placement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
Points = list[Point]

_SPAN_WEIGHTS = [
    ((-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2, (t**3 - t**2) / 2)
    for t in (0.0, 0.25, 0.5, 0.75)
]
"""Catmull-Rom weights of four neighboring points, for each step `t` from the second to the third."""


def catmull_rom(points: Sequence[Point], is_closed: bool = False) -> Points:
    """Return dense points of a Catmull-Rom spline.

    Args:
        points: points that it passes through.
        is_closed: whether it returns to the first point, which is not repeated.

    Returns:
        the points.
    """
    if len(points) < 3:
        return list(points)
    before, after = (points[-1], [points[0], points[1]]) if is_closed else (points[0], [points[-1]])
    padded = [before, *points, *after]
    curve: Points = []
    for (x0, y0), (x1, y1), (x2, y2), (x3, y3) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        curve += [
            (w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3, w0 * y0 + w1 * y1 + w2 * y2 + w3 * y3)
            for w0, w1, w2, w3 in _SPAN_WEIGHTS
        ]
    if not is_closed:
        curve.append(points[-1])
    return curve


def ellipse_points(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    """Return points of an ellipse or of its arc, clockwise from the right.

    Args:
        x: of the center.
        y: of the center.
        rx: horizontal radius.
        ry: vertical radius.
        start: in degrees.
        end: in degrees.

    Returns:
        the points.
    """
    count = max(6, round(abs(end - start) / 15))
    is_closed = abs(end - start) >= 360
    angles = [math.radians(start + (end - start) * i / count) for i in range(count if is_closed else count + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def reflect_x(points: Iterable[Point]) -> Points:
    """Mirror the points left to right and reverse their order: the other half of a symmetric outline.

    Args:
        points: one half.

    Returns:
        the other half.
    """
    return [(-x, y) for x, y in points][::-1]


def symmetric_line(*right_half: Point) -> Points:
    """Return a symmetric line, whose right half is given up to the middle or to a point beside it.

    Args:
        *right_half: points up to the middle or to a point beside it.

    Returns:
        the whole line.
    """
    has_middle_point = right_half[-1][0] == 0
    return [*right_half, *reflect_x(right_half[:-1] if has_middle_point else right_half)]


def place(points: Iterable[Point], x: float, y: float, width: float = 1.0) -> Points:
    """Scale points to the sides, then move them.

    Args:
        points: the points.
        x: where their origin moves to.
        y: where their origin moves to.
        width: factor of their x; a negative one mirrors them.

    Returns:
        the moved points.
    """
    return [(x + width * px, y + py) for px, py in points]
