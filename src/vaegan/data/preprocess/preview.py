"""preview.png: a grid of images of the dataset, below it examples of how images were cropped, and of their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from PIL import Image, ImageDraw

from vaegan.data.preprocess.records import Box

GRID_GAP = 2
GRID_IMAGES = 64
CROP_EXAMPLES = 8
LABEL_ROWS = 12
LABEL_EXAMPLES = 6
_LABEL_TEXT_WIDTH = 130
_BOX_COLOR = (255, 0, 80)

CropExample = tuple[Image.Image, tuple[int, int], Box, Image.Image]
"""Thumbnail of the original, its full size in pixels, the crop box in it, and the prepared image."""

LabelExample = tuple[str, list[Image.Image]]
"""A label, and some prepared images that have it."""

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


def draw_dataset_preview(
    images: list[Image.Image], examples: list[CropExample], size: int, labels: Sequence[LabelExample] = ()
) -> Image.Image:
    """Draw the preview.

    Args:
        images: images of the dataset, `size` wide.
        examples: originals and their crops.
        size: side of the images in pixels.
        labels: labels with images that have them.

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
    labels_width = _LABEL_TEXT_WIDTH + LABEL_EXAMPLES * tile if labels else 0
    width = max(columns * tile + GRID_GAP, examples_per_row * example_width if examples else 0, labels_width)
    labels_top = rows * tile + GRID_GAP + (example_rows * tile + 2 * GRID_GAP if examples else 0)
    height = labels_top + (len(labels) * tile + 2 * GRID_GAP if labels else 0)

    preview = Image.new("RGB" if examples else images[0].mode, (width, height), "white")
    for index, image in enumerate(images):
        preview.paste(image, (GRID_GAP + index % columns * tile, GRID_GAP + index // columns * tile))
    for index, example in enumerate(examples):
        left = GRID_GAP + index % examples_per_row * example_width
        top = rows * tile + 3 * GRID_GAP + index // examples_per_row * tile
        _draw_crop_example(preview, example, left, top, size)
    for index, (text, label_images) in enumerate(labels):
        top = labels_top + GRID_GAP + index * tile
        ImageDraw.Draw(preview).text((2 * GRID_GAP, top + size // 3), text[: _LABEL_TEXT_WIDTH // 6], fill="black")
        for column, image in enumerate(label_images):
            preview.paste(image, (_LABEL_TEXT_WIDTH + column * tile, top))
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
