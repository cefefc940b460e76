"""Drawing lots: the random attributes of a face, with the correlations that make faces plausible."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from vaegan.demo.faces.attributes import BACKGROUNDS, CLOTHS, HAIRS, IRISES, NATURAL_HAIRS, SKINS, Face
from vaegan.demo.faces.backdrop import BACKDROPS
from vaegan.demo.faces.body import CLOTHES
from vaegan.demo.faces.canvas import Colour, lightness
from vaegan.demo.faces.extras import BEARDS, EARRINGS, GLASSES
from vaegan.demo.faces.eyes import BROWS
from vaegan.demo.faces.features import CHEEKS, MOUTHS, NOSES
from vaegan.demo.faces.hair import STYLES
from vaegan.demo.faces.hats import HATS, OPEN_HATS
from vaegan.demo.faces.head import HEADS

DARK = 0.58
"""Skins darker than this have dark hair and eyes more often."""

EYE_WEIGHTS = {
    "round": 6,
    "tall": 4,
    "wide": 2,
    "almond": 6,
    "sleepy": 2,
    "dots": 3,
    "happy": 1.5,
    "wink": 0.8,
}
MOUTH_WEIGHTS = {"smile": 5, "laugh": 4, "grin": 3}
HAT_WEIGHTS = {"none": 30, "cap": 2.2, "beanie": 2.4, "top hat": 1, "bucket": 1.2, "party": 0.7}


def _weighted(lots: Random, weights: Mapping[str, float]) -> str:
    """Return one of the names, as often as its weight says."""
    return lots.choices(list(weights), list(weights.values()))[0]


def _pick(lots: Random, names: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> str:
    """Return one of the names of a table; `weights` may name some, the others weigh 1."""
    return _weighted(lots, {name: (weights or {}).get(name, 1.0) for name in names})


def _unlike(a: Colour, b: Colour) -> float:
    """Return how different two colours look, roughly 0 to 1."""
    return abs(lightness(a) - lightness(b)) + sum(abs(x - y) for x, y in zip(a, b, strict=True)) / 1530


def _apart(lots: Random, colours: Mapping[str, Colour], *others: Colour, least: float = 0.2) -> str:
    """Return the name of a colour that stands out from the `others`."""
    clear = [name for name, colour in colours.items() if min(_unlike(colour, other) for other in others) >= least]
    return lots.choice(clear or list(colours))


def _hair_colour(lots: Random, skin: str, hair: str) -> str:
    """Return a hair colour: natural mostly, dark with dark skin, sometimes dyed."""
    if lots.random() < 0.15 and hair not in ("bald", "horseshoe", "receding"):
        return lots.choice([name for name in HAIRS if name not in NATURAL_HAIRS])
    dark = lightness(SKINS[skin][0]) < DARK
    weights = {"black": 5, "espresso": 4, "brown": 3, "grey": 0.8, "white": 0.6}
    if dark:
        weights |= {name: 0.12 for name in NATURAL_HAIRS if name not in weights}
    return _weighted(lots, {name: weights.get(name, 1.6) for name in NATURAL_HAIRS})


def _hat(lots: Random, hair: str) -> str:
    """Return a hat that fits the hair style."""
    style = STYLES[hair]
    fits = {name: 1.0 for name in HATS if style.hats or name in OPEN_HATS}
    weights = {name: HAT_WEIGHTS.get(name, 1.0) for name in fits}
    if style.hats:
        weights["none"] *= 0.45
    if style.length == 0:
        weights["bow"] = 0.04
    if hair in ("bald", "buzz", "horseshoe", "mohawk"):
        weights["headband"], weights["bow"] = 0.3, 0.02
    return _weighted(lots, weights)


def _size(lots: Random) -> tuple[int, int]:
    """Return a width and height in pixels: mostly portrait, some landscape."""
    short, long = lots.randint(96, 140), lots.randint(112, 176)
    short, long = min(short, long), max(short, long)
    return (long, short) if lots.random() < 0.15 else (short, long)


def _person(lots: Random, manly: bool) -> dict[str, Any]:
    """Draw lots for who it is: head, skin, hair, beard."""
    likely = (1.0, 1.0, 0.10) if manly else (0.12, 1.0, 1.0)
    hair = _weighted(lots, {name: style.weight * likely[style.length] for name, style in STYLES.items()})
    skin = lots.choice(list(SKINS))
    bearded = manly and STYLES[hair].length < 2
    head_weights = {"square": 1.6 if manly else 0.3, "heart": 0.5 if manly else 1.4, "oval": 1.6, "pear": 0.7}
    return {
        "head": _pick(lots, HEADS, head_weights),
        "breadth": round(lots.uniform(0.95, 1.05), 3),
        "jaw": round(lots.uniform(0.93, 1.06), 3),
        "skin": skin,
        "hair": hair,
        "hair_colour": _hair_colour(lots, skin, hair),
        "parting": lots.choice(("left", "right")),
        "beard": _pick(lots, BEARDS, {"none": 5.0, "full": 1.4}) if bearded else "none",
    }


def _features(lots: Random, manly: bool, skin: Colour) -> dict[str, Any]:
    """Draw lots for eyes, brows, nose, mouth, cheeks."""
    dark = lightness(skin) < DARK
    mouth = _pick(lots, MOUTHS, MOUTH_WEIGHTS | {"pout": 0.15 if manly else 1.6})
    cross = lots.gauss(0.0, 0.04)
    if mouth in ("frown", "gritted"):
        cross += lots.choice((-0.07, 0.07))
    return {
        "eyes": _weighted(lots, EYE_WEIGHTS | ({"dots": 0.0} if lightness(skin) < 0.45 else {})),
        "eye_colour": _pick(lots, IRISES, {"brown": 5, "dark": 4} if dark else {"brown": 2, "violet": 0.4}),
        "eye_size": round(lots.uniform(0.92, 1.14), 3),
        "eye_gap": round(lots.uniform(0.31, 0.36), 3),
        "gaze_x": round(lots.triangular(-1, 1, 0), 2),
        "gaze_y": round(lots.triangular(-0.8, 0.8, 0), 2),
        "lashes": int(lots.random() < (0.03 if manly else 0.75)),
        "brows": lots.choice(list(BROWS)),
        "brow_thickness": round(lots.uniform(0.09, 0.135) if manly else lots.uniform(0.06, 0.10), 3),
        "brow_angle": round(max(-0.11, min(0.11, cross)), 3),
        "nose": lots.choice(list(NOSES)),
        "mouth": mouth,
        "mouth_width": round(lots.uniform(0.88, 1.16), 3),
        "cheeks": _pick(lots, CHEEKS, {"plain": 4, "blush": 2.5, "freckles": 0.4 if dark else 1.3}),
    }


def _dress(lots: Random, manly: bool, skin: Colour, hair: str, hair_colour: Colour) -> dict[str, Any]:
    """Draw lots for clothes, hat, glasses, earrings and background, in colours that stand out."""
    visible = [skin] if hair in ("bald", "horseshoe", "buzz") else [skin, hair_colour]
    palette = _apart(lots, {name: pair[0] for name, pair in BACKGROUNDS.items()}, *visible)
    behind = BACKGROUNDS[palette][0]
    falling = [hair_colour] if STYLES[hair].length == 2 else []
    return {
        "glasses": _pick(lots, GLASSES, {"none": 14, "round": 2.6, "square": 2.2, "sunglasses": 1.2}),
        "glasses_colour": _apart(lots, CLOTHS, skin, least=0.25),
        "hat": _hat(lots, hair),
        "hat_colour": _apart(lots, CLOTHS, hair_colour, behind, least=0.22),
        "earrings": _pick(lots, EARRINGS, {"none": 12, "hoops": 0.4} if manly else {}),
        "clothes": lots.choice(list(CLOTHES)),
        "clothes_colour": _apart(lots, CLOTHS, skin, behind, *falling),
        "background": _pick(lots, BACKDROPS, {"flat": 2}),
        "background_colour": palette,
    }


def _pose(lots: Random) -> dict[str, Any]:
    """Draw lots for the picture's size, the light and where the head is."""
    width, height = _size(lots)
    return {
        "width": width,
        "height": height,
        "light": lots.choice(("left", "right")),
        "tilt": round(max(-7.0, min(7.0, lots.gauss(0, 3))), 2),
        "turn": round(lots.triangular(-1, 1, 0), 3),
        "shift_x": round(lots.uniform(-0.025, 0.025), 4),
        "shift_y": round(lots.uniform(-0.01, 0.02), 4),
        "zoom": round(lots.uniform(0.345, 0.385), 4),
    }


def random_face(seed: int, index: int) -> Face:
    """Return face `index` of the endless series `seed`; it depends on these two numbers alone."""
    lots = Random(f"comic face {seed}/{index}")
    manly = lots.random() < 0.5
    person = _person(lots, manly)
    skin, hair_colour = SKINS[person["skin"]][0], HAIRS[person["hair_colour"]]
    features = _features(lots, manly, skin)
    dress = _dress(lots, manly, skin, person["hair"], hair_colour)
    return Face(**person, **features, **dress, **_pose(lots))
