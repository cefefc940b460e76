"""From the bytes of a picture in any format and mode to upright frames that can be squared."""

from __future__ import annotations

import functools
import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageCms, ImageColor, UnidentifiedImageError

from vaegan.data.preprocess.file_reader import SkipFile
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE, NOT_AN_IMAGE, TOO_LARGE

REFUSED_FORMATS = frozenset({"EPS", "WMF", "MPEG", "HDF5", "BUFR", "GRIB"})
"""Formats that Pillow only names, or hands to another program: never opened."""
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
"""Formats that Pillow knows without loading its forty other plugins."""
DECODE_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, AttributeError, RuntimeError, ArithmeticError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for damaged files, beside MemoryError and its own."""
DRAFT_SCALE = 2
"""JPEGs are decoded at 1/2, 1/4 or 1/8 where that leaves at least so many pixels for each one wanted."""
_HIGH_BIT_DEPTH_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_OUTPUT_MODES = ("RGB", "L", "CMYK")
_Transpose = Image.Transpose
_EXIF_TRANSPOSES = {
    2: _Transpose.FLIP_LEFT_RIGHT, 3: _Transpose.ROTATE_180, 4: _Transpose.FLIP_TOP_BOTTOM, 5: _Transpose.TRANSPOSE,
    6: _Transpose.ROTATE_270, 7: _Transpose.TRANSVERSE, 8: _Transpose.ROTATE_90,
}  # fmt: skip
_AXIS_SWAPPING_TRANSPOSES = (_Transpose.TRANSPOSE, _Transpose.ROTATE_270, _Transpose.TRANSVERSE, _Transpose.ROTATE_90)


@dataclass(frozen=True)
class DecodedFrame:
    """One frame: the upright picture as decoded, of mode RGB, L or CMYK, and its true size in pixels.

    profile: the ICC profile that its colours are still in, b"" where they are sRGB. It is applied to the small
    square: thousands of times fewer pixels, the same colours.
    """

    index: int
    image: Image.Image
    original_size: tuple[int, int]
    icc_profile: bytes


@functools.cache
def _all_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(sorted(set(Image.OPEN) - REFUSED_FORMATS))


@functools.cache
def parse_color(text: str) -> tuple[int, int, int]:
    """Read --background: a name or #rrggbb. Raises ValueError."""
    colour = ImageColor.getrgb(text)
    return colour[0], colour[1], colour[2]


def open_image(file: BinaryIO) -> Image.Image:
    """Recognise a picture by its content. Raises Skipped when it is none."""
    for formats in (lambda: COMMON_FORMATS, _all_formats):
        try:
            file.seek(0)
            return Image.open(file, formats=formats())
        except UnidentifiedImageError:
            continue
        except Image.DecompressionBombError as error:
            raise SkipFile(TOO_LARGE, str(error)) from error
    raise SkipFile(NOT_AN_IMAGE)


def decode_frames(
    file: BinaryIO,
    target_size: int,
    all_frames: bool,
    first_frame: int,
    background: tuple[int, int, int],
    max_pixels: int,
) -> Iterator[DecodedFrame]:
    """Yield the first frame, or with `every` all of them from `start` on.

    wanted: side of the square to be made, in pixels, for which JPEGs are decoded no larger than needed. Raises Skipped.
    """
    try:
        with open_image(file) as picture:
            last = getattr(picture, "n_frames", 1) if all_frames else 1
            for index in range(first_frame, last):
                if index:
                    picture.seek(index)
                _check_max_pixels(picture.size, max_pixels)
                yield _decode_frame(picture, index, target_size, background)
    except DECODE_ERRORS as error:
        raise SkipFile(BROKEN_IMAGE, _error_detail(error)) from error
    except Image.DecompressionBombError as error:
        raise SkipFile(TOO_LARGE, _error_detail(error)) from error
    except MemoryError as error:
        raise SkipFile(TOO_LARGE, "out of memory") from error


def _error_detail(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _check_max_pixels(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise SkipFile(TOO_LARGE, f"{size[0]}x{size[1]} pixels")


def _decode_frame(image: Image.Image, index: int, target_size: int, background: tuple[int, int, int]) -> DecodedFrame:
    size = image.size
    smaller = image.draft(None, (target_size * DRAFT_SCALE, target_size * DRAFT_SCALE)) is not None  # type: ignore[arg-type]
    image.load()
    profile = b"" if image.mode in (*_HIGH_BIT_DEPTH_MODES, "F") else image.info.get("icc_profile") or b""
    turn = _EXIF_TRANSPOSES.get(_exif_orientation(image))
    upright = image.transpose(turn) if turn is not None else image
    if smaller and turn in _AXIS_SWAPPING_TRANSPOSES:
        size = size[1], size[0]
    plain = normalize_mode(upright, background)
    return DecodedFrame(index, plain, size if smaller else upright.size, b"" if _is_srgb(profile) else profile)


def _exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1 where there is none (or damaged EXIF)."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except DECODE_ERRORS:
        return 1


def normalize_mode(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return the picture in mode RGB, L or CMYK: deep greys scaled, palettes looked up, on `background`."""
    if image.mode in _HIGH_BIT_DEPTH_MODES or image.mode == "F":
        image = to_8bit_grayscale(image)
    if _has_transparency(image):
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, background)
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _OUTPUT_MODES else image.convert("RGB")


def _has_transparency(image: Image.Image) -> bool:
    """As Pillow's has_transparency_data, which fails for some frames of grey GIFs (mode P without a palette)."""
    palette = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or palette.endswith("A") or "transparency" in image.info


def to_8bit_grayscale(image: Image.Image) -> Image.Image:
    """Deep grey to 8 bits: 16-bit by its full range, floats of 0..1 or 0..255 as such, all else by its extremes.

    Raises ValueError for floats that are not finite.
    """
    if image.mode == "F":
        low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("values that are not finite")
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif low >= 0 and high <= 255:
            low, high = 0.0, 255.0
        deep = image
    else:
        deep = image.convert("I")
        low, high = (float(value) for value in deep.getextrema())  # type: ignore[arg-type]
        if low >= 0 and high <= 65535:
            low, high = 0.0, 65535.0
        deep = deep.convert("F")
    scale = 255 / (high - low) if high > low else 1.0
    flat = deep.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
    flat.info.pop("transparency", None)  # a deep value means nothing among shallow ones
    return flat


def _is_srgb(icc_profile: bytes) -> bool:
    return not icc_profile or _srgb_transform(icc_profile, "RGB") == "sRGB"


@functools.lru_cache(maxsize=32)
def _srgb_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str | None:
    """How to get from the profile to sRGB: a transform, "sRGB" when nothing is to be done, None when it is useless."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return "sRGB"
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, *DECODE_ERRORS):
        return None


def to_srgb(image: Image.Image, icc_profile: bytes, grayscale: bool) -> Image.Image:
    """The colours of a (small) picture as sRGB, mode RGB, or L with `grayscale`. A useless profile counts as none."""
    if icc_profile:
        transform = _srgb_transform(icc_profile, image.mode)
        if isinstance(transform, ImageCms.ImageCmsTransform):
            image = ImageCms.applyTransform(image, transform) or image
    wanted = "L" if grayscale else "RGB"
    return image if image.mode == wanted else image.convert(wanted)
