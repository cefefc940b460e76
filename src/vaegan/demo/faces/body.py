"""Neck, shoulders and clothes, in a frame that does not tilt with the head."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.attributes import CLOTHS
from vaegan.demo.faces.canvas import INK, WHITE, Colour, Points, ellipse, lightness, mirror, mix, smooth
from vaegan.demo.faces.head import Sitter

NECK = 0.30
"""Half the neck's width, units."""


def _colours(sitter: Sitter) -> tuple[Colour, Colour, Colour]:
    """The cloth's colour, its shade, and an accent that shows on it."""
    cloth = CLOTHS[sitter.face.clothes_colour]
    accent = mix(cloth, WHITE, 0.72) if lightness(cloth) < 0.75 else mix(cloth, (70, 100, 160), 0.55)
    return cloth, mix(cloth, (44, 20, 70), 0.26), accent


def _torso(collar: float) -> Points:
    """The outline of shoulders and chest below a neck opening `collar` units wide to each side."""
    right = smooth([(collar, 1.20), (0.72, 1.27), (1.08, 1.42), (1.28, 1.76), (1.36, 2.6), (1.36, 4.2)])
    return [*right, *mirror(right)]


def draw_neck(sitter: Sitter) -> None:
    """Draw the neck, with the chin's shadow on it."""
    canvas = sitter.canvas
    side = smooth([(NECK, 0.5), (NECK - 0.02, 1.05), (NECK + 0.10, 1.36)])
    neck = [*side, (0.0, 1.75), *mirror(side)]
    canvas.shape(neck, sitter.skin, ink=None)
    shadow = ellipse(0.05 * sitter.turn - 0.10 * sitter.light, 0.86, 0.62, 0.42)
    canvas.inside(neck, shadow, sitter.shade)
    for line in (side, mirror(side)):
        canvas.stroke(line)


def _shirt(sitter: Sitter, opening: Points) -> Points:
    """Draw the cloth of a shirt with a neck opening (right to left), and return its outline."""
    cloth, shade, _ = _colours(sitter)
    torso = _torso(0.42)
    half = len(torso) // 2
    outline = [*torso[:half], *torso[half:], *reversed(opening)]
    sitter.canvas.shape(outline, cloth, shade, 0.22)
    return outline


def _round_opening(depth: float) -> Points:
    """A round neckline from right to left."""
    return ellipse(0, 1.22, 0.42, depth, 0, 180)


def _t_shirt(sitter: Sitter) -> None:
    _shirt(sitter, _round_opening(0.26))
    _, shade, _ = _colours(sitter)
    sitter.canvas.stroke(ellipse(0, 1.22, 0.53, 0.37, 8, 172), shade, 0.06)


def _v_neck(sitter: Sitter) -> None:
    _, _, accent = _colours(sitter)
    _shirt(sitter, [(0.42, 1.22), (0.0, 1.68), (-0.42, 1.22)])
    sitter.canvas.stroke([(0.53, 1.28), (0.0, 1.84), (-0.53, 1.28)], accent, 0.07)


def _striped(sitter: Sitter) -> None:
    _, _, accent = _colours(sitter)
    canvas = sitter.canvas
    outline = _shirt(sitter, _round_opening(0.24))
    for y in (1.60, 1.92, 2.24, 2.56):
        canvas.inside(outline, [(-2, y), (0, y + 0.05), (2, y), (2, y + 0.15), (0, y + 0.2), (-2, y + 0.15)], accent)
    canvas.outline(outline)
    canvas.shape([*ellipse(0, 1.22, 0.42, 0.24, 0, 180), *ellipse(0, 1.20, 0.54, 0.40, 180, 0)], accent)


def _collar(sitter: Sitter) -> None:
    _, shade, accent = _colours(sitter)
    canvas = sitter.canvas
    _shirt(sitter, [(0.42, 1.22), (0.0, 1.62), (-0.42, 1.22)])
    canvas.stroke([(0.0, 1.62), (0.0, 3.0)], shade, 0.06)
    for y in (1.80, 2.14, 2.48):
        canvas.dot(0.0, y, 0.05, INK)
    for side in (-1, 1):
        canvas.shape([(side * 0.36, 1.06), (0.0, 1.58), (side * 0.34, 1.74), (side * 0.56, 1.26)], accent)


def _hoodie(sitter: Sitter) -> None:
    cloth, shade, accent = _colours(sitter)
    canvas = sitter.canvas
    _shirt(sitter, _round_opening(0.34))
    for side in (-1, 1):
        roll = smooth(
            [
                (side * 0.34, 1.02),
                (side * 0.62, 1.08),
                (side * 0.70, 1.34),
                (side * 0.36, 1.66),
                (0.0, 1.74),
                (0.0, 1.56),
                (side * 0.28, 1.44),
                (side * 0.38, 1.24),
            ],
            closed=True,
        )
        canvas.shape(roll, cloth, shade, 0.07)
        canvas.stroke([(side * 0.17, 1.70), (side * 0.19, 2.02)], accent, 0.07)


def _turtleneck(sitter: Sitter) -> None:
    cloth, shade, _ = _colours(sitter)
    _shirt(sitter, [(0.42, 1.22), (-0.42, 1.22)])
    roll = smooth(
        [
            (-0.36, 0.98),
            (0.0, 1.08),
            (0.36, 0.98),
            (0.43, 1.16),
            (0.40, 1.34),
            (0.0, 1.44),
            (-0.40, 1.34),
            (-0.43, 1.16),
        ],
        closed=True,
    )
    sitter.canvas.shape(roll, cloth, shade, 0.12)
    sitter.canvas.stroke(smooth([(-0.30, 1.20), (0.0, 1.27), (0.30, 1.20)]), shade, 0.05)


def _jacket(sitter: Sitter) -> None:
    cloth, shade, accent = _colours(sitter)
    canvas = sitter.canvas
    inner = [(0.42, 1.22), (0.30, 4.0), (-0.30, 4.0), (-0.42, 1.22)]
    canvas.shape([*ellipse(0, 1.22, 0.44, 0.22, 180, 0), (0.62, 4.0), (-0.62, 4.0)], accent)
    _shirt(sitter, inner)
    for side in (-1, 1):
        lapel = [
            (side * 0.40, 1.12),
            (side * 0.30, 2.02),
            (side * 0.72, 1.72),
            (side * 0.62, 1.60),
            (side * 0.74, 1.48),
        ]
        canvas.shape(lapel, mix(cloth, shade, 0.35))


CLOTHES: dict[str, Callable[[Sitter], None]] = {
    "t-shirt": _t_shirt,
    "v-neck": _v_neck,
    "striped": _striped,
    "collar": _collar,
    "hoodie": _hoodie,
    "turtleneck": _turtleneck,
    "jacket": _jacket,
}
"""Clothes by name."""
