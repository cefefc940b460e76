"""Noses, mouths and cheeks."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.canvas import INK, WHITE, Points, ellipse, lightness, mix, smooth
from vaegan.demo.faces.head import Sitter

NOSE_LINE = 0.36
MOUTH_LINE = 0.63
TONGUE = (240, 104, 118)
CAVITY = (112, 26, 48)


def _nose_ink(sitter: Sitter) -> tuple[int, int, int]:
    """A line a little softer than the outlines."""
    return mix(sitter.shade, INK, 0.62)


def _button(sitter: Sitter, x: float, y: float, to: float) -> None:
    sitter.canvas.stroke(ellipse(x, y - 0.03, 0.085, 0.085, 15, 165), _nose_ink(sitter))


def _small(sitter: Sitter, x: float, y: float, to: float) -> None:
    sitter.canvas.fill(ellipse(x, y + 0.01, 0.08, 0.055), mix(sitter.shade, (210, 70, 60), 0.35))


def _pointed(sitter: Sitter, x: float, y: float, to: float) -> None:
    line = smooth([(x + to * 0.01, y - 0.22), (x + to * 0.06, y - 0.08), (x + to * 0.13, y + 0.04)])
    sitter.canvas.fill([*line, (x - to * 0.04, y + 0.06)], mix(sitter.skin, sitter.shade, 0.55))
    sitter.canvas.stroke([*line, (x - to * 0.04, y + 0.07)], _nose_ink(sitter), 0.068)


def _round(sitter: Sitter, x: float, y: float, to: float) -> None:
    ball = ellipse(x, y - 0.02, 0.135, 0.12)
    warm = mix(sitter.skin, (226, 84, 70), 0.20)
    sitter.canvas.shape(ball, warm, mix(sitter.shade, (190, 60, 56), 0.25), 0.06, ink=None)
    sitter.canvas.stroke(
        ellipse(x, y - 0.02, 0.135, 0.12, -35 if to < 0 else -25, 205 if to < 0 else 215),
        _nose_ink(sitter),
        0.062,
    )


def _wide(sitter: Sitter, x: float, y: float, to: float) -> None:
    canvas, ink = sitter.canvas, _nose_ink(sitter)
    canvas.stroke(ellipse(x, y - 0.02, 0.10, 0.075, 20, 160), ink, 0.065)
    for side in (-1, 1):
        canvas.stroke(
            ellipse(x + side * 0.14, y - 0.02, 0.06, 0.07, *((90, 260) if side < 0 else (-80, 90))), ink, 0.06
        )


def _long(sitter: Sitter, x: float, y: float, to: float) -> None:
    line = smooth(
        [
            (x + to * 0.03, y - 0.30),
            (x + to * 0.07, y - 0.12),
            (x + to * 0.10, y),
            (x + to * 0.03, y + 0.075),
            (x - to * 0.09, y + 0.045),
        ]
    )
    sitter.canvas.fill(line, mix(sitter.skin, sitter.shade, 0.55))
    sitter.canvas.stroke(line, _nose_ink(sitter), 0.065)


def _nostrils(sitter: Sitter, x: float, y: float, to: float) -> None:
    for side in (-1, 1):
        sitter.canvas.dot(x + side * 0.065, y + 0.01, 0.04, _nose_ink(sitter))


NOSES: dict[str, Callable[[Sitter, float, float, float], None]] = {
    "button": _button,
    "small": _small,
    "pointed": _pointed,
    "round": _round,
    "wide": _wide,
    "long": _long,
    "nostrils": _nostrils,
}
"""Noses by name; the last argument is the side that they point to, -1 or 1."""


def _lips(sitter: Sitter, points: Points) -> None:
    """Draw a closed mouth's line, over lips where a beard would swallow it."""
    if sitter.face.beard == "full" or lightness(sitter.skin) < 0.40:
        left, right = points[0][0], points[-1][0]
        y = sum(point[1] for point in points) / len(points)
        sitter.canvas.fill(ellipse((left + right) / 2, y + 0.015, (right - left) / 2 + 0.04, 0.095), sitter.lip)
    sitter.canvas.stroke(points, width=0.08)


