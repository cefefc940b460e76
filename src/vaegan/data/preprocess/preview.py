"""preview.png: a contact sheet of the set, and below it some rectangles with the squares that became of them."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

from vaegan.data.preprocess.records import Box
from vaegan.utils.files import write_bytes
from vaegan.utils.images import png_bytes

GAP = 2
SHOWN = 64
PAIRS = 8
_FRAME = (255, 0, 80)


class Spread:
    """At most `most` items of a stream, evenly spread over it however long it gets, but for its end."""

    def __init__(self, most: int) -> None:
        """Begin with none."""
        self.most, self.step, self.count = most, 1, 0
        self.items: list[object] = []

    def add(self, item: object) -> None:
        """See the next item of the stream."""
        if self.count % self.step == 0:
            if len(self.items) == 2 * self.most:
                self.items, self.step = self.items[::2], self.step * 2
            if self.count % self.step == 0:
                self.items.append(item)
        self.count += 1

    def chosen(self) -> list[object]:
        """Up to `most` of the items seen."""
        return self.items[:: max(1, math.ceil(len(self.items) / self.most))]


Pair = tuple[Image.Image, tuple[int, int], Box, Image.Image]
"""A small picture of the whole, its original size in pixels, the box that was taken, and the square."""


def draw_sheet(squares: list[Image.Image], pairs: list[Pair], size: int) -> Image.Image:
    """The contact sheet, in the squares' mode (RGB where there are pairs)."""
    columns = math.ceil(math.sqrt(len(squares)))
    rows = math.ceil(len(squares) / columns)
    tile = size + GAP
    wide = 3 * size + 2 * GAP + 3 * GAP
    across = max(1, columns * tile // wide)
    height = rows * tile + GAP + (math.ceil(len(pairs) / across) * tile + 2 * GAP if pairs else 0)
    width = max(columns * tile + GAP, across * wide if pairs else 0)
    sheet = Image.new("RGB" if pairs else squares[0].mode, (width, height), "white")
    for number, picture in enumerate(squares):
        sheet.paste(picture, (GAP + number % columns * tile, GAP + number // columns * tile))
    for number, pair in enumerate(pairs):
        left = GAP + number % across * wide
        top = rows * tile + 3 * GAP + number // across * tile
        _draw_pair(sheet, pair, left, top, size)
    return sheet


def _draw_pair(sheet: Image.Image, pair: Pair, left: int, top: int, size: int) -> None:
    """The whole with its box outlined, within 2 x 1 squares, and the square beside it."""
    whole, original, box, square = pair
    x, y = left + (2 * size - whole.width) // 2, top + (size - whole.height) // 2
    sheet.paste(whole, (x, y))
    across, down = whole.width / original[0], whole.height / original[1]
    left_edge, top_edge = x + box[0] * across, y + box[1] * down
    right_edge, bottom_edge = max(left_edge, x + box[2] * across - 1), max(top_edge, y + box[3] * down - 1)
    corners = (left_edge, top_edge, right_edge, bottom_edge)
    ImageDraw.Draw(sheet).rectangle(corners, outline=_FRAME)
    sheet.paste(square, (left + 2 * size + GAP, top))


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """Write the sheet as PNG."""
    write_bytes(path, png_bytes(sheet))
