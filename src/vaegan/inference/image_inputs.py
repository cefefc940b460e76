"""Images as people have them in Python: paths, Pillow images, arrays and tensors, one or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.image_files import read_images, square_image
from vaegan.data.image_values import ImageValue, iter_pil_images
from vaegan.errors import UsageError
from vaegan.events import EventHandler

ImageInput = Path | str | ImageValue
"""A path of an image, a folder, a .zip file or a dataset; a Pillow image; a tensor or an array of images."""


def read_image_inputs(
    images: ImageInput | Sequence[ImageInput], settings: PreprocessSettings, emit: EventHandler
) -> Tensor:
    """Return images of any kind, cropped and resized as `settings` say.

    Args:
        images: one or a sequence of what `Model.read_images` takes.
        settings: how to crop and resize.
        emit: receives warnings.

    Returns:
        uint8 [N, C, S, S].

    Raises:
        UsageError: if there is no image, or a value is not an image.
        VaeganError: if a file cannot be read.
    """
    inputs: Sequence[Any] = images if isinstance(images, (list, tuple)) else [images]
    batches = [batch for each in inputs for batch in _read(each, settings, emit)]
    if not batches:
        raise UsageError("no images: give a path, a Pillow image, an array or a tensor")
    return torch.cat(batches)


def _read(image: ImageInput, settings: PreprocessSettings, emit: EventHandler) -> Iterator[Tensor]:
    """Yield the images of one input in batches."""
    if isinstance(image, (str, Path)):
        yield from (batch for _, batch in read_images([Path(image)], settings, emit))
    else:
        yield from (square_image(each, settings)[None] for each in iter_pil_images(image))
