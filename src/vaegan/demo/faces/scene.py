"""Putting a face together, layer by layer, and a folder of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from PIL import Image

from vaegan.demo.faces.attributes import BACKGROUND_PALETTES, Face
from vaegan.demo.faces.backdrop import draw_background
from vaegan.demo.faces.body import CLOTHES_STYLES, draw_neck
from vaegan.demo.faces.canvas import Canvas
from vaegan.demo.faces.extras import BEARD_STYLES, EARRING_STYLES, GLASSES_STYLES, draw_glasses_frame, draw_lenses
from vaegan.demo.faces.eyes import draw_eyes
from vaegan.demo.faces.features import draw_cheeks, draw_mouth, draw_nose
from vaegan.demo.faces.hair import HAIR_STYLES
from vaegan.demo.faces.hats import draw_hat
from vaegan.demo.faces.head import FaceDrawing, draw_ears, draw_head
from vaegan.demo.faces.sampling import random_face
from vaegan.utils.files import write_bytes

ATTRIBUTES_FILENAME = "attributes.csv"
"""The table written last: a folder that has it is finished."""


def _body_and_head_frames(face: Face) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """The frames (x, y, unit, degrees) of the body and of the head, which tilts about the neck."""
    short = min(face.width, face.height)
    unit = face.head_scale * short
    x, y = face.width / 2 + face.shift_x * short, face.height / 2 + face.shift_y * short
    return (x, y, unit, 0.0), (x + 0.0125 * face.tilt * unit, y, unit, face.tilt)


def draw_face(face: Face) -> Image.Image:
    """Draw `face`: an RGB picture of face.width x face.height pixels, the same bytes for an equal face."""
    canvas = Canvas(face.width, face.height, BACKGROUND_PALETTES[face.background_palette][0])
    draw_background(canvas, face.background_pattern, face.background_palette)
    canvas.light_sign = -1.0 if face.light_side == "left" else 1.0
    sitter = FaceDrawing(face, canvas)
    style, parting = HAIR_STYLES[face.hair], 1.0 if face.hair_side == "left" else -1.0
    body, head = _body_and_head_frames(face)
    canvas.set_frame(*head)
    if style.draw_back:
        canvas.x_sign = parting
        style.draw_back(sitter)
        canvas.x_sign = 1.0
    canvas.set_frame(*body)
    draw_neck(sitter)
    CLOTHES_STYLES[face.clothes](sitter)
    canvas.set_frame(*head)
    draw_ears(sitter)
    EARRING_STYLES[face.earrings](sitter)
    draw_head(sitter)
    draw_cheeks(sitter)
    under = face.beard in ("stubble", "full", "goatee")
    if under:
        BEARD_STYLES[face.beard](sitter)
    draw_mouth(sitter)
    if not under:
        BEARD_STYLES[face.beard](sitter)
    draw_nose(sitter)
    glasses = GLASSES_STYLES[face.glasses]
    draw_lenses(sitter, glasses)
    draw_eyes(sitter)
    draw_glasses_frame(sitter, glasses)
    canvas.x_sign = parting
    style.draw_front(sitter)
    canvas.x_sign = 1.0
    draw_hat(sitter)
    return canvas.to_image()


def write_faces(
    out_dir: Path, count: int, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> None:
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
        write_bytes(out_dir / name, picture.getvalue(), durable=False)
        rows.writerow({"file": name, **asdict(face)})
        if on_progress:
            on_progress(index + 1, count)
    write_bytes(out_dir / ATTRIBUTES_FILENAME, table.getvalue().encode())
