"""Hats, drawn over the hair."""

from __future__ import annotations

from collections.abc import Callable

from vaegan.demo.faces.attributes import CLOTHS
from vaegan.demo.faces.canvas import INK, WHITE, Colour, Points, ellipse, lightness, mix, smooth
from vaegan.demo.faces.head import Sitter, draw_forehead_shadow

Hat = Callable[[Sitter, Colour, Colour, Colour], None]
"""Draws a hat in a colour, its shade and its accent."""


def _no_hat(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    """Nothing to draw."""


def _band(sitter: Sitter, top: float, bottom: float, pad: float, sag: float = 0.09) -> Points:
    """A band around the head from height `top` to `bottom`, sagging in the middle."""
    upper, lower = sitter.half_width(top) + pad, sitter.half_width(bottom) + pad
    turn = 0.05 * sitter.turn
    over = smooth([(-upper, top), (turn, top + sag), (upper, top)])
    return [*over, *smooth([(lower, bottom), (turn, bottom + sag), (-lower, bottom)])]


def _dome(sitter: Sitter, pad: float, lift: float, edge: float, sag: float = 0.08) -> Points:
    """The crown of a hat down to height `edge`."""
    wide = sitter.half_width(edge) + pad
    over = [point for point in sitter.arc(pad, lift, -172, -8) if point[1] < edge - 0.06]
    top = smooth([(-wide, edge), *over, (wide, edge)])
    return [*top, *smooth([(wide, edge), (0.05 * sitter.turn, edge + sag), (-wide, edge)])]


def _beanie(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    cuff = _band(sitter, -0.60, -0.30, 0.13)
    draw_forehead_shadow(sitter, cuff)
    canvas.blobs([(0.0, -1.30, 0.19)], accent)
    canvas.shape(_dome(sitter, 0.10, 0.24, -0.5), cloth, shade, 0.16)
    canvas.shape(cuff, accent, mix(accent, shade, 0.4), 0.14)
    for x in (-0.6, -0.3, 0.0, 0.3, 0.6):
        canvas.stroke(
            [(x, -0.50 + 0.05 * (1 - x * x)), (x * 1.04, -0.30 + 0.05 * (1 - x * x))],
            mix(accent, shade, 0.6),
            0.05,
        )


def _cap(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    to = sitter.turn
    brim = smooth(
        [
            (-0.74 + 0.1 * to, -0.46),
            (-0.66 + 0.16 * to, -0.26),
            (0.22 * to, -0.17),
            (0.66 + 0.16 * to, -0.26),
            (0.74 + 0.1 * to, -0.46),
            (0.18 * to, -0.58),
        ],
        closed=True,
    )
    draw_forehead_shadow(sitter, brim)
    canvas.shape(_dome(sitter, 0.07, 0.20, -0.36, -0.02), cloth, shade, 0.18)
    canvas.stroke(smooth([(0.0, -1.19), (0.12 * to, -0.85), (0.16 * to, -0.55)]), shade, 0.05)
    canvas.dot(0.0, -1.20, 0.075, INK)
    canvas.shape(ellipse(0.14 * to, -0.76, 0.17, 0.17), accent, ink=None)
    canvas.shape(brim, mix(cloth, INK, 0.22), mix(shade, INK, 0.22), 0.08)


def _top_hat(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    dark, darker = mix(cloth, INK, 0.30), mix(shade, INK, 0.45)
    wide = sitter.half_width(-0.5) * 0.92
    brim = ellipse(0.0, -0.56, sitter.skull + 0.30, 0.17)
    draw_forehead_shadow(sitter, brim)
    tube = [
        *smooth([(-wide, -0.56), (-wide - 0.03, -1.0), (-wide - 0.08, -1.36)]),
        *smooth([(wide + 0.08, -1.36), (wide + 0.03, -1.0), (wide, -0.56)]),
    ]
    canvas.shape(brim, dark, darker, 0.08)
    canvas.shape([*tube, *ellipse(0, -0.56, wide, 0.09, 0, 180)], dark, darker, 0.2)
    canvas.shape(
        [(-wide - 0.01, -0.80), (wide + 0.01, -0.80), (wide, -0.56), *ellipse(0, -0.57, wide, 0.09, 0, 180)],
        accent,
        mix(accent, shade, 0.4),
        0.18,
    )


def _headband(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    band = _band(sitter, -0.62, -0.42, 0.07, 0.05)
    canvas.shape(band, cloth, shade, 0.12)
    canvas.inside(band, _band(sitter, -0.54, -0.49, 0.07, 0.05), accent)


def _bow(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    x, y = 0.46, -0.92
    for side in (-1, 1):
        loop = smooth(
            [
                (x, y),
                (x + side * 0.18, y - 0.20),
                (x + side * 0.38, y - 0.20),
                (x + side * 0.36, y + 0.06),
                (x + side * 0.30, y + 0.20),
                (x + side * 0.14, y + 0.14),
            ],
            closed=True,
        )
        canvas.shape(loop, cloth, shade, 0.08)
    canvas.shape(ellipse(x, y, 0.10, 0.12), mix(cloth, WHITE, 0.2))


def _party(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    cone = [*ellipse(0, -0.74, 0.52, 0.12, 180, 0), (0.0, -1.44)]
    draw_forehead_shadow(sitter, [*cone[:-1], (0.5, -0.9), (-0.5, -0.9)])
    canvas.shape(cone, cloth, shade, 0.16)
    for y in (-0.90, -1.13):
        canvas.inside(
            cone,
            smooth(
                [
                    (-0.7, y - 0.02),
                    (0, y + 0.08),
                    (0.7, y - 0.02),
                    (0.7, y + 0.09),
                    (0, y + 0.19),
                    (-0.7, y + 0.09),
                ],
                closed=True,
            ),
            accent,
        )
    canvas.outline(cone)
    canvas.blobs([(0.0, -1.42, 0.13)], accent)


def _bucket(sitter: Sitter, cloth: Colour, shade: Colour, accent: Colour) -> None:
    canvas = sitter.canvas
    wide = sitter.skull
    brim = [
        *smooth([(-wide * 0.94, -0.62), (0.0, -0.56), (wide * 0.94, -0.62)]),
        *smooth(
            [
                (wide + 0.24, -0.30),
                (wide * 0.6, -0.22),
                (0.0, -0.19),
                (-wide * 0.6, -0.22),
                (-wide - 0.24, -0.30),
            ]
        ),
    ]
    draw_forehead_shadow(sitter, brim)
    crown = smooth(
        [
            (-wide * 0.95, -0.55),
            (-wide * 0.84, -0.95),
            (-wide * 0.5, -1.16),
            (0, -1.20),
            (wide * 0.5, -1.16),
            (wide * 0.84, -0.95),
            (wide * 0.95, -0.55),
        ]
    )
    canvas.shape(crown, cloth, shade, 0.18)
    canvas.shape(brim, mix(cloth, WHITE, 0.12), shade, 0.14)


HATS: dict[str, Hat] = {
    "none": _no_hat,
    "cap": _cap,
    "beanie": _beanie,
    "top hat": _top_hat,
    "bucket": _bucket,
    "party": _party,
    "headband": _headband,
    "bow": _bow,
}
"""Hats by name."""

OPEN_HATS = ("none", "headband", "bow")
"""Hats that leave the hair's top free."""


def draw_hat(sitter: Sitter) -> None:
    """Draw the hat."""
    cloth = CLOTHS[sitter.face.hat_colour]
    accent = mix(cloth, WHITE, 0.78) if lightness(cloth) < 0.75 else mix(cloth, (222, 66, 66), 0.8)
    HATS[sitter.face.hat](sitter, cloth, mix(cloth, (44, 20, 70), 0.28), accent)
