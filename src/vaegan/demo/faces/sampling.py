"""Sample the random attributes of a face. Some are correlated, which makes the faces plausible."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from vaegan.demo.faces.accessories import EARRING_STYLES, GLASSES_STYLES
from vaegan.demo.faces.attributes import (
    BACKGROUND_PALETTES,
    CLOTHING_COLORS,
    HAIR_COLORS,
    IRIS_COLORS,
    NATURAL_HAIR_COLORS,
    SKIN_TONES,
    Face,
)
from vaegan.demo.faces.background import BACKGROUND_PATTERNS
from vaegan.demo.faces.beards import BEARD_STYLES
from vaegan.demo.faces.body import CLOTHES_STYLES
from vaegan.demo.faces.canvas import Color, luma
from vaegan.demo.faces.eyes import EYEBROW_STYLES
from vaegan.demo.faces.facial_features import CHEEK_STYLES, MOUTH_STYLES, NOSE_STYLES
from vaegan.demo.faces.hair import HAIR_STYLES
from vaegan.demo.faces.hair_shapes import HairLength
from vaegan.demo.faces.hats import HAT_STYLES, OPEN_HAT_STYLES
from vaegan.demo.faces.head import HEAD_SHAPES

DARK_SKIN_LUMA = 0.58
"""Faces with darker skin have dark hair and dark eyes more often."""

EYE_WEIGHTS = {"round": 6, "tall": 4, "wide": 2, "almond": 6, "sleepy": 2, "dots": 3, "happy": 1.5, "wink": 0.8}
MOUTH_WEIGHTS = {"smile": 5, "laugh": 4, "grin": 3}
HAT_WEIGHTS = {"none": 30, "cap": 2.2, "beanie": 2.4, "top hat": 1, "bucket": 1.2, "party": 0.7}


def _weighted_choice(rng: Random, weights: Mapping[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _choose_name(rng: Random, names: Mapping[str, Any], weights: Mapping[str, float] | None = None) -> str:
    """Choose a key of `names`. A key without a weight has the weight 1."""
    return _weighted_choice(rng, {name: (weights or {}).get(name, 1.0) for name in names})


def _color_distance(a: Color, b: Color) -> float:
    """Return the difference of two colors in brightness and RGB values, about 0 to 1."""
    return abs(luma(a) - luma(b)) + sum(abs(x - y) for x, y in zip(a, b, strict=True)) / 1530


def _choose_contrasting_color(
    rng: Random, colors: Mapping[str, Color], *others: Color, min_distance: float = 0.2
) -> str:
    """Choose a color that differs from all `others` by `min_distance`, or any color if there is none."""
    distances = {name: min(_color_distance(color, other) for other in others) for name, color in colors.items()}
    return rng.choice([name for name, distance in distances.items() if distance >= min_distance] or list(colors))


def _choose_hair_color(rng: Random, skin: str, hair: str) -> str:
    """Choose a natural hair color, usually dark with dark skin, or sometimes a dyed one."""
    if rng.random() < 0.15 and hair not in ("bald", "horseshoe", "receding"):
        return rng.choice([name for name in HAIR_COLORS if name not in NATURAL_HAIR_COLORS])
    weights = {"black": 5, "espresso": 4, "brown": 3, "gray": 0.8, "white": 0.6}
    if luma(SKIN_TONES[skin][0]) < DARK_SKIN_LUMA:
        weights |= {name: 0.12 for name in NATURAL_HAIR_COLORS if name not in weights}
    return _weighted_choice(rng, {name: weights.get(name, 1.6) for name in NATURAL_HAIR_COLORS})


def _choose_hat(rng: Random, hair: str) -> str:
    """Choose a hat that can be drawn over the hair style."""
    style = HAIR_STYLES[hair]
    hats = [name for name in HAT_STYLES if style.fits_hats or name in OPEN_HAT_STYLES]
    weights = {name: HAT_WEIGHTS.get(name, 1.0) for name in hats}
    if style.fits_hats:
        weights["none"] *= 0.45
    if style.length == HairLength.SHORT:
        weights["bow"] = 0.04
    if hair in ("bald", "buzz", "horseshoe", "mohawk"):
        weights["headband"], weights["bow"] = 0.3, 0.02
    return _weighted_choice(rng, weights)


def _random_person(rng: Random, is_masculine: bool) -> dict[str, Any]:
    """Sample head, skin, hair and beard."""
    length_weights = (1.0, 1.0, 0.10) if is_masculine else (0.12, 1.0, 1.0)  # short, medium, long
    hair_weights = {name: style.weight * length_weights[style.length] for name, style in HAIR_STYLES.items()}
    hair = _weighted_choice(rng, hair_weights)
    skin = rng.choice(list(SKIN_TONES))
    may_have_beard = is_masculine and HAIR_STYLES[hair].length < HairLength.LONG
    head_weights = {"square": 1.6, "heart": 0.5} if is_masculine else {"square": 0.3, "heart": 1.4}
    return {
        "head": _choose_name(rng, HEAD_SHAPES, head_weights | {"oval": 1.6, "pear": 0.7}),
        "head_width": round(rng.uniform(0.95, 1.05), 3),
        "jaw_width": round(rng.uniform(0.93, 1.06), 3),
        "skin": skin,
        "hair": hair,
        "hair_color": _choose_hair_color(rng, skin, hair),
        "hair_side": rng.choice(("left", "right")),
        "beard": _choose_name(rng, BEARD_STYLES, {"none": 5.0, "full": 1.4}) if may_have_beard else "none",
    }


def _random_features(rng: Random, is_masculine: bool, skin: Color) -> dict[str, Any]:
    """Sample eyes, eyebrows, nose, mouth and cheeks."""
    is_dark = luma(skin) < DARK_SKIN_LUMA
    mouth = _choose_name(rng, MOUTH_STYLES, MOUTH_WEIGHTS | {"pout": 0.15 if is_masculine else 1.6})
    eye_color_weights = {"brown": 5, "dark": 4} if is_dark else {"brown": 2, "violet": 0.4}
    brow_angle = rng.gauss(0.0, 0.04)
    if mouth in ("frown", "gritted"):
        brow_angle += rng.choice((-0.07, 0.07))
    return {
        "eyes": _weighted_choice(rng, EYE_WEIGHTS | ({"dots": 0.0} if luma(skin) < 0.45 else {})),
        "eye_color": _choose_name(rng, IRIS_COLORS, eye_color_weights),
        "eye_size": round(rng.uniform(0.92, 1.14), 3),
        "eye_gap": round(rng.uniform(0.31, 0.36), 3),
        "gaze_x": round(rng.triangular(-1, 1, 0), 2),
        "gaze_y": round(rng.triangular(-0.8, 0.8, 0), 2),
        "has_eyelashes": int(rng.random() < (0.03 if is_masculine else 0.75)),
        "brows": rng.choice(list(EYEBROW_STYLES)),
        "brow_thickness": round(rng.uniform(0.09, 0.135) if is_masculine else rng.uniform(0.06, 0.10), 3),
        "brow_angle": round(max(-0.11, min(0.11, brow_angle)), 3),
        "nose": rng.choice(list(NOSE_STYLES)),
        "mouth": mouth,
        "mouth_width": round(rng.uniform(0.88, 1.16), 3),
        "cheeks": _choose_name(rng, CHEEK_STYLES, {"plain": 4, "blush": 2.5, "freckles": 0.4 if is_dark else 1.3}),
    }


def _random_clothes(rng: Random, is_masculine: bool, skin: Color, hair: str, hair_color: Color) -> dict[str, Any]:
    """Sample clothes, hat, glasses, earrings and background, in contrasting colors."""
    head_colors = [skin] if hair in ("bald", "horseshoe", "buzz") else [skin, hair_color]
    backgrounds = {name: colors[0] for name, colors in BACKGROUND_PALETTES.items()}
    palette = _choose_contrasting_color(rng, backgrounds, *head_colors)
    background = backgrounds[palette]
    hair_on_clothes = [hair_color] if HAIR_STYLES[hair].length == HairLength.LONG else []
    return {
        "glasses": _choose_name(rng, GLASSES_STYLES, {"none": 14, "round": 2.6, "square": 2.2, "sunglasses": 1.2}),
        "glasses_color": _choose_contrasting_color(rng, CLOTHING_COLORS, skin, min_distance=0.25),
        "hat": _choose_hat(rng, hair),
        "hat_color": _choose_contrasting_color(rng, CLOTHING_COLORS, hair_color, background, min_distance=0.22),
        "earrings": _choose_name(rng, EARRING_STYLES, {"none": 12, "hoops": 0.4} if is_masculine else {}),
        "clothes": rng.choice(list(CLOTHES_STYLES)),
        "clothes_color": _choose_contrasting_color(rng, CLOTHING_COLORS, skin, background, *hair_on_clothes),
        "background_pattern": _choose_name(rng, BACKGROUND_PATTERNS, {"flat": 2}),
        "background_palette": palette,
    }


def _random_pose(rng: Random) -> dict[str, Any]:
    """Sample the image size, the light, and the position and rotation of the head."""
    width, height = sorted((rng.randint(96, 140), rng.randint(112, 176)))
    if rng.random() < 0.15:  # landscape
        width, height = height, width
    return {
        "width": width,
        "height": height,
        "light_side": rng.choice(("left", "right")),
        "tilt": round(max(-7.0, min(7.0, rng.gauss(0, 3))), 2),
        "turn": round(rng.triangular(-1, 1, 0), 3),
        "shift_x": round(rng.uniform(-0.025, 0.025), 4),
        "shift_y": round(rng.uniform(-0.01, 0.02), 4),
        "head_scale": round(rng.uniform(0.345, 0.385), 4),
    }


def random_face(seed: int, index: int) -> Face:
    """Return one face of an endless series.

    Args:
        seed: seed of the series.
        index: number of the face, from 0.

    Returns:
        its attributes.
    """
    rng = Random(f"comic face {seed}/{index}")
    is_masculine = rng.random() < 0.5
    person = _random_person(rng, is_masculine)
    skin, hair_color = SKIN_TONES[person["skin"]][0], HAIR_COLORS[person["hair_color"]]
    features = _random_features(rng, is_masculine, skin)
    clothes = _random_clothes(rng, is_masculine, skin, person["hair"], hair_color)
    return Face(**person, **features, **clothes, **_random_pose(rng))
