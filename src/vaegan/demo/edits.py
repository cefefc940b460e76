"""edits.png of the demo: some faces, each with attributes turned on and off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vaegan.data.dataset import PreparedDataset
from vaegan.errors import UsageError
from vaegan.events import EventHandler, FileWritten, Note
from vaegan.inference.attributes import AttributeSet
from vaegan.inference.edit import edit_until_visible, parse_changes
from vaegan.inference.model import Model
from vaegan.inference.sample import provenance_note
from vaegan.utils.files import write_bytes
from vaegan.utils.images import enlarge, make_grid, png_bytes, to_pil

EDITS = {
    "glasses": ("yes", "no"),
    "beard": ("full", "no"),
    "hat": ("cap", "no"),
    "hair_color": ("pink", "black"),
    "mouth": ("laugh", "pout"),
}
"""Attributes of the demo's faces, and the values that they get in the upper and in the lower row of each face."""
HELD = ("skin", "background_palette")
"""Attributes that the edits shall not change."""
NUM_FACES = 4
SCALE = 2
HEADER_HEIGHT = 16
GRID_PADDING = 2


def save_edits(model: Model, dataset: PreparedDataset, path: Path, emit: EventHandler) -> Path | None:
    """Write a sheet of validation images with their reconstructions and edits.

    Args:
        model: a model with attributes.
        dataset: the dataset of the images.
        path: the PNG to write.
        emit: receives the file, or a note if the attributes cannot be told in a model that was trained so briefly.

    Returns:
        `path`, or None if nothing was written.
    """
    attributes = model.attributes
    edits = {name: values for name, values in EDITS.items() if _is_offered(attributes, {name: values[0]})}
    if not edits:
        emit(Note("No edits are shown: the training was too short for its latents to tell attributes"))
        return None
    _, val = dataset.open_memmap()
    images = val[:NUM_FACES]
    latents = model.encode(images)
    rows = [_edited_rows(model, attributes, latents, edits, side) for side in (0, 1)]  # [2][faces, edits, C, S, S]
    originals, reconstructions = images[:, None], model.decode(latents)[:, None]
    blank = torch.full_like(originals, 255)
    upper = torch.cat([originals, reconstructions, rows[0]], 1)
    lower = torch.cat([blank, blank, rows[1]], 1)
    columns = upper.shape[1]
    sheet = enlarge(make_grid(torch.stack([upper, lower], 1).flatten(0, 2), columns, GRID_PADDING), SCALE)
    # " = " as typed after --set: Pillow's small font draws the colon of "hat: cap" into the t
    captions = ["face", "reconstruction", *(f"{name} = {on} / {off}" for name, (on, off) in edits.items())]
    note = provenance_note(model, "edits of validation images")
    write_bytes(path, png_bytes(_with_captions(to_pil(sheet), captions), note))
    emit(FileWritten("edits", path))
    return path


def _is_offered(attributes: AttributeSet, values: Mapping[str, str]) -> bool:
    try:
        parse_changes(attributes, values)
    except UsageError:
        return False
    return True


def _edited_rows(
    model: Model, attributes: AttributeSet, latents: Tensor, edits: Mapping[str, tuple[str, str]], side: int
) -> Tensor:
    """Return the images of one row per face: each edit with its upper (0) or lower (1) value."""
    images: list[Tensor] = []
    hold = [name for name in HELD if name in attributes.names()]
    for name, values in edits.items():
        value = {name: values[side]}
        changes = parse_changes(attributes, value if _is_offered(attributes, value) else {name: values[0]})
        strength = 1.0 if _is_offered(attributes, value) else 0.0
        images.append(model.decode(edit_until_visible(model, attributes, latents, changes, hold, strength)))
    return torch.stack(images, 1)


def _with_captions(sheet: Image.Image, captions: list[str]) -> Image.Image:
    """Return the sheet with a caption above each of its columns."""
    captioned = Image.new("RGB", (sheet.width, sheet.height + HEADER_HEIGHT), "white")
    captioned.paste(sheet, (0, HEADER_HEIGHT))
    draw, width = ImageDraw.Draw(captioned), (sheet.width - SCALE * GRID_PADDING) / len(captions)
    for column, text in enumerate(captions):
        draw.text((SCALE * GRID_PADDING + column * width, 3), text, fill="black")
    return captioned
