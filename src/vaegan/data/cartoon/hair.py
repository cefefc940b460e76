"""All hair styles."""

from __future__ import annotations

from vaegan.data.cartoon.hair_long import LONG
from vaegan.data.cartoon.hair_shapes import Style
from vaegan.data.cartoon.hair_short import SHORT

STYLES: dict[str, Style] = SHORT | LONG
"""Hair styles by name."""
