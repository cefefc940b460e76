"""Long hair and tied hair."""

from __future__ import annotations

from vaegan.demo.faces.canvas import Points, ellipse, mirror, smooth
from vaegan.demo.faces.hair_shapes import Style, cap, draw_over, draw_strands, even
from vaegan.demo.faces.head import Sitter

TIE = (236, 84, 110)
"""Colour of hair ties."""


def _sheet(sitter: Sitter, bottom: float, flare: float, curl: float = 0.0) -> Points:
    """Hair hanging behind the head to height `bottom`, `flare` wider than the skull there."""
    k = sitter.skull
    half = [
        (k + 0.15, -0.1),
        (k + 0.17 + flare * 0.4, bottom * 0.45),
        (k + 0.08 + flare, bottom * 0.82),
        (k + flare - 0.06 - curl, bottom),
    ]
    right = smooth([*sitter.arc(0.14, 0.16, -90, -20), *half, (0.3, bottom + 0.06 - curl * 0.6)])
    return [*right, *mirror(right)]


def _long_back(sitter: Sitter) -> None:
    sitter.hairs(_sheet(sitter, 1.62, 0.06), 0.16)


def _falling(sitter: Sitter, hairline: Points, side: Points, inner: Points) -> Points:
    """The outline of hair over the skull that falls at both sides of the face.

    `hairline` runs from right to left; `side` (outer edge) and `inner` (along the cheek) run downwards.
    """
    turn = 0.07 * sitter.turn
    outer = [*mirror(side), *sitter.arc(0.15, 0.17, -172, -8), *side]
    within = [*inner[::-1], *((x + turn, y) for x, y in hairline), *((-x, y) for x, y in inner)]
    return [*smooth(outer), *smooth(within)]


def _straight_edges(sitter: Sitter) -> tuple[Points, Points]:
    """The outer and inner edges of long straight hair."""
    k = sitter.skull
    side = [(k + 0.17, 0.2), (k + 0.19, 0.75), (k + 0.16, 1.25), (k + 0.04, 1.62)]
    return side, [(k * 0.92, 0.12), (k * 0.93, 0.5), (k * 0.84, 0.9), (k * 0.72, 1.2), (k - 0.16, 1.46)]


def _long(sitter: Sitter) -> None:
    k, part = sitter.skull, -0.08
    line = [(k * 0.78, -0.30), (part + 0.34, -0.60), (part, -0.86), (part - 0.30, -0.60), (-k * 0.78, -0.30)]
    draw_over(sitter, _falling(sitter, line, *_straight_edges(sitter)))
    draw_strands(sitter, [(part, -0.90), (part + 0.01, -1.05)])


def _long_fringe(sitter: Sitter) -> None:
    k = sitter.skull
    line = [(k * 0.86, -0.20), (0.46, -0.28), (0.0, -0.25), (-0.46, -0.28), (-k * 0.86, -0.20)]
    draw_over(sitter, _falling(sitter, line, *_straight_edges(sitter)))
    draw_strands(sitter, [(0.20, -0.33), (0.18, -0.50)], [(-0.22, -0.33), (-0.20, -0.50)])


def _bob_back(sitter: Sitter) -> None:
    sitter.hairs(_sheet(sitter, 0.84, 0.06, 0.10), 0.16)


def _bob(sitter: Sitter) -> None:
    k = sitter.skull
    line = [(k * 0.86, -0.22), (0.30, -0.40), (-0.20, -0.56), (-0.40, -0.80), (-k * 0.74, -0.40)]
    side = [(k + 0.18, 0.15), (k + 0.24, 0.52), (k + 0.14, 0.82), (k - 0.10, 0.86)]
    draw_over(sitter, _falling(sitter, line, side, [(k * 0.94, 0.10), (k * 0.95, 0.40), (k * 0.84, 0.68)]))


def _wavy_back(sitter: Sitter) -> None:
    k = sitter.skull
    half = [
        (k + 0.14, -0.2),
        (k + 0.28, 0.12),
        (k + 0.16, 0.42),
        (k + 0.34, 0.74),
        (k + 0.20, 1.06),
        (k + 0.30, 1.38),
        (k - 0.10, 1.56),
    ]
    right = smooth([*sitter.arc(0.14, 0.16, -90, -26), *half, (0.3, 1.5)])
    sitter.hairs([*right, *mirror(right)], 0.16)


