"""All hair styles by name."""

from __future__ import annotations

from vaegan.demo.faces.hair_long import LONG_HAIR_STYLES
from vaegan.demo.faces.hair_shapes import HairStyle
from vaegan.demo.faces.hair_short import SHORT_HAIR_STYLES

HAIR_STYLES: dict[str, HairStyle] = SHORT_HAIR_STYLES | LONG_HAIR_STYLES
