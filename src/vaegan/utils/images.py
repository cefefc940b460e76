"""Convert image tensors, arrange them in grids, and write image files."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from vaegan.errors import VaeganError
from vaegan.utils.files import open_regular, write_bytes
from vaegan.utils.video import read_video_comment

if TYPE_CHECKING:  # preprocess writes images without importing torch
    from torch import Tensor

SIGNATURE = "vaegan"
GRID_PADDING = 2
EXIF_SOFTWARE = 0x0131
PNG_COMPRESSION_LEVEL = 3  # faster than zlib's default of 6, and hardly larger on small images


def to_float(images: Tensor) -> Tensor:
    """Convert images to floats.

    Args:
        images: uint8, any shape.

    Returns:
        float32 in [-1, 1], of the same shape.
    """
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Convert float images to uint8.

    Args:
        images: in [-1, 1], any shape; values outside are clamped.

    Returns:
        uint8 in 0..255, of the same shape.
    """
    import torch

    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def from_pil(image: Image.Image) -> Tensor:
    """Convert a Pillow image to a tensor.

    Args:
        image: of mode RGB or L.

    Returns:
        uint8 [C, H, W].
    """
    import torch

    channels = len(image.getbands())
    flat = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return flat.view(image.height, image.width, channels).permute(2, 0, 1).contiguous()


def to_pil(image: Tensor) -> Image.Image:
    """Convert a tensor to a Pillow image.

    Args:
        image: uint8 [C, H, W], C of 1 or 3.

    Returns:
        of mode L or RGB.
    """
    channels, height, width = image.shape
    content = bytes(image.permute(1, 2, 0).contiguous().cpu().flatten().numpy())
    return Image.frombytes("L" if channels == 1 else "RGB", (width, height), content)


def make_grid(images: Tensor, columns: int | None = None, padding: int = GRID_PADDING) -> Tensor:
    """Arrange images in one grid with white padding.

    Same result as torchvision.utils.make_grid, whose import is slow.

    Args:
        images: uint8 [N, C, H, W].
        columns: images per row; None gives a square.
        padding: pixels between images.

    Returns:
        uint8 [C, H', W']; for N = 1 the image without padding.
    """
    count, channels, height, width = images.shape
    if count == 1:
        return images[0].cpu()
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    grid_size = (rows * (height + padding) + padding, columns * (width + padding) + padding)
    grid = images.new_full((channels, *grid_size), 255, device="cpu")
    for index, image in enumerate(images.cpu()):
        row, column = divmod(index, columns)
        y, x = row * (height + padding) + padding, column * (width + padding) + padding
        grid[:, y : y + height, x : x + width] = image
    return grid


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Enlarge images by repeating every pixel in both directions.

    Args:
        images: [..., H, W].
        factor: whole number from 1.

    Returns:
        [..., factor H, factor W].
    """
    return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def valid_unicode(note: str) -> str:
    """Return a note as valid Unicode, as PNG files need it.

    Args:
        note: any text; a path may hold bytes that are not Unicode.

    Returns:
        the text, with such bytes as escapes.
    """
    return note.encode("utf-8", "backslashreplace").decode()


def png_bytes(image: Image.Image, note: str = "", source: str = "") -> bytes:
    """Encode a PNG whose metadata names vaegan as the software.

    Args:
        image: the image.
        note: where it comes from; stored as the comment.
        source: what it was made from, such as the hash of weights; stored as the source.

    Returns:
        the file's bytes.
    """
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", SIGNATURE)
    if note:
        info.add_itxt("Comment", valid_unicode(note))
    if source:
        info.add_text("Source", source)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=PNG_COMPRESSION_LEVEL)
    return buffer.getvalue()


def save_png(image: Tensor, path: Path, note: str = "", durable: bool = True, source: str = "") -> None:
    """Write a PNG atomically.

    Args:
        image: uint8 [C, H, W].
        path: file to replace.
        note: as in `png_bytes`.
        durable: as in `atomic_write`.
        source: as in `png_bytes`.

    Raises:
        VaeganError: if it cannot be written.
    """
    write_bytes(path, png_bytes(to_pil(image), note, source), durable)


def png_source(path: Path) -> str:
    """Return the source in the metadata of an image that vaegan wrote, such as the hash of weights.

    Args:
        path: the image.

    Returns:
        the source; "" if the file is missing, no image or without one.
    """
    try:
        with open_regular(path) as file, Image.open(file) as image:
            return str(image.info.get("Source", "")) if image.info.get("Software") == SIGNATURE else ""
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""


def has_signature(image: Image.Image) -> bool:
    """Return whether the metadata of an open image name vaegan as its software.

    Args:
        image: the image; its pixels are not decoded.

    Returns:
        whether vaegan made it.
    """
    if image.format == "PNG":
        return bool(image.info.get("Software") == SIGNATURE)
    if image.format == "GIF":
        return bytes(image.info.get("comment", b"")).startswith(SIGNATURE.encode())
    return image.format in ("WEBP", "JPEG") and image.getexif().get(EXIF_SOFTWARE) == SIGNATURE


def is_made_by_vaegan(path: Path) -> bool:
    """Return whether vaegan wrote this image or video file, so that it may be overwritten.

    Args:
        path: image or video.

    Returns:
        whether its metadata says so; False if it cannot be read.
    """
    if path.suffix.lower() == ".mp4":
        return read_video_comment(path).startswith(SIGNATURE)
    try:
        with open_regular(path) as file, Image.open(file) as image:
            return has_signature(image)
    except (OSError, UnidentifiedImageError, ValueError, AttributeError, TypeError, Image.DecompressionBombError):
        return False


def check_overwrite(paths: Sequence[Path], force: bool) -> None:
    """Check that no file is overwritten that vaegan did not make.

    Args:
        paths: files to write.
        force: allow it.

    Raises:
        VaeganError: if one of them exists and vaegan did not make it.
    """
    for path in paths:
        if path.exists() and not force and not is_made_by_vaegan(path):
            raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")
