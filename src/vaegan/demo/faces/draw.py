"""Draw a face layer by layer, and write a folder of faces."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from PIL import Image

from vaegan.demo.faces.accessories import EARRING_STYLES, GLASSES_STYLES, draw_glasses_frame, draw_lenses
from vaegan.demo.faces.attributes import BACKGROUND_PALETTES, Face
from vaegan.demo.faces.background import draw_background
from vaegan.demo.faces.beards import BEARD_STYLES
from vaegan.demo.faces.body import CLOTHES_STYLES, draw_neck
from vaegan.demo.faces.canvas import Canvas
from vaegan.demo.faces.eyes import draw_eyes
from vaegan.demo.faces.facial_features import draw_cheeks, draw_mouth, draw_nose
from vaegan.demo.faces.hair import HAIR_STYLES
from vaegan.demo.faces.hats import draw_hat
from vaegan.demo.faces.head import FaceDrawing, draw_ears, draw_head
from vaegan.demo.faces.sampling import random_face
from vaegan.utils.files import write_bytes

ATTRIBUTES_FILENAME = "attributes.csv"
"""The table of all attributes. It is written last, so a folder that has it is complete."""

BEARDS_BELOW_MOUTH = ("stubble", "full", "goatee")
"""Beards that are drawn before the mouth."""


def draw_face(face: Face) -> Image.Image:
    """Draw a face. Equal faces give equal pixels.

    Args:
        face: its attributes.

    Returns:
        RGB, face.width x face.height pixels.
    """
    # One unit is half the height of the head. The head tilts around the neck.
    shorter_side = min(face.width, face.height)
    unit = face.head_scale * shorter_side
    x = face.width / 2 + face.shift_x * shorter_side
    y = face.height / 2 + face.shift_y * shorter_side
    body_frame = (x, y, unit, 0.0)
    head_frame = (x + 0.0125 * face.tilt * unit, y, unit, face.tilt)

    canvas = Canvas(face.width, face.height, BACKGROUND_PALETTES[face.background_palette][0])
    canvas.light_sign = -1.0 if face.light_side == "left" else 1.0
    drawing = FaceDrawing(face, canvas)
    hair, hair_x_sign = HAIR_STYLES[face.hair], 1.0 if face.hair_side == "left" else -1.0

    # Behind the head
    draw_background(canvas, face.background_pattern, face.background_palette)
    if hair.draw_back:
        canvas.set_frame(*head_frame)
        canvas.x_sign = hair_x_sign
        hair.draw_back(drawing)
        canvas.x_sign = 1.0
    canvas.set_frame(*body_frame)
    draw_neck(drawing)
    CLOTHES_STYLES[face.clothes](drawing)

    # Head and face
    canvas.set_frame(*head_frame)
    draw_ears(drawing)
    EARRING_STYLES[face.earrings](drawing)
    draw_head(drawing)
    draw_cheeks(drawing)
    if face.beard in BEARDS_BELOW_MOUTH:
        BEARD_STYLES[face.beard](drawing)
    draw_mouth(drawing)
    if face.beard not in BEARDS_BELOW_MOUTH:
        BEARD_STYLES[face.beard](drawing)
    draw_nose(drawing)
    glasses = GLASSES_STYLES[face.glasses]
    draw_lenses(drawing, glasses)
    draw_eyes(drawing)
    draw_glasses_frame(drawing, glasses)

    # In front of the head
    canvas.x_sign = hair_x_sign
    hair.draw_front(drawing)
    canvas.x_sign = 1.0
    draw_hat(drawing)
    return canvas.to_image()


def write_faces(
    out_dir: Path, count: int, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Write faces as face-00000.png, face-00001.png, ... and then their attributes.csv.

    Files of the same names are replaced. The count does not change what the faces look like.

    Args:
        out_dir: folder to write into.
        count: number of faces, at least 1.
        seed: seed of the faces.
        on_progress: called after each face with (number written, count).

    Raises:
        ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; at least 1 face is needed")
    table = io.StringIO()
    writer = csv.DictWriter(table, ["file", *(field.name for field in fields(Face))], lineterminator="\n")
    writer.writeheader()
    for index in range(count):
        face = random_face(seed, index)
        name = f"face-{index:05d}.png"
        png = io.BytesIO()
        draw_face(face).save(png, "PNG", compress_level=3)
        write_bytes(out_dir / name, png.getvalue(), durable=False)
        writer.writerow({"file": name, **asdict(face)})
        if on_progress:
            on_progress(index + 1, count)
    write_bytes(out_dir / ATTRIBUTES_FILENAME, table.getvalue().encode())
