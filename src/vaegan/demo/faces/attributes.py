"""The attributes of a comic face, and the named colors that they choose from."""

from __future__ import annotations

from dataclasses import dataclass

from vaegan.demo.faces.canvas import Color

SKIN_TONES: dict[str, tuple[Color, Color]] = {
    "porcelain": ((255, 226, 207), (240, 190, 170)), "rose": ((252, 209, 188), (232, 168, 148)),
    "peach": ((246, 196, 160), (222, 153, 117)), "sand": ((234, 184, 137), (205, 143, 99)),
    "honey": ((219, 160, 106), (184, 119, 74)), "olive": ((200, 150, 102), (164, 112, 72)),
    "caramel": ((190, 130, 84), (152, 95, 60)), "chestnut": ((164, 104, 70), (128, 74, 52)),
    "cocoa": ((138, 86, 60), (104, 60, 46)), "ebony": ((116, 74, 58), (84, 50, 44)),
}  # fmt: skip
"""(base color, shade color) by name."""

HAIR_COLORS: dict[str, Color] = {
    "black": (48, 42, 58), "espresso": (74, 48, 42), "brown": (112, 68, 44),
    "chestnut": (146, 76, 46), "auburn": (172, 64, 40), "ginger": (232, 118, 44),
    "blond": (244, 196, 92), "platinum": (250, 232, 186), "gray": (166, 170, 182),
    "white": (238, 238, 244), "blue": (60, 128, 220), "teal": (32, 172, 164),
    "pink": (248, 120, 168), "purple": (136, 84, 198), "green": (96, 178, 84),
}  # fmt: skip
"""Natural colors first, then dyed ones."""

NATURAL_HAIR_COLORS = tuple(HAIR_COLORS)[:10]

IRIS_COLORS: dict[str, Color] = {
    "brown": (112, 66, 36), "hazel": (150, 106, 44), "green": (62, 150, 84), "blue": (52, 134, 214),
    "gray": (112, 132, 152), "dark": (66, 42, 38), "violet": (136, 92, 200),
}  # fmt: skip

CLOTHING_COLORS: dict[str, Color] = {
    "red": (222, 66, 66), "coral": (250, 124, 96), "mustard": (240, 180, 52), "green": (62, 158, 104),
    "teal": (30, 148, 156), "sky": (96, 176, 232), "navy": (52, 74, 132), "violet": (132, 98, 196),
    "pink": (244, 142, 174), "cream": (248, 236, 212), "charcoal": (78, 82, 98), "white": (244, 246, 250),
}  # fmt: skip
"""Colors of clothes, hats and glasses frames."""

BACKGROUND_PALETTES: dict[str, tuple[Color, Color]] = {
    "sky": ((138, 206, 242), (184, 228, 250)), "mint": ((146, 222, 190), (190, 240, 214)),
    "lemon": ((255, 220, 104), (255, 236, 158)), "coral": ((255, 146, 124), (255, 180, 156)),
    "lilac": ((194, 170, 240), (218, 202, 250)), "rose": ((250, 176, 200), (254, 206, 220)),
    "teal": ((52, 160, 168), (92, 190, 192)), "indigo": ((88, 104, 190), (120, 138, 216)),
    "cream": ((250, 234, 204), (255, 246, 228)), "lime": ((186, 218, 96), (212, 236, 140)),
    "orange": ((255, 172, 76), (255, 200, 120)), "night": ((58, 66, 112), (78, 90, 142)),
}  # fmt: skip
"""(main color, second color) by name."""


@dataclass(frozen=True)
class Face:
    """All attributes of one comic face. Equal faces are drawn as equal images.

    Most lengths are in "units": one unit is half the height of the head.
    """

    width: int  # image width in pixels
    height: int  # image height in pixels
    head: str  # a key of head.HEAD_SHAPES
    head_width: float  # factor on the width of the head shape, about 0.95 to 1.05
    jaw_width: float  # factor on the width of the jaw, about 0.92 to 1.08
    skin: str  # a key of SKIN_TONES
    hair: str  # a key of hair.HAIR_STYLES
    hair_color: str  # a key of HAIR_COLORS: hair, eyebrows and beard
    hair_side: str  # side of the parting, ponytail or sweep: left or right
    eyes: str  # a key of eyes.EYE_STYLES
    eye_color: str  # a key of IRIS_COLORS
    eye_size: float  # factor on the size of the eyes, about 0.9 to 1.15
    eye_gap: float  # distance of each eye from the middle of the face, units
    gaze_x: float  # gaze direction, -1 (left) to 1 (right)
    gaze_y: float  # gaze direction, -1 (up) to 1 (down)
    has_eyelashes: int  # 1 with eyelashes, 0 without
    brows: str  # a key of eyes.EYEBROW_STYLES
    brow_thickness: float  # thickness of the eyebrows, units
    brow_angle: float  # slant of the eyebrows, about -0.12 (worried) to 0.12 (angry) units
    nose: str  # a key of facial_features.NOSE_STYLES
    mouth: str  # a key of facial_features.MOUTH_STYLES
    mouth_width: float  # factor on the width of the mouth, about 0.85 to 1.15
    beard: str  # a key of beards.BEARD_STYLES
    glasses: str  # a key of accessories.GLASSES_STYLES
    glasses_color: str  # a key of CLOTHING_COLORS
    hat: str  # a key of hats.HAT_STYLES
    hat_color: str  # a key of CLOTHING_COLORS
    earrings: str  # a key of accessories.EARRING_STYLES
    cheeks: str  # a key of facial_features.CHEEK_STYLES
    clothes: str  # a key of body.CLOTHES_STYLES
    clothes_color: str  # a key of CLOTHING_COLORS
    background_pattern: str  # a key of background.BACKGROUND_PATTERNS
    background_palette: str  # a key of BACKGROUND_PALETTES
    light_side: str  # side that the light comes from: left or right
    tilt: float  # tilt of the head, degrees clockwise, about -7 to 7
    turn: float  # turn of the head, -1 (looks left) to 1 (looks right)
    shift_x: float  # offset of the head to the right of the image center, as a fraction of the shorter side
    shift_y: float  # offset of the head below the image center, as a fraction of the shorter side
    head_scale: float  # half the height of the head (one unit) as a fraction of the shorter side, about 0.34 to 0.39
