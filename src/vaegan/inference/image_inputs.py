"""Images as people have them in Python: paths, Pillow images, arrays and tensors, one or many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.image_files import read_images, square_image
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler
from vaegan.utils.images import to_pil


class Array(Protocol):
    """An array of numpy, or of a library that converts its arrays to those of numpy."""

    def __array__(self) -> Any: ...


ImageInput = Path | str | Image.Image | Tensor | Array
"""A path of an image, a folder, a .zip file or a dataset; a Pillow image; a tensor or an array of images."""
EXPECTED = (
    "expected a path, a Pillow image, an array [H, W, C] or [N, H, W, C], or a tensor [C, H, W] or [N, C, H, W];"
    " uint8, or floats from 0 to 1"
)


def read_image_inputs(
    images: ImageInput | Sequence[ImageInput], settings: PreprocessSettings, emit: EventHandler
) -> Tensor:
    """Return images of any kind as uint8 [N, C, S, S], cropped and resized as `settings` say.

    Raises:
        VaeganError: if there is no image, a file cannot be read, or a value is not an image.
    """
    inputs: Sequence[Any] = images if isinstance(images, (list, tuple)) else [images]
    batches = [batch for each in inputs for batch in _read(each, settings, emit)]
    if not batches:
        raise UsageError("no images: give a path, a Pillow image, an array or a tensor")
    return torch.cat(batches)


def _read(image: Any, settings: PreprocessSettings, emit: EventHandler) -> Iterator[Tensor]:
    """Yield the images of one input in batches."""
    if isinstance(image, (str, Path)):
        yield from (batch for _, batch in read_images([Path(image)], settings, emit))
    elif isinstance(image, Image.Image):
        yield square_image(image, settings)[None]
    elif hasattr(image, "__array__"):
        for chw in _to_chw(image):
            yield square_image(to_pil(chw), settings)[None]
    else:
        raise UsageError(f"{type(image).__name__}: {EXPECTED}")


def _to_chw(image: Any) -> Tensor:
    """Return an array with channels last, or a tensor with channels first, as uint8 [N, C, H, W]."""
    tensor = image.detach().cpu() if isinstance(image, Tensor) else torch.as_tensor(image)
    shape = list(tensor.shape)
    if not isinstance(image, Tensor):
        if tensor.dim() == 2:
            tensor = tensor[..., None]
        if tensor.dim() in (3, 4) and tensor.shape[-1] in (1, 3, 4):
            tensor = tensor.movedim(-1, -3)[..., :3, :, :]  # without transparency
    tensor = tensor[None] if tensor.dim() == 3 else tensor
    if tensor.dim() != 4 or tensor.shape[1] not in (1, 3) or not tensor.numel():
        raise UsageError(f"images of shape {shape}: {EXPECTED}")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point() or not bool(((tensor >= 0) & (tensor <= 1)).all()):
        raise VaeganError(f"images of type {tensor.dtype} from {tensor.min():g} to {tensor.max():g}: {EXPECTED}")
    return tensor.mul(255).round().to(torch.uint8)
