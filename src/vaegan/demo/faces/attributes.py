"""What a comic face is made of: its parameters, and the palettes that name their colours."""

from __future__ import annotations

from dataclasses import dataclass

from vaegan.demo.faces.canvas import Color

SKIN_TONES: dict[str, tuple[Color, Color]] = {
    "porcelain": ((255, 226, 207), (240, 190, 170)),
    "rose": ((252, 209, 188), (232, 168, 148)),
    "peach": ((246, 196, 160), (222, 153, 117)),
    "sand": ((234, 184, 137), (205, 143, 99)),
    "honey": ((219, 160, 106), (184, 119, 74)),
    "olive": ((200, 150, 102), (164, 112, 72)),
    "caramel": ((190, 130, 84), (152, 95, 60)),
    "chestnut": ((164, 104, 70), (128, 74, 52)),
    "cocoa": ((138, 86, 60), (104, 60, 46)),
    "ebony": ((116, 74, 58), (84, 50, 44)),
}
"""Skin tones: the lit colour and the shade."""

HAIR_COLORS: dict[str, Color] = {
    "black": (48, 42, 58),
    "espresso": (74, 48, 42),
    "brown": (112, 68, 44),
    "chestnut": (146, 76, 46),
    "auburn": (172, 64, 40),
    "ginger": (232, 118, 44),
    "blond": (244, 196, 92),
    "platinum": (250, 232, 186),
    "grey": (166, 170, 182),
    "white": (238, 238, 244),
    "blue": (60, 128, 220),
    "teal": (32, 172, 164),
    "pink": (248, 120, 168),
    "purple": (136, 84, 198),
    "green": (96, 178, 84),
}
"""Hair colours: natural ones first, then the comic ones."""

NATURAL_HAIR_COLORS = tuple(HAIR_COLORS)[:10]

IRIS_COLORS: dict[str, Color] = {
    "brown": (112, 66, 36),
    "hazel": (150, 106, 44),
    "green": (62, 150, 84),
    "blue": (52, 134, 214),
    "grey": (112, 132, 152),
    "dark": (66, 42, 38),
    "violet": (136, 92, 200),
}
"""Iris colours."""

CLOTHING_COLORS: dict[str, Color] = {
    "red": (222, 66, 66),
    "coral": (250, 124, 96),
    "mustard": (240, 180, 52),
    "green": (62, 158, 104),
    "teal": (30, 148, 156),
    "sky": (96, 176, 232),
    "navy": (52, 74, 132),
    "violet": (132, 98, 196),
    "pink": (244, 142, 174),
    "cream": (248, 236, 212),
    "charcoal": (78, 82, 98),
    "white": (244, 246, 250),
}
"""Colours of clothes, hats and frames."""

BACKGROUND_PALETTES: dict[str, tuple[Color, Color]] = {
    "sky": ((138, 206, 242), (184, 228, 250)),
    "mint": ((146, 222, 190), (190, 240, 214)),
    "lemon": ((255, 220, 104), (255, 236, 158)),
    "coral": ((255, 146, 124), (255, 180, 156)),
    "lilac": ((194, 170, 240), (218, 202, 250)),
    "rose": ((250, 176, 200), (254, 206, 220)),
    "teal": ((52, 160, 168), (92, 190, 192)),
    "indigo": ((88, 104, 190), (120, 138, 216)),
    "cream": ((250, 234, 204), (255, 246, 228)),
    "lime": ((186, 218, 96), (212, 236, 140)),
    "orange": ((255, 172, 76), (255, 200, 120)),
    "night": ((58, 66, 112), (78, 90, 142)),
}
"""Background palettes: the main colour and its companion."""


@dataclass(frozen=True)
class Face:
    """Every attribute of one comic face; two equal faces are drawn as the same picture."""

    width: int
    """Width of the picture, pixels."""
    height: int
    """Height of the picture, pixels."""
    head: str
    """Head shape, a name in `head.HEADS`."""
    head_width: float
    """Width of the head relative to its shape, about 0.95 to 1.05."""
    jaw_width: float
    """Width of the jaw relative to its shape, about 0.92 to 1.08."""
    skin: str
    """Skin tone, a name in `SKINS`."""
    hair: str
    """Hair style, a name in `hair.STYLES`."""
    hair_color: str
    """Colour of hair, brows and beard, a name in `HAIRS`."""
    hair_side: str
    """Side of the hair's parting, tail or sweep: left or right."""
    eyes: str
    """Eye shape, a name in `eyes.EYES`."""
    eye_color: str
    """Iris colour, a name in `IRISES`."""
    eye_size: float
    """Size of the eyes, about 0.9 to 1.15."""
    eye_gap: float
    """Distance of each eye from the middle of the face, units (half head heights)."""
    gaze_x: float
    """Where the eyes look, -1 (left) to 1 (right)."""
    gaze_y: float
    """Where the eyes look, -1 (up) to 1 (down)."""
    has_eyelashes: int
    """1 with eyelashes, 0 without."""
    brows: str
    """Eyebrow shape, a name in `eyes.BROWS`."""
    brow_thickness: float
    """Thickness of the eyebrows, units."""
    brow_angle: float
    """Slant of the eyebrows: negative is worried, positive is cross; about -0.12 to 0.12 units."""
    nose: str
    """Nose, a name in `features.NOSES`."""
    mouth: str
    """Mouth, a name in `features.MOUTHS`."""
    mouth_width: float
    """Width of the mouth, about 0.85 to 1.15."""
    beard: str
    """Beard, a name in `features.BEARDS`."""
    glasses: str
    """Glasses, a name in `extras.GLASSES`."""
    glasses_color: str
    """Colour of the frame, a name in `CLOTHS`."""
    hat: str
    """Hat, a name in `hats.HATS`."""
    hat_color: str
    """Colour of the hat, a name in `CLOTHS`."""
    earrings: str
    """Earrings, a name in `extras.EARRINGS`."""
    cheeks: str
    """Cheeks, a name in `features.CHEEKS`."""
    clothes: str
    """Clothes, a name in `body.CLOTHES`."""
    clothes_color: str
    """Colour of the clothes, a name in `CLOTHS`."""
    background_pattern: str
    """Pattern of the background, a name in `backdrop.BACKDROPS`."""
    background_palette: str
    """Palette of the background, a name in `BACKGROUNDS`."""
    light_side: str
    """Side that the light comes from: left or right."""
    tilt: float
    """Tilt of the head, degrees clockwise, about -7 to 7."""
    turn: float
    """How far the features are shifted, -1 (the face looks left) to 1 (right)."""
    shift_x: float
    """Place of the head off the picture's centre, as a part of its short side."""
    shift_y: float
    """Place of the head below the picture's centre, as a part of its short side."""
    head_scale: float
    """Half the head's height as a part of the picture's short side, about 0.29 to 0.33."""