def _smile(sitter: Sitter, x: float, y: float, w: float) -> None:
    _lips(
        sitter,
        smooth(
            [
                (x - w, y - 0.06),
                (x - w * 0.5, y + 0.04),
                (x, y + 0.07),
                (x + w * 0.5, y + 0.04),
                (x + w, y - 0.06),
            ]
        ),
    )


def _bowl(x: float, y: float, w: float, deep: float) -> Points:
    """The outline of a mouth laughing: a nearly straight top, a round bottom."""
    top = smooth([(x - w, y - 0.08), (x, y - 0.045), (x + w, y - 0.08)])
    return [
        *top,
        *smooth(
            [
                (x + w, y - 0.08),
                (x + w * 0.66, y + deep * 0.72),
                (x, y + deep),
                (x - w * 0.66, y + deep * 0.72),
                (x - w, y - 0.08),
            ]
        ),
    ]


def _laugh(sitter: Sitter, x: float, y: float, w: float) -> None:
    canvas = sitter.canvas
    mouth = _bowl(x, y, w * 1.15, 0.19)
    canvas.fill(mouth, CAVITY)
    canvas.inside(mouth, ellipse(x, y + 0.20, w * 0.72, 0.12), TONGUE)
    canvas.inside(
        mouth,
        [(x - w * 1.2, y - 0.2), (x + w * 1.2, y - 0.2), (x + w * 1.1, y + 0.01), (x - w * 1.1, y + 0.01)],
        WHITE,
    )
    canvas.outline(mouth, width=0.07)


def _grin(sitter: Sitter, x: float, y: float, w: float) -> None:
    canvas = sitter.canvas
    mouth = _bowl(x, y, w * 1.15, 0.13)
    canvas.fill(mouth, WHITE)
    canvas.inside(
        mouth,
        [(x - 0.5, y + 0.005), (x + 0.5, y + 0.005), (x + 0.5, y + 0.035), (x - 0.5, y + 0.035)],
        (188, 184, 204),
    )
    canvas.outline(mouth, width=0.07)


def _flat(sitter: Sitter, x: float, y: float, w: float) -> None:
    _lips(sitter, [(x - w * 0.8, y), (x + w * 0.8, y)])


def _frown(sitter: Sitter, x: float, y: float, w: float) -> None:
    _lips(sitter, smooth([(x - w * 0.85, y + 0.08), (x, y - 0.02), (x + w * 0.85, y + 0.08)]))


def _surprised(sitter: Sitter, x: float, y: float, w: float) -> None:
    mouth = ellipse(x, y + 0.03, w * 0.46, 0.15)
    sitter.canvas.fill(mouth, CAVITY)
    sitter.canvas.inside(mouth, ellipse(x, y + 0.17, w * 0.40, 0.10), TONGUE)
    sitter.canvas.outline(mouth, width=0.07)


def _smirk(sitter: Sitter, x: float, y: float, w: float) -> None:
    to = 1 if sitter.turn >= 0 else -1
    line = smooth([(x - w * 0.8, y + to * 0.04), (x, y + 0.05), (x + w * 0.8, y - to * 0.04)])
    end = line[-1] if to > 0 else line[0]
    line = smooth([(x - to * w * 0.75, y + 0.045), (x, y + 0.05), (x + to * w * 0.65, y - 0.01), (end[0], y - 0.10)])
    _lips(sitter, line if to > 0 else line[::-1])


def _tongue(sitter: Sitter, x: float, y: float, w: float) -> None:
    canvas = sitter.canvas
    out = smooth(
        [
            (x - 0.02, y + 0.03),
            (x - 0.01, y + 0.20),
            (x + 0.085, y + 0.25),
            (x + 0.18, y + 0.19),
            (x + 0.19, y + 0.01),
        ]
    )
    canvas.shape(out, TONGUE)
    _smile(sitter, x, y, w)


