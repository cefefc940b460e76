"""All hair styles."""

from __future__ import annotations

from vaegan.demo.faces.hair_long import LONG
from vaegan.demo.faces.hair_shapes import Style
from vaegan.demo.faces.hair_short import SHORT

STYLES: dict[str, Style] = SHORT | LONG
"""Hair styles by name."""
