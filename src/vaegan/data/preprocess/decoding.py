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

from vaegan.data.preprocess.file_reader import Skipped
from vaegan.data.preprocess.skip_reasons import BROKEN, NOT_A_PICTURE, TOO_LARGE

FOREIGN = frozenset({"EPS", "WMF", "MPEG", "HDF5", "BUFR", "GRIB"})
"""Formats that Pillow only names, or hands to another program: never opened."""
COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
"""Formats that Pillow knows without loading its forty other plugins."""
FAULTS = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, AttributeError, RuntimeError, ArithmeticError,
    AssertionError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for damaged files, beside MemoryError and its own."""
DRAFT = 2
"""JPEGs are decoded at 1/2, 1/4 or 1/8 where that leaves at least so many pixels for each one wanted."""
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_PLAIN = ("RGB", "L", "CMYK")
_TURN = Image.Transpose
_TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270, 7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip
_SIDEWAYS = (_TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE, _TURN.ROTATE_90)


@dataclass(frozen=True)
class Frame:
    """One frame: the upright picture as decoded, of mode RGB, L or CMYK, and its true size in pixels.

    profile: the ICC profile that its colours are still in, b"" where they are sRGB. It is applied to the small
    square: thousands of times fewer pixels, the same colours.
    """

    index: int
    picture: Image.Image
    size: tuple[int, int]
    profile: bytes


@functools.cache
def _all_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(sorted(set(Image.OPEN) - FOREIGN))


@functools.cache
def background_colour(text: str) -> tuple[int, int, int]:
    """Read --background: a name or #rrggbb. Raises ValueError."""
    colour = ImageColor.getrgb(text)
    return colour[0], colour[1], colour[2]


def open_picture(file: BinaryIO) -> Image.Image:
    """Recognise a picture by its content. Raises Skipped when it is none."""
    for formats in (lambda: COMMON, _all_formats):
        try:
            file.seek(0)
            return Image.open(file, formats=formats())
        except UnidentifiedImageError:
            continue
        except Image.DecompressionBombError as error:
            raise Skipped(TOO_LARGE, str(error)) from error
    raise Skipped(NOT_A_PICTURE)


def frames(
    file: BinaryIO, wanted: int, every: bool, start: int, background: tuple[int, int, int], max_pixels: int
) -> Iterator[Frame]:
    """Yield the first frame, or with `every` all of them from `start` on.

    wanted: side of the square to be made, in pixels, for which JPEGs are decoded no larger than needed. Raises Skipped.
    """
    try:
        with open_picture(file) as picture:
            last = getattr(picture, "n_frames", 1) if every else 1
            for index in range(start, last):
                if index:
                    picture.seek(index)
                _check_size(picture.size, max_pixels)
                yield _frame(picture, index, wanted, background)
    except FAULTS as error:
        raise Skipped(BROKEN, _words(error)) from error
    except Image.DecompressionBombError as error:
        raise Skipped(TOO_LARGE, _words(error)) from error
    except MemoryError as error:
        raise Skipped(TOO_LARGE, "out of memory") from error


def _words(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise Skipped(TOO_LARGE, f"{size[0]}x{size[1]} pixels")


def _frame(picture: Image.Image, index: int, wanted: int, background: tuple[int, int, int]) -> Frame:
    size = picture.size
    smaller = picture.draft(None, (wanted * DRAFT, wanted * DRAFT)) is not None  # type: ignore[arg-type]
    picture.load()
    profile = b"" if picture.mode in (*_DEEP, "F") else picture.info.get("icc_profile") or b""
    turn = _TURNS.get(_orientation(picture))
    upright = picture.transpose(turn) if turn is not None else picture
    if smaller and turn in _SIDEWAYS:
        size = size[1], size[0]
    plain = flattened(upright, background)
    return Frame(index, plain, size if smaller else upright.size, b"" if _is_srgb(profile) else profile)


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1 where there is none (or damaged EXIF)."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except FAULTS:
        return 1


def flattened(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return the picture in mode RGB, L or CMYK: deep greys scaled, palettes looked up, on `background`."""
    if picture.mode in _DEEP or picture.mode == "F":
        picture = shallow(picture)
    if _see_through(picture):
        picture = picture.convert("RGBA")
        canvas = Image.new("RGB", picture.size, background)
        canvas.paste(picture, mask=picture.getchannel("A"))
        return canvas
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in _PLAIN else picture.convert("RGB")


def _see_through(picture: Image.Image) -> bool:
    """As Pillow's has_transparency_data, which fails for some frames of grey GIFs (mode P without a palette)."""
    palette = picture.palette.mode if picture.mode == "P" and picture.palette is not None else ""
    return picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or palette.endswith("A") or "transparency" in picture.info


def shallow(picture: Image.Image) -> Image.Image:
    """Deep grey to 8 bits: 16-bit by its full range, floats of 0..1 or 0..255 as such, all else by its extremes.

    Raises ValueError for floats that are not finite.
    """
    if picture.mode == "F":
        low, high = (float(value) for value in picture.getextrema())  # type: ignore[arg-type]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("values that are not finite")
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        elif low >= 0 and high <= 255:
            low, high = 0.0, 255.0
        deep = picture
    else:
        deep = picture.convert("I")
        low, high = (float(value) for value in deep.getextrema())  # type: ignore[arg-type]
        if low >= 0 and high <= 65535:
            low, high = 0.0, 65535.0
        deep = deep.convert("F")
    scale = 255 / (high - low) if high > low else 1.0
    flat = deep.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
    flat.info.pop("transparency", None)  # a deep value means nothing among shallow ones
    return flat


def _is_srgb(profile: bytes) -> bool:
    return not profile or _transform(profile, "RGB") == "sRGB"


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str | None:
    """How to get from the profile to sRGB: a transform, "sRGB" when nothing is to be done, None when it is useless."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return "sRGB"
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, *FAULTS):
        return None


def to_srgb(picture: Image.Image, profile: bytes, grayscale: bool) -> Image.Image:
    """The colours of a (small) picture as sRGB, mode RGB, or L with `grayscale`. A useless profile counts as none."""
    if profile:
        transform = _transform(profile, picture.mode)
        if isinstance(transform, ImageCms.ImageCmsTransform):
            picture = ImageCms.applyTransform(picture, transform) or picture
    wanted = "L" if grayscale else "RGB"
    return picture if picture.mode == wanted else picture.convert(wanted)
