"""Beards, glasses and earrings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vaegan.demo.faces.attributes import CLOTHS
from vaegan.demo.faces.canvas import INK, WHITE, Colour, Points, ellipse, lightness, mirror, mix, smooth
from vaegan.demo.faces.eyes import EYE_LINE
from vaegan.demo.faces.features import MOUTH_LINE
from vaegan.demo.faces.head import Sitter

GOLD: Colour = (250, 200, 70)
SHADES: Colour = (52, 46, 74)


def _nothing(sitter: Sitter) -> None:
    """Nothing to draw."""


def _beard_outline(sitter: Sitter, pad: float) -> Points:
    """The outline of a full beard, `pad` outside the jaw."""
    turn = 0.10 * sitter.turn
    outer = [(sitter.half_width(0.02) + pad * 0.4, 0.0), *((x + pad, y + pad * 0.6) for x, y in sitter.jaw)]
    around = smooth([*outer, (0.0, 1.0 + pad * 1.6), *mirror(outer)])
    cheek = sitter.half_width(0.3)
    inner = [(sitter.half_width(0.02) - 0.07, 0.0), (cheek - 0.11, 0.24), (cheek - 0.24, 0.44), (0.28, 0.49)]
    left = [(turn - x, y) for x, y in inner]
    right = [(turn + x, y) for x, y in inner[::-1]]
    return [*around, *smooth([*left, (turn, 0.46), *right])]


def _full(sitter: Sitter) -> None:
    sitter.hairs(_beard_outline(sitter, 0.07), 0.14)


def _stubble(sitter: Sitter) -> None:
    colour = mix(sitter.skin, (64, 48, 66), 0.30)
    canvas = sitter.canvas
    canvas.inside(sitter.face_area, _beard_outline(sitter, 0.05), colour, soft=0.025)


def _moustache(sitter: Sitter) -> None:
    x, y = sitter.along(0.0, MOUTH_LINE - 0.12)
    half = [
        (0.0, y - 0.055),
        (0.14, y - 0.075),
        (0.29, y + 0.0),
        (0.43, y - 0.03),
        (0.36, y + 0.10),
        (0.18, y + 0.115),
        (0.0, y + 0.06),
    ]
    ring = smooth([*half, *mirror(half[1:-1])], closed=True)
    sitter.hairs([(px + x, py) for px, py in ring], 0.06)


def _goatee(sitter: Sitter) -> None:
    x, _ = sitter.along(0.0, 0.0)
    half = [(0.0, 0.80), (0.15, 0.78), (0.24, 0.85), (0.21, 0.99), (0.11, 1.12), (0.0, 1.16)]
    ring = smooth([*half, *mirror(half[1:-1])], closed=True)
    sitter.hairs([(px + x * 0.7, py) for px, py in ring], 0.08)


def _van_dyke(sitter: Sitter) -> None:
    _goatee(sitter)
    _moustache(sitter)


BEARDS: dict[str, Callable[[Sitter], None]] = {
    "none": _nothing,
    "stubble": _stubble,
    "moustache": _moustache,
    "goatee": _goatee,
    "van dyke": _van_dyke,
    "full": _full,
}
"""Beards by name."""


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses: the outline of a lens at (x, y), `squeeze` (0..1) wide, and whether it is dark."""

    lens: Callable[[float, float, float], Points] | None
    dark: bool = False


def _lenses(sitter: Sitter, glasses: Glasses) -> list[tuple[float, float, Points]]:
    """The middle and the outline of each lens."""
    if glasses.lens is None:
        return []
    found = []
    for side in (-1, 1):
        x, y = sitter.along(side * max(sitter.face.eye_gap, 0.34), EYE_LINE + 0.02)
        found.append((x, y, glasses.lens(x, y, 1 - 0.10 * max(0.0, side * sitter.turn))))
    return found


