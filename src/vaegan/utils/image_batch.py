"""Tensors of images that can show and save themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vaegan.errors import VaeganError
from vaegan.utils.images import check_overwrite, enlarge, make_grid, png_bytes, save_png, to_pil

MIN_SHEET_SIDE = 512
"""Sheets in a notebook are enlarged to at least about this many pixels."""


class ImageBatch(Tensor):
    """A tensor of images, uint8 [N, C, H, W] or one image [C, H, W], that shows itself in a notebook.

    It is an ordinary tensor. What is computed from it is an `ImageBatch` too as long as it holds such images.
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        if isinstance(result, ImageBatch) and not _holds_images(result):
            return result.as_subclass(Tensor)  # type: ignore[arg-type]
        return result

    def to_pil(self, columns: int | None = None, scale: int = 1) -> Image.Image:
        """Return one image as it is, or several as a sheet.

        Args:
            columns: images in a row of the sheet; by default the sheet is about square.
            scale: whole number by which the images are enlarged.

        Returns:
            the image or the sheet.
        """
        return to_pil(self._sheet(columns, scale))

    def save(self, path: Path | str, columns: int | None = None, scale: int = 1, force: bool = False) -> Path:
        """Write one image, or several as a sheet, to a PNG file.

        Args:
            path: the file; its name ends with .png.
            columns: as in `to_pil`.
            scale: as in `to_pil`.
            force: allow to replace a file that vaegan did not make.

        Returns:
            the path.

        Raises:
            VaeganError: if the path has another ending, cannot be written, or is a file that vaegan did not make and
                `force` is not given.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise VaeganError(f"{path}: a sheet is a .png file; for other formats: images.to_pil().save(path)")
        if path.is_dir():
            raise VaeganError(f"{path} is a folder: name a .png file")
        check_overwrite([path], force)
        save_png(self._sheet(columns, scale), path)
        return path

    def _sheet(self, columns: int | None, scale: int) -> Tensor:
        images = self.as_subclass(Tensor)  # type: ignore[arg-type]
        if not _holds_images(images):
            raise VaeganError(f"a tensor of shape {list(images.shape)} and type {images.dtype} holds no images")
        return enlarge(make_grid(images if images.dim() == 4 else images[None], columns), scale)

    def _repr_png_(self) -> bytes | None:
        """Return the sheet that a notebook shows, or None for a tensor without images."""
        if not _holds_images(self):
            return None
        sheet = self._sheet(None, 1)
        return png_bytes(to_pil(enlarge(sheet, max(1, round(MIN_SHEET_SIDE / max(sheet.shape[1:]))))))

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        if not _holds_images(self):
            return repr(self.as_subclass(Tensor))  # type: ignore[arg-type]
        count = len(self) if self.dim() == 4 else 1
        channels, height, width = self.shape[-3:]
        return f"<ImageBatch: {count} image{'s' * (count != 1)} of {width}x{height} pixels, {channels} channels, uint8>"


def as_image_batch(images: Tensor) -> ImageBatch:
    """Return a tensor of images as an `ImageBatch` that shares its memory.

    Args:
        images: uint8 [N, C, H, W].

    Returns:
        the same images.
    """
    return images.as_subclass(ImageBatch)


def _holds_images(tensor: Tensor) -> bool:
    has_images = tensor.dim() in (3, 4) and tensor.shape[-3] in (1, 3) and tensor.numel() > 0
    return has_images and tensor.dtype == torch.uint8