def _pout(sitter: Sitter, x: float, y: float, w: float) -> None:
    w *= 0.72
    canvas = sitter.canvas
    lips = smooth(
        [
            (x - w, y + 0.01),
            (x - w * 0.35, y - 0.085),
            (x, y - 0.055),
            (x + w * 0.35, y - 0.085),
            (x + w, y + 0.01),
            (x + w * 0.45, y + 0.115),
            (x - w * 0.45, y + 0.115),
        ],
        closed=True,
    )
    colour = mix(sitter.lip, (214, 40, 70), 0.45)
    canvas.fill(lips, colour)
    canvas.outline(lips, mix(colour, INK, 0.75), 0.055)
    canvas.stroke(smooth([(x - w * 0.9, y + 0.01), (x, y + 0.025), (x + w * 0.9, y + 0.01)]), width=0.05)


def _gritted(sitter: Sitter, x: float, y: float, w: float) -> None:
    canvas = sitter.canvas
    mouth = smooth(
        [
            (x - w, y - 0.06),
            (x, y - 0.08),
            (x + w, y - 0.06),
            (x + w * 1.02, y + 0.08),
            (x, y + 0.11),
            (x - w * 1.02, y + 0.08),
        ],
        closed=True,
    )
    canvas.fill(mouth, WHITE)
    for part in (-0.5, 0.0, 0.5):
        canvas.stroke([(x + part * w, y - 0.07), (x + part * w, y + 0.09)], (150, 146, 170), 0.035)
    canvas.stroke([(x - w, y + 0.01), (x + w, y + 0.01)], (150, 146, 170), 0.035)
    canvas.outline(mouth, width=0.07)


MOUTHS: dict[str, Callable[[Sitter, float, float, float], None]] = {
    "smile": _smile,
    "laugh": _laugh,
    "grin": _grin,
    "flat": _flat,
    "frown": _frown,
    "surprised": _surprised,
    "smirk": _smirk,
    "tongue": _tongue,
    "pout": _pout,
    "gritted": _gritted,
}
"""Mouths by name, drawn at (x, y), reaching about `w` to each side."""


def _no_cheeks(sitter: Sitter, x: float, y: float, side: int) -> None:
    """Plain cheeks."""


def _blush(sitter: Sitter, x: float, y: float, side: int) -> None:
    sitter.canvas.inside(sitter.face_area, ellipse(x, y, 0.15, 0.10), mix(sitter.skin, (236, 66, 84), 0.32), soft=0.03)


def _freckles(sitter: Sitter, x: float, y: float, side: int) -> None:
    for dx, dy in ((-0.10, -0.01), (0.0, -0.05), (0.09, 0.0), (0.01, 0.06)):
        sitter.canvas.dot(x + side * dx, y + dy - 0.02, 0.028, mix(sitter.shade, (120, 56, 30), 0.45))


CHEEKS: dict[str, Callable[[Sitter, float, float, int], None]] = {
    "plain": _no_cheeks,
    "blush": _blush,
    "freckles": _freckles,
}
"""Cheeks by name."""


def draw_cheeks(sitter: Sitter) -> None:
    """Draw both cheeks."""
    for side in (-1, 1):
        x, y = sitter.along(side * (sitter.face.eye_gap + 0.12), 0.42)
        CHEEKS[sitter.face.cheeks](sitter, x, y, side)


def draw_nose(sitter: Sitter) -> None:
    """Draw the nose, pointing where the face turns."""
    x, y = sitter.along(0.02 * sitter.turn, NOSE_LINE)
    NOSES[sitter.face.nose](sitter, x, y, 1.0 if sitter.turn >= 0 else -1.0)


def draw_mouth(sitter: Sitter) -> None:
    """Draw the mouth."""
    x, y = sitter.along(0.0, MOUTH_LINE)
    MOUTHS[sitter.face.mouth](sitter, x, y, 0.295 * sitter.face.mouth_width)
