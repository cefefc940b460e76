"""Short hair, and curls of any length."""

from __future__ import annotations

import math

from vaegan.demo.faces.canvas import Points, ellipse, mix, smooth
from vaegan.demo.faces.hair_shapes import Style, cap, draw_over, draw_strands, even
from vaegan.demo.faces.head import Sitter, draw_shine


def _bald(sitter: Sitter) -> None:
    draw_shine(sitter, 0.0, 0.0, 0.58, 0.74)


def _buzz(sitter: Sitter) -> None:
    line = even((sitter.skull * 0.82, -0.34), (sitter.skull * 0.66, -0.52), (0.3, -0.62), (0.0, -0.62))
    sitter.canvas.shape(
        cap(sitter, 0.03, 0.03, -0.02, line),
        mix(sitter.hair, sitter.skin, 0.22),
        mix(sitter.hair_shade, sitter.shade, 0.2),
        0.12,
    )


def _receding(sitter: Sitter) -> None:
    k = sitter.skull
    line = even((k * 0.90, -0.26), (k * 0.78, -0.50), (k * 0.52, -0.84), (0.22, -0.80), (0.0, -0.72))
    draw_over(sitter, cap(sitter, 0.06, 0.05, 0.04, line), shiny=False)


def _horseshoe(sitter: Sitter) -> None:
    draw_shine(sitter, 0.0, 0.0, 0.50, 0.74)
    for side in (-1, 1):
        wide = sitter.half_width(0.05)
        tuft = smooth(
            [
                (side * (wide - 0.08), 0.10),
                (side * (wide + 0.11), 0.06),
                (side * (wide + 0.15), -0.20),
                (side * (wide + 0.04), -0.46),
                (side * (wide - 0.16), -0.58),
                (side * (wide - 0.10), -0.28),
            ],
            closed=True,
        )
        sitter.hairs(tuft, 0.07)


def _side_part(sitter: Sitter) -> None:
    k = sitter.skull
    line = [
        (k * 0.90, -0.26),
        (k * 0.78, -0.46),
        (0.30, -0.40),
        (-0.10, -0.52),
        (-0.42, -0.78),
        (-0.58, -0.55),
        (-k * 0.90, -0.26),
    ]
    draw_over(sitter, cap(sitter, 0.09, 0.20, 0.04, line))
    draw_strands(
        sitter,
        [(-0.40, -0.80), (-0.36, -0.98), (-0.22, -1.10)],
        [(-0.02, -0.66), (0.28, -0.60), (0.56, -0.66)],
    )


def _quiff(sitter: Sitter) -> None:
    k = sitter.skull
    sides = cap(sitter, 0.05, 0.05, 0.02, even((k * 0.88, -0.3), (k * 0.74, -0.55), (0.0, -0.66)))
    draw_over(sitter, sides, shiny=False)
    top = smooth(
        [
            (-0.62, -0.66),
            (-0.72, -0.98),
            (-0.46, -1.30),
            (0.02, -1.42),
            (0.50, -1.36),
            (0.80, -1.12),
            (0.74, -0.78),
            (0.52, -0.56),
            (0.12, -0.52),
            (-0.28, -0.54),
        ],
        closed=True,
    )
    sitter.hairs(top, 0.15)
    canvas = sitter.canvas
    canvas.stroke(smooth([(-0.46, -0.94), (-0.28, -1.16), (0.06, -1.24)]), sitter.hair_shine, 0.10)
    draw_strands(sitter, [(-0.22, -0.68), (0.16, -0.82), (0.48, -0.98)], [(0.18, -0.62), (0.42, -0.70), (0.58, -0.82)])


def _spikes(sitter: Sitter, start: float, end: float, count: int, base: float, tip: float) -> Points:
    """A row of spikes over the skull, from `start` to `end` degrees, `base` and `tip` above it."""
    points: Points = []
    step = (end - start) / count
    for i in range(count):
        points += sitter.arc(base, base, start + i * step, start + i * step, 1)[:1]
        long = tip * (0.86 + 0.14 * math.cos(2.4 * i))
        points += sitter.arc(long, long, start + (i + 0.5) * step, start + (i + 0.5) * step, 1)[:1]
    return [*points, sitter.arc(base, base, end, end, 1)[0]]


def _spiky(sitter: Sitter) -> None:
    k = sitter.skull
    fringe = [
        (k * 0.98, 0.0),
        (k * 0.88, -0.34),
        (0.52, -0.52),
        (0.40, -0.30),
        (0.20, -0.56),
        (0.02, -0.28),
        (-0.18, -0.56),
        (-0.34, -0.32),
        (-0.54, -0.54),
        (-k * 0.88, -0.34),
        (-k * 0.98, 0.0),
    ]
    points = [*_spikes(sitter, -186, 6, 8, 0.06, 0.38), *fringe]
    draw_over(sitter, points)


def _mohawk(sitter: Sitter) -> None:
    k = sitter.skull
    sides = cap(sitter, 0.02, 0.02, -0.05, even((k * 0.84, -0.34), (k * 0.66, -0.52), (0.0, -0.62)))
    sitter.canvas.shape(sides, mix(sitter.hair, sitter.skin, 0.58), mix(sitter.hair_shade, sitter.shade, 0.55), 0.12)
    crest = [
        (-0.26, -0.66),
        (-0.44, -1.16),
        (-0.24, -1.10),
        (-0.24, -1.46),
        (-0.04, -1.22),
        (0.06, -1.58),
        (0.17, -1.20),
        (0.34, -1.42),
        (0.32, -1.08),
        (0.48, -1.10),
        (0.26, -0.66),
        (0.10, -0.46),
        (-0.08, -0.52),
    ]
    sitter.hairs(crest, 0.14)
    sitter.canvas.stroke([(-0.14, -0.82), (-0.16, -1.06)], sitter.hair_shine, 0.08)


