"""Find the range of gray values in images of more than 8 bits: cameras store 10, 12 or 14 bits in 16-bit files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

BIT_DEPTHS = (8, 10, 12, 14, 16)
_TIFF_BITS_PER_SAMPLE, _TIFF_SAMPLE_FORMAT = 258, 339
_TIFF_UNSIGNED = 1
_TIFF_MIN_MAX_TAGS = ((280, 281), (340, 341))  # MinSampleValue and MaxSampleValue, SMin- and SMaxSampleValue
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_PNG_CHUNKS = 100


@dataclass(frozen=True)
class GrayDepth:
    """What black and white are in an image of 16-bit or 32-bit gray values.

    If the file does not say, `needed_bits` is the smallest bit depth that holds its values, else 0. All images with the
    same `tag_bits` should be read with the same bit depth: what the sBIT chunk of a PNG claims, 32 for values of 32
    bits, or 0.
    """

    low: float
    high: float
    tag_bits: int = 0
    needed_bits: int = 0


def find_gray_depth(image: Image.Image, file: BinaryIO, bits: int) -> GrayDepth | None:
    """Find the range of a loaded image of integer gray values from its tags, or else from its own values.

    Args:
        image: A Pillow image of an integer mode of more than 8 bits.
        file: The file that it was opened from. Its position does not change.
        bits: The bit depth to assume if no tag gives a range; 0 for the smallest that holds the values.

    Returns:
        The range, or None for values that 16 bits do not hold.
    """
    tiff_range = _tiff_range(image)
    if tiff_range is not None:
        return GrayDepth(*tiff_range)
    low, high = map(float, image.convert("I").getextrema())  # type: ignore[arg-type]
    if low < 0 or high >= 2**16:
        return None
    tag_bits = 32 if _has_32_bits(image) else _png_significant_bits(image, file)
    # by the specification of PNG, values are scaled up to 16 bits
    candidates = (tag_bits, 16) if 0 < tag_bits < 16 else BIT_DEPTHS
    needed_bits = next(depth for depth in candidates if high < 2**depth)
    return GrayDepth(0.0, 2.0 ** (bits or needed_bits) - 1, tag_bits, needed_bits)


def restore_unsigned(image: Image.Image) -> Image.Image:
    """Restore unsigned gray values of 32 bits, which Pillow reads as signed ones.

    Args:
        image: A loaded Pillow image of any mode.

    Returns:
        An image of mode F if values of 2^31 and above were read as negative ones, else the image itself.
    """
    tags: Any = getattr(image, "tag_v2", None)
    if image.mode != "I" or tags is None or not _has_32_bits(image):
        return image
    sample_format = _tag_number(tags, _TIFF_SAMPLE_FORMAT)
    low, _ = image.getextrema()
    if sample_format not in (None, _TIFF_UNSIGNED) or low >= 0:  # type: ignore[operator]
        return image
    import numpy as np

    return Image.fromarray(np.asarray(image).view(np.uint32).astype(np.float32))


def _has_32_bits(image: Image.Image) -> bool:
    """Return whether the file has integers of 32 bits. Pillow's mode I also holds those of 16 bits of some formats."""
    if image.mode != "I" or image.format == "PPM":
        return False
    tags: Any = getattr(image, "tag_v2", None)
    return tags is None or _tag_number(tags, _TIFF_BITS_PER_SAMPLE) == 32


def _tiff_range(image: Image.Image) -> tuple[float, float] | None:
    """Return the range that the tags of a TIFF give, or None."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    for tag_low, tag_high in _TIFF_MIN_MAX_TAGS:
        low, high = _tag_number(tags, tag_low), _tag_number(tags, tag_high)
        if high is not None and (low or 0.0) < high:
            return low or 0.0, high
    bits = _tag_number(tags, _TIFF_BITS_PER_SAMPLE)
    return (0.0, 2.0**bits - 1) if bits is not None and 8 < bits < 16 else None


def _tag_number(tags: Any, tag: int) -> float | None:
    value = tags.get(tag)
    value = value[0] if isinstance(value, tuple) and value else value
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def _png_significant_bits(image: Image.Image, file: BinaryIO) -> int:
    """Return the bit depth in a PNG's sBIT chunk if it is below 16, else 0. Pillow does not read this chunk."""
    if image.format != "PNG":
        return 0
    position = file.tell()
    try:
        file.seek(0)
        if file.read(8) != _PNG_SIGNATURE:
            return 0
        for _ in range(_MAX_PNG_CHUNKS):  # sBIT comes before the pixels
            length, kind = int.from_bytes(file.read(4)), file.read(4)
            if kind == b"sBIT" and length:
                bits = file.read(1)[0]
                return bits if 8 <= bits < 16 else 0
            if kind in (b"IDAT", b""):
                return 0
            file.seek(length + 4, 1)
        return 0
    except (OSError, ValueError, IndexError):
        return 0
    finally:
        file.seek(position)
