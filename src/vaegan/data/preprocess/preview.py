"""preview.png: a grid of images of the dataset, and below it examples of how images were cropped."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from PIL import Image, ImageDraw

from vaegan.data.preprocess.records import Box

GRID_GAP = 2
GRID_IMAGES = 64
CROP_EXAMPLES = 8
_BOX_COLOR = (255, 0, 80)

CropExample = tuple[Image.Image, tuple[int, int], Box, Image.Image]
"""Thumbnail of the original, its full size in pixels, the crop box in it, and the prepared image."""

T = TypeVar("T")


class EvenSample(Generic[T]):
    """At most `max_items` evenly spaced items of a stream of unknown length.

    Keeps every `stride`-th item. When twice as many as wanted are kept, every second is dropped and the stride doubles.
    """

    def __init__(self, max_items: int) -> None:
        self.max_items, self.stride, self.num_seen = max_items, 1, 0
        self.items: list[T] = []

    def add(self, item: T) -> None:
        """Add the next item of the stream.

        Args:
            item: the item.
        """
        if self.num_seen % self.stride == 0:
            if len(self.items) == 2 * self.max_items:
                self.items, self.stride = self.items[::2], self.stride * 2
            if self.num_seen % self.stride == 0:
                self.items.append(item)
        self.num_seen += 1

    def selected(self) -> list[T]:
        """Return the sample of the items added so far.

        Returns:
            at most `max_items` items, in order.
        """
        return self.items[:: max(1, math.ceil(len(self.items) / self.max_items))]


def draw_dataset_preview(images: list[Image.Image], examples: list[CropExample], size: int) -> Image.Image:
    """Draw the preview.

    Args:
        images: images of the dataset, `size` wide.
        examples: originals and their crops.
        size: side of the images in pixels.

    Returns:
        RGB if there are crop examples, else in the mode of `images`.
    """
    # a grid of tiles, then rows of examples that are three images wide
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    tile = size + GRID_GAP
    example_width = 3 * size + 5 * GRID_GAP
    examples_per_row = max(1, columns * tile // example_width)
    example_rows = math.ceil(len(examples) / examples_per_row)
    width = max(columns * tile + GRID_GAP, examples_per_row * example_width if examples else 0)
    height = rows * tile + GRID_GAP + (example_rows * tile + 2 * GRID_GAP if examples else 0)

    preview = Image.new("RGB" if examples else images[0].mode, (width, height), "white")
    for index, image in enumerate(images):
        preview.paste(image, (GRID_GAP + index % columns * tile, GRID_GAP + index // columns * tile))
    for index, example in enumerate(examples):
        left = GRID_GAP + index % examples_per_row * example_width
        top = rows * tile + 3 * GRID_GAP + index // examples_per_row * tile
        _draw_crop_example(preview, example, left, top, size)
    return preview


def _draw_crop_example(preview: Image.Image, example: CropExample, left: int, top: int, size: int) -> None:
    """Draw the thumbnail with its crop box, in the middle of 2 x 1 tiles, and the prepared image beside it."""
    thumbnail, original_size, box, image = example
    x, y = left + (2 * size - thumbnail.width) // 2, top + (size - thumbnail.height) // 2
    preview.paste(thumbnail, (x, y))
    scale_x, scale_y = thumbnail.width / original_size[0], thumbnail.height / original_size[1]
    box_left, box_top = x + box[0] * scale_x, y + box[1] * scale_y
    box_right, box_bottom = max(box_left, x + box[2] * scale_x - 1), max(box_top, y + box[3] * scale_y - 1)
    ImageDraw.Draw(preview).rectangle((box_left, box_top, box_right, box_bottom), outline=_BOX_COLOR)
    preview.paste(image, (left + 2 * size + GRID_GAP, top))