def _ring(
    sitter: Sitter, start: float, end: float, count: int, out: float, radius: float
) -> list[tuple[float, float, float]]:
    """A row of curls over the skull."""
    row = []
    for i, (x, y) in enumerate(sitter.arc(out, out, start, end, abs(end - start) / count)):
        row.append((x, y, radius * (1 + 0.12 * math.sin(2.1 * i + 1))))
    return row


def _curls(sitter: Sitter, curls: list[tuple[float, float, float]], fringe: list[tuple[float, float, float]]) -> None:
    """Draw curls as one mass: outline, fill, a shaded lower side, a few lit arcs."""
    canvas = sitter.canvas
    every = [*curls, *fringe]
    for x, y, radius in fringe:
        canvas.inside(sitter.face_area, ellipse(x - 0.04 * sitter.light, y + 0.11, radius, radius), sitter.shade)
    canvas.blobs(every, sitter.hair)
    dome = [*sitter.arc(0.02, 0.02, -175, -5), *((x, y) for x, y, _ in fringe[::-1])] if fringe else []
    if dome:
        canvas.fill(dome, sitter.hair)
    for x, y, radius in every[::2]:
        canvas.stroke(ellipse(x, y, radius * 0.55, radius * 0.55, 10, 140), sitter.hair_shade, 0.055)
    for x, y, radius in every[1::2]:
        canvas.stroke(ellipse(x, y, radius * 0.5, radius * 0.5, 190, 280), sitter.hair_shine, 0.06)


def _fringe_curls(sitter: Sitter, y: float, radius: float) -> list[tuple[float, float, float]]:
    k, turn = sitter.skull, 0.06 * sitter.turn
    return [
        (turn + part * k, y + 0.16 * part * part, radius * (1 + 0.1 * math.cos(7 * part)))
        for part in (-0.8, -0.45, -0.1, 0.25, 0.58, 0.84)
    ]


def _curly(sitter: Sitter) -> None:
    _curls(sitter, _ring(sitter, -186, 6, 8, 0.04, 0.25), _fringe_curls(sitter, -0.64, 0.20))


def _afro_back(sitter: Sitter) -> None:
    sitter.canvas.blobs([(0.0, -0.36, 1.12), *_ring(sitter, -214, 34, 12, 0.28, 0.30)], sitter.hair)


def _afro(sitter: Sitter) -> None:
    canvas = sitter.canvas
    fringe = _fringe_curls(sitter, -0.72, 0.16)
    for x, y, radius in fringe:
        canvas.inside(sitter.face_area, ellipse(x, y + 0.10, radius, radius), sitter.shade)
    canvas.blobs(fringe, sitter.hair)
    canvas.fill([*sitter.arc(0.12, 0.10, -168, -12), *((x, y - 0.02) for x, y, _ in fringe[::-1])], sitter.hair)
    side = sitter.light
    for x, y, radius in _ring(sitter, -150, -30, 5, 0.16, 0.2):
        lit = x * side > 0.1
        colour = sitter.hair_shine if lit else sitter.hair_shade
        canvas.stroke(ellipse(x, y, radius * 0.6, radius * 0.6, *((170, 290) if lit else (-20, 110))), colour, 0.06)


def _bowl(sitter: Sitter) -> None:
    k = sitter.skull
    line = [(k * 0.86, -0.24), (0.4, -0.28), (0.0, -0.26), (-0.4, -0.28), (-k * 0.86, -0.24)]
    draw_over(sitter, cap(sitter, 0.15, 0.20, 0.06, line))
    draw_strands(
        sitter,
        [(0.16, -0.34), (0.14, -0.50)],
        [(-0.26, -0.36), (-0.25, -0.50)],
        [(0.48, -0.36), (0.44, -0.52)],
    )


def _fringe(sitter: Sitter) -> None:
    k = sitter.skull
    line = [
        (k * 0.93, -0.10),
        (k * 0.80, -0.36),
        (0.42, -0.26),
        (0.34, -0.42),
        (0.08, -0.24),
        (0.0, -0.42),
        (-0.26, -0.25),
        (-0.36, -0.44),
        (-k * 0.72, -0.30),
        (-k * 0.90, -0.10),
    ]
    draw_over(sitter, cap(sitter, 0.10, 0.16, 0.10, line))


SHORT: dict[str, Style] = {
    "bald": Style(_bald, weight=0.6),
    "buzz": Style(_buzz, weight=0.9),
    "receding": Style(_receding, weight=0.5),
    "horseshoe": Style(_horseshoe, weight=0.4, hats=False),
    "side part": Style(_side_part, hats=False, weight=1.3),
    "quiff": Style(_quiff, hats=False),
    "spiky": Style(_spiky, hats=False),
    "mohawk": Style(_mohawk, hats=False, weight=0.5),
    "curly": Style(_curly, length=1, hats=False, weight=1.3),
    "afro": Style(_afro, _afro_back, length=1, hats=False),
    "bowl": Style(_bowl, length=1),
    "fringe": Style(_fringe, length=1, weight=1.2),
}
