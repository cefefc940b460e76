"""Putting a face together, layer by layer, and a folder of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from PIL import Image

from vaegan.demo.faces.attributes import BACKGROUNDS, Face
from vaegan.demo.faces.backdrop import draw_backdrop
from vaegan.demo.faces.body import CLOTHES, draw_neck
from vaegan.demo.faces.canvas import Canvas
from vaegan.demo.faces.extras import BEARDS, EARRINGS, GLASSES, draw_frames, draw_lenses
from vaegan.demo.faces.eyes import draw_eyes
from vaegan.demo.faces.features import draw_cheeks, draw_mouth, draw_nose
from vaegan.demo.faces.hair import STYLES
from vaegan.demo.faces.hats import draw_hat
from vaegan.demo.faces.head import Sitter, draw_ears, draw_head
from vaegan.demo.faces.sampling import random_face
from vaegan.utils.files import write_bytes

ATTRIBUTES = "attributes.csv"
"""The table written last: a folder that has it is finished."""


def _frames(face: Face) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """The frames (x, y, unit, degrees) of the body and of the head, which tilts about the neck."""
    short = min(face.width, face.height)
    unit = face.zoom * short
    x, y = face.width / 2 + face.shift_x * short, face.height / 2 + face.shift_y * short
    return (x, y, unit, 0.0), (x + 0.0125 * face.tilt * unit, y, unit, face.tilt)


def draw_face(face: Face) -> Image.Image:
    """Draw `face`: an RGB picture of face.width x face.height pixels, the same bytes for an equal face."""
    canvas = Canvas(face.width, face.height, BACKGROUNDS[face.background_colour][0])
    draw_backdrop(canvas, face.background, face.background_colour)
    canvas.light = -1.0 if face.light == "left" else 1.0
    sitter = Sitter(face, canvas)
    style, parting = STYLES[face.hair], 1.0 if face.parting == "left" else -1.0
    body, head = _frames(face)
    canvas.frame(*head)
    if style.back:
        canvas.flip = parting
        style.back(sitter)
        canvas.flip = 1.0
    canvas.frame(*body)
    draw_neck(sitter)
    CLOTHES[face.clothes](sitter)
    canvas.frame(*head)
    draw_ears(sitter)
    EARRINGS[face.earrings](sitter)
    draw_head(sitter)
    draw_cheeks(sitter)
    under = face.beard in ("stubble", "full", "goatee")
    if under:
        BEARDS[face.beard](sitter)
    draw_mouth(sitter)
    if not under:
        BEARDS[face.beard](sitter)
    draw_nose(sitter)
    glasses = GLASSES[face.glasses]
    draw_lenses(sitter, glasses)
    draw_eyes(sitter)
    draw_frames(sitter, glasses)
    canvas.flip = parting
    style.front(sitter)
    canvas.flip = 1.0
    draw_hat(sitter)
    return canvas.finished()


def draw_faces(out: Path, count: int, seed: int = 0, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write faces 0..count-1 of `seed` to `out` as face-00000.png ..., and last their attributes.csv.

    The same `seed` gives the same files, whatever `count` is; `on_progress(done, count)` follows each face.
    Raises ValueError for a count below 1, and VaeganError when the disk refuses.
    """
    if count < 1:
        raise ValueError(f"count is {count}; at least 1 face is needed")
    table = io.StringIO()
    rows = csv.DictWriter(table, ["file", *(field.name for field in fields(Face))], lineterminator="\n")
    rows.writeheader()
    for index in range(count):
        face = random_face(seed, index)
        name = f"face-{index:05d}.png"
        picture = io.BytesIO()
        draw_face(face).save(picture, "PNG", compress_level=3)
        write_bytes(out / name, picture.getvalue(), durable=False)
        rows.writerow({"file": name, **asdict(face)})
        if on_progress:
            on_progress(index + 1, count)
    write_bytes(out / ATTRIBUTES, table.getvalue().encode())
