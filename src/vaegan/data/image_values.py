"""Images as values in Python: Pillow images, arrays and tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vaegan.errors import UsageError
from vaegan.utils.images import to_pil

EXPECTED = (
    "expected a path, a Pillow image, an array [H, W, C] or [N, H, W, C], or a tensor [C, H, W] or [N, C, H, W];"
    " uint8, or floats from 0 to 1"
)


class Array(Protocol):
    """An array of numpy, or of a library that converts its arrays to those of numpy."""

    def __array__(self) -> Any: ...


ImageValue = Image.Image | Tensor | Array


def iter_pil_images(value: Any) -> Iterator[Image.Image]:
    """Yield the images that a value holds as Pillow images.

    Args:
        value: a Pillow image; an array [H, W], [H, W, C] or [N, H, W, C]; a tensor [C, H, W] or [N, C, H, W].
            Arrays and tensors are uint8, or floats from 0 to 1. C is 1 or 3, for arrays also 4: the transparency is
            ignored.

    Yields:
        one Pillow image each; an image of Pillow as it is.

    Raises:
        UsageError: if the value is no image.
    """
    if isinstance(value, Image.Image):
        yield value
    elif hasattr(value, "__array__"):
        yield from map(to_pil, _to_nchw(value))
    else:
        raise UsageError(f"{type(value).__name__}: {EXPECTED}")


def _to_nchw(value: Any) -> Tensor:
    """Return an array with channels last, or a tensor with channels first, as uint8 [N, C, H, W]."""
    is_tensor = isinstance(value, Tensor)
    tensor = value.detach().cpu() if is_tensor else torch.as_tensor(value)
    shape = list(tensor.shape)
    if not is_tensor:
        tensor = tensor[..., None] if tensor.dim() == 2 else tensor
        if tensor.dim() in (3, 4) and tensor.shape[-1] in (1, 3, 4):
            tensor = tensor.movedim(-1, -3)[..., :3, :, :]
    tensor = tensor[None] if tensor.dim() == 3 else tensor
    if tensor.dim() != 4 or tensor.shape[1] not in (1, 3) or not tensor.numel():
        raise UsageError(f"images of shape {shape}: {EXPECTED}")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point() or not bool(((tensor >= 0) & (tensor <= 1)).all()):
        raise UsageError(f"images of type {tensor.dtype} from {tensor.min():g} to {tensor.max():g}: {EXPECTED}")
    return tensor.mul(255).round().to(torch.uint8)
