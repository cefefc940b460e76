"""preview.png: a contact sheet of the set, and below it some rectangles with the squares that became of them."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

from vaegan.data.preprocess.records import Box
from vaegan.utils.files import write_bytes
from vaegan.utils.images import png_bytes

SHEET_GAP = 2
SHEET_IMAGES = 64
SHEET_EXAMPLES = 8
_BOX_COLOR = (255, 0, 80)


class EvenSample:
    """At most `most` items of a stream, evenly spread over it however long it gets, but for its end."""

    def __init__(self, max_items: int) -> None:
        """Begin with none."""
        self.max_items, self.stride, self.num_seen = max_items, 1, 0
        self.items: list[object] = []

    def add(self, item: object) -> None:
        """See the next item of the stream."""
        if self.num_seen % self.stride == 0:
            if len(self.items) == 2 * self.max_items:
                self.items, self.stride = self.items[::2], self.stride * 2
            if self.num_seen % self.stride == 0:
                self.items.append(item)
        self.num_seen += 1

    def selected(self) -> list[object]:
        """Up to `most` of the items seen."""
        return self.items[:: max(1, math.ceil(len(self.items) / self.max_items))]


CropExample = tuple[Image.Image, tuple[int, int], Box, Image.Image]
"""A small picture of the whole, its original size in pixels, the box that was taken, and the square."""


def draw_dataset_preview(images: list[Image.Image], examples: list[CropExample], size: int) -> Image.Image:
    """The contact sheet, in the squares' mode (RGB where there are pairs)."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    tile = size + SHEET_GAP
    wide = 3 * size + 2 * SHEET_GAP + 3 * SHEET_GAP
    across = max(1, columns * tile // wide)
    height = rows * tile + SHEET_GAP + (math.ceil(len(examples) / across) * tile + 2 * SHEET_GAP if examples else 0)
    width = max(columns * tile + SHEET_GAP, across * wide if examples else 0)
    sheet = Image.new("RGB" if examples else images[0].mode, (width, height), "white")
    for number, picture in enumerate(images):
        sheet.paste(picture, (SHEET_GAP + number % columns * tile, SHEET_GAP + number // columns * tile))
    for number, pair in enumerate(examples):
        left = SHEET_GAP + number % across * wide
        top = rows * tile + 3 * SHEET_GAP + number // across * tile
        _draw_crop_example(sheet, pair, left, top, size)
    return sheet


def _draw_crop_example(sheet: Image.Image, example: CropExample, left: int, top: int, size: int) -> None:
    """The whole with its box outlined, within 2 x 1 squares, and the square beside it."""
    whole, original, box, square = example
    x, y = left + (2 * size - whole.width) // 2, top + (size - whole.height) // 2
    sheet.paste(whole, (x, y))
    across, down = whole.width / original[0], whole.height / original[1]
    left_edge, top_edge = x + box[0] * across, y + box[1] * down
    right_edge, bottom_edge = max(left_edge, x + box[2] * across - 1), max(top_edge, y + box[3] * down - 1)
    corners = (left_edge, top_edge, right_edge, bottom_edge)
    ImageDraw.Draw(sheet).rectangle(corners, outline=_BOX_COLOR)
    sheet.paste(square, (left + 2 * size + SHEET_GAP, top))


def write_dataset_preview(sheet: Image.Image, path: Path) -> None:
    """Write the sheet as PNG."""
    write_bytes(path, png_bytes(sheet))
