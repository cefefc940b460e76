"""Eyes and eyebrows."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.canvas import INK, WHITE, Colour, Points, ellipse, mix, smooth
from vaegan.demo.faces.head import Sitter

EYE_LINE = 0.10
"""Height of the eyes' middle, units."""

Eye = Callable[[Sitter, float, float, float, int], None]
"""Draws an eye at (x, y), `squeeze` (0..1) wide; the last argument is its side, -1 left or 1 right."""


def _ball(sitter: Sitter, white: Points, x: float, y: float, radius: float, reach: float) -> None:
    """Draw an eyeball within the outline `white`, with its iris, pupil and highlight."""
    canvas, face = sitter.canvas, sitter.face
    canvas.fill(white, WHITE)
    ix, iy = x + reach * face.gaze_x, y + reach * 0.8 * face.gaze_y
    canvas.inside(white, ellipse(ix, iy, radius, radius), sitter.iris)
    canvas.inside(white, ellipse(ix, iy, radius * 0.58, radius * 0.58), INK)
    canvas.dot(ix - radius * 0.38, iy - radius * 0.42, radius * 0.36, WHITE)


def _rim(sitter: Sitter) -> Colour:
    """The colour of the lower lid's line: softer than ink, so that bare eyes do not look bespectacled."""
    return mix(sitter.shade, INK, 0.42)


def _lash(sitter: Sitter, x: float, y: float, side: int, length: float = 0.10) -> None:
    """Draw two lashes outwards from the outer corner (x, y), where the face wears lashes."""
    if sitter.face.lashes:
        sitter.canvas.stroke([(x, y), (x + side * length, y - length * 0.75)], width=0.055)
        sitter.canvas.stroke([(x, y + 0.05), (x + side * length, y + 0.05 - length * 0.2)], width=0.05)


def _open(sitter: Sitter, x: float, y: float, rx: float, ry: float, side: int, iris: float) -> None:
    """Draw an oval open eye: thin below, a bold lid above."""
    canvas = sitter.canvas
    white = ellipse(x, y, rx, ry)
    _ball(sitter, white, x, y + 0.01, iris, rx * 0.34)
    canvas.outline(white, _rim(sitter), 0.045)
    canvas.stroke(ellipse(x, y, rx, ry, -176, -4), width=0.09)
    _lash(sitter, x + side * rx * 0.9, y - ry * 0.42, side)


def _round(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size = sitter.face.eye_size
    _open(sitter, x, y, 0.185 * size * squeeze, 0.19 * size, side, 0.128 * size)


def _tall(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size = sitter.face.eye_size
    _open(sitter, x, y, 0.16 * size * squeeze, 0.225 * size, side, 0.135 * size)


def _wide(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size = sitter.face.eye_size
    _open(sitter, x, y, 0.215 * size * squeeze, 0.215 * size, side, 0.125 * size)


def _almond(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size, canvas = sitter.face.eye_size, sitter.canvas
    rx, ry = 0.21 * size * squeeze, 0.145 * size
    inner, outer = (x - side * rx, y + 0.05), (x + side * rx, y - 0.03)
    upper = smooth([inner, (x - side * rx * 0.45, y - ry * 0.82), (x + side * rx * 0.3, y - ry), outer])
    lower = smooth([outer, (x + side * rx * 0.4, y + ry * 0.78), (x - side * rx * 0.3, y + ry * 0.85), inner])
    white = [*upper, *lower]
    _ball(sitter, white, x, y, 0.118 * size, rx * 0.36)
    canvas.stroke(lower, _rim(sitter), 0.045)
    canvas.stroke(upper, width=0.085)
    _lash(sitter, *outer, side)


def _sleepy(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size, canvas = sitter.face.eye_size, sitter.canvas
    rx, ry = 0.19 * size * squeeze, 0.18 * size
    white = ellipse(x, y, rx, ry)
    _ball(sitter, white, x, y + 0.04, 0.115 * size, rx * 0.34)
    lid = ellipse(x, y, rx, ry, -180, 0)
    lid = [*lid, (x + rx, y - 0.02), (x - rx, y - 0.02)]
    canvas.fill(lid, mix(sitter.skin, sitter.shade, 0.6))
    canvas.outline(white, _rim(sitter), 0.045)
    canvas.stroke([(x - rx, y - 0.02), (x + rx, y - 0.02)], width=0.08)
    _lash(sitter, x + side * rx, y, side)


def _dots(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    size, canvas = sitter.face.eye_size, sitter.canvas
    x += 0.03 * sitter.face.gaze_x
    canvas.fill(ellipse(x, y, 0.095 * size * squeeze, 0.135 * size), INK)
    canvas.dot(x - 0.03 * size, y - 0.055 * size, 0.04 * size, WHITE)
    _lash(sitter, x + side * 0.08 * size, y - 0.06 * size, side)


def _happy(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    rx = 0.18 * sitter.face.eye_size * squeeze
    sitter.canvas.stroke(ellipse(x, y + 0.07, rx, 0.17, -172, -8), width=0.09)
    _lash(sitter, x + side * rx, y + 0.02, side)


def _wink(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    winking = -1 if sitter.face.light == "left" else 1
    if side == winking:
        _happy(sitter, x, y, squeeze, side)
    else:
        _round(sitter, x, y, squeeze, side)


EYES: dict[str, Eye] = {
    "round": _round,
    "tall": _tall,
    "wide": _wide,
    "almond": _almond,
    "sleepy": _sleepy,
    "dots": _dots,
    "happy": _happy,
    "wink": _wink,
}
"""Eyes by name."""

BROWS: dict[str, tuple[float, float, float]] = {
    "straight": (0.0, 0.0, 0.0),
    "arched": (0.02, -0.08, 0.04),
    "round": (0.02, -0.05, 0.02),
    "raised": (-0.03, -0.12, -0.05),
}
"""Eyebrows by name: how far the inner end, the middle and the outer end are lowered, units."""


def draw_eyes(sitter: Sitter) -> None:
    """Draw both eyes and both eyebrows."""
    face = sitter.face
    for side in (-1, 1):
        x, y = sitter.along(side * face.eye_gap, EYE_LINE)
        squeeze = 1 - 0.16 * max(0.0, side * sitter.turn)
        EYES[face.eyes](sitter, x, y, squeeze, side)
        _brow(sitter, x, y, squeeze, side)


def _brow(sitter: Sitter, x: float, y: float, squeeze: float, side: int) -> None:
    """Draw an eyebrow over the eye at (x, y), thicker towards the nose."""
    face = sitter.face
    inner, middle, outer = BROWS[face.brows]
    y -= 0.34 if face.eyes in ("tall", "wide") else 0.30
    long = 0.20 * squeeze
    colour = mix(sitter.hair, (66, 34, 40), 0.45)
    line = smooth(
        [
            (x - side * long, y + inner + face.brow_angle),
            (x + side * 0.02, y + middle),
            (x + side * long, y + outer - face.brow_angle * 0.5),
        ]
    )
    thick = face.brow_thickness
    sitter.canvas.stroke(line, colour, thick * 0.75)
    sitter.canvas.stroke(line[: len(line) * 2 // 3], colour, thick)