def _wavy(sitter: Sitter) -> None:
    k = sitter.skull
    line = [
        (k * 0.80, -0.28),
        (0.34, -0.44),
        (0.0, -0.62),
        (-0.30, -0.86),
        (-0.50, -0.58),
        (-k * 0.82, -0.28),
    ]
    side = [
        (k + 0.26, 0.10),
        (k + 0.15, 0.42),
        (k + 0.30, 0.74),
        (k + 0.16, 1.06),
        (k + 0.22, 1.34),
        (k - 0.02, 1.56),
    ]
    inner = [
        (k * 0.98, 0.04),
        (k * 0.86, 0.30),
        (k * 0.98, 0.58),
        (k * 0.78, 0.88),
        (k * 0.86, 1.14),
        (k - 0.14, 1.40),
    ]
    draw_over(sitter, _falling(sitter, line, side, inner))
    draw_strands(sitter, [(-0.28, -0.88), (-0.22, -1.06)], [(0.06, -0.72), (0.36, -0.62), (0.62, -0.60)])


def _slick(sitter: Sitter) -> None:
    """Hair combed back tightly from the face."""
    k = sitter.skull
    line = even((k * 0.92, -0.24), (k * 0.74, -0.50), (0.36, -0.68), (0.0, -0.72))
    draw_over(sitter, cap(sitter, 0.06, 0.08, 0.06, line))


def _bun_back(sitter: Sitter) -> None:
    sitter.hairs(ellipse(0.0, -1.18, 0.36, 0.32), 0.12)
    sitter.canvas.stroke(ellipse(0.0, -1.18, 0.20, 0.17, 200, 330), sitter.hair_shine, 0.06)


def _buns_back(sitter: Sitter) -> None:
    for side in (-1, 1):
        sitter.hairs(ellipse(side * 0.66, -0.98, 0.31, 0.30), 0.10)
        sitter.canvas.stroke(ellipse(side * 0.66, -0.98, 0.16, 0.16, 180, 300), sitter.hair_shine, 0.06)


def _ponytail_back(sitter: Sitter) -> None:
    k = sitter.skull
    tail = smooth(
        [
            (0.40, -0.92),
            (k + 0.12, -1.02),
            (k + 0.42, -0.62),
            (k + 0.46, 0.0),
            (k + 0.30, 0.56),
            (k + 0.38, 0.92),
            (k + 0.10, 0.72),
            (k + 0.06, 0.2),
            (k + 0.02, -0.4),
        ],
        closed=True,
    )
    sitter.hairs(tail, 0.12)


def _ponytail(sitter: Sitter) -> None:
    k = sitter.skull
    line = [
        (k * 0.92, -0.22),
        (k * 0.80, -0.44),
        (0.46, -0.40),
        (0.0, -0.54),
        (-0.34, -0.80),
        (-k * 0.72, -0.50),
        (-k * 0.92, -0.22),
    ]
    draw_over(sitter, cap(sitter, 0.07, 0.12, 0.06, line))
    sitter.canvas.shape(smooth([(0.50, -0.98), (0.62, -1.04), (0.74, -0.86), (0.64, -0.78)], closed=True), TIE)


def _pigtails_back(sitter: Sitter) -> None:
    k = sitter.skull
    for side in (-1, 1):
        tail = smooth(
            [
                (side * (k - 0.06), 0.06),
                (side * (k + 0.26), -0.06),
                (side * (k + 0.52), 0.26),
                (side * (k + 0.52), 0.78),
                (side * (k + 0.26), 1.28),
                (side * (k + 0.12), 1.02),
                (side * (k + 0.06), 0.5),
            ],
            closed=True,
        )
        sitter.hairs(tail, 0.12)
        sitter.canvas.stroke(
            smooth([(side * (k + 0.24), 0.22), (side * (k + 0.34), 0.5), (side * (k + 0.30), 0.82)]),
            sitter.hair_shine,
            0.06,
        )
        sitter.canvas.shape(ellipse(side * (k + 0.13), 0.05, 0.11, 0.13), TIE)


def _pigtails(sitter: Sitter) -> None:
    k = sitter.skull
    line = [
        (k * 0.92, -0.1),
        (k * 0.84, -0.28),
        (0.36, -0.34),
        (0.0, -0.31),
        (-0.36, -0.34),
        (-k * 0.84, -0.28),
        (-k * 0.92, -0.1),
    ]
    draw_over(sitter, cap(sitter, 0.08, 0.12, 0.06, line))


LONG: dict[str, Style] = {
    "long": Style(_long, _long_back, length=2, weight=1.2),
    "long fringe": Style(_long_fringe, _long_back, length=2),
    "bob": Style(_bob, _bob_back, length=2, weight=1.3),
    "wavy": Style(_wavy, _wavy_back, length=2, weight=1.3),
    "bun": Style(_slick, _bun_back, length=2, hats=False),
    "space buns": Style(_pigtails, _buns_back, length=2, hats=False, weight=0.6),
    "ponytail": Style(_ponytail, _ponytail_back, length=2, hats=False),
    "pigtails": Style(_pigtails, _pigtails_back, length=2, weight=0.8),
}