def draw_lenses(sitter: Sitter, glasses: Glasses) -> None:
    """Draw the glass of clear glasses, which lies behind the eyes."""
    for _, _, outline in _lenses(sitter, glasses):
        sitter.canvas.fill(outline, mix(sitter.skin, WHITE, 0.38))


def draw_frames(sitter: Sitter, glasses: Glasses) -> None:
    """Draw the frame of the glasses, and the glass of sunglasses, in front of the eyes."""
    canvas, lenses = sitter.canvas, _lenses(sitter, glasses)
    if not lenses:
        return
    frame = CLOTHS[sitter.face.glasses_colour]
    frame = mix(frame, INK, 0.75 if glasses.dark else 0.40) if lightness(sitter.skin) > 0.5 else mix(frame, WHITE, 0.15)
    for side, (x, y, _) in zip((-1, 1), lenses, strict=True):
        end = side * (sitter.half_width(0.05) - 0.01)
        canvas.stroke([(x + side * 0.26, y - 0.05), (end, y - 0.07)], frame, 0.07)
    bridge = [
        (lenses[0][0] + 0.22, EYE_LINE),
        (sitter.along(0, 0)[0], EYE_LINE - 0.05),
        (lenses[1][0] - 0.22, EYE_LINE),
    ]
    canvas.stroke(smooth(bridge), frame, 0.08)
    for x, y, outline in lenses:
        if glasses.dark:
            canvas.fill(outline, SHADES)
            shine = [(x - 0.20, y + 0.20), (x - 0.02, y - 0.24), (x + 0.09, y - 0.24), (x - 0.09, y + 0.20)]
            canvas.inside(outline, shine, mix(SHADES, WHITE, 0.34))
        canvas.outline(outline, frame, 0.085)


def _round_lens(x: float, y: float, squeeze: float) -> Points:
    return ellipse(x, y, 0.285 * squeeze, 0.275)


def _square_lens(x: float, y: float, squeeze: float) -> Points:
    w = 0.285 * squeeze
    return smooth(
        [
            (x - w, y - 0.16),
            (x - w * 0.8, y - 0.225),
            (x + w * 0.8, y - 0.225),
            (x + w, y - 0.16),
            (x + w * 0.97, y + 0.14),
            (x + w * 0.76, y + 0.215),
            (x - w * 0.76, y + 0.215),
            (x - w * 0.97, y + 0.14),
        ],
        closed=True,
    )


def _dark_lens(x: float, y: float, squeeze: float) -> Points:
    w = 0.30 * squeeze
    return smooth(
        [
            (x - w, y - 0.19),
            (x, y - 0.225),
            (x + w, y - 0.19),
            (x + w * 0.84, y + 0.14),
            (x, y + 0.23),
            (x - w * 0.84, y + 0.14),
        ],
        closed=True,
    )


GLASSES: dict[str, Glasses] = {
    "none": Glasses(None),
    "round": Glasses(_round_lens),
    "square": Glasses(_square_lens),
    "sunglasses": Glasses(_dark_lens, dark=True),
}
"""Glasses by name."""


def _lobes(sitter: Sitter) -> list[tuple[float, float]]:
    """Where the two ear lobes are."""
    wide = sitter.half_width(0.3) + 0.06
    return [(side * wide - 0.07 * sitter.turn, 0.36) for side in (-1, 1)]


def _studs(sitter: Sitter) -> None:
    for x, y in _lobes(sitter):
        sitter.canvas.dot(x, y - 0.02, 0.085, INK)
        sitter.canvas.dot(x, y - 0.02, 0.052, GOLD)


def _hoops(sitter: Sitter) -> None:
    for x, y in _lobes(sitter):
        sitter.canvas.outline(ellipse(x, y + 0.11, 0.105, 0.125), INK, 0.11)
        sitter.canvas.outline(ellipse(x, y + 0.11, 0.105, 0.125), GOLD, 0.05)


EARRINGS: dict[str, Callable[[Sitter], None]] = {"none": _nothing, "studs": _studs, "hoops": _hoops}
"""Earrings by name."""
