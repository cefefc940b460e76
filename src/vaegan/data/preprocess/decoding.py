"""Decode the bytes of an image, in any format and mode, to upright frames."""

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

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.bit_depth import GrayDepth, find_gray_depth, restore_unsigned
from vaegan.data.preprocess.skip_reasons import BROKEN_IMAGE, GENERATED, NEEDS_HEIC, NOT_AN_IMAGE, TOO_LARGE, SkipFile
from vaegan.errors import error_text
from vaegan.utils.images import has_signature

REFUSED_FORMATS = frozenset({"EPS", "WMF", "MPEG", "HDF5", "BUFR", "GRIB"})
"""Formats that Pillow only identifies, or hands to an external program: never opened."""
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")
"""Formats that Pillow opens without loading its forty other plugins."""
SINGLE_PICTURE_FORMATS = ("MPO", "HEIF")
"""Formats of phones, whose further pictures are depths, thumbnails or the other eye's view of the first one."""
DECODE_ERRORS = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, AttributeError, RuntimeError),
    *(ArithmeticError, AssertionError, struct.error, zlib.error),
)
"""What Pillow raises for damaged files, besides MemoryError and DecompressionBombError."""
DRAFT_SCALE = 2
"""JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where that is still this many times the target size."""
_HIGH_BIT_DEPTH_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_OUTPUT_MODES = ("RGB", "L", "CMYK")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
_JPEG_END_MARKER = b"\xff\xd9"
_EXIF_ORIENTATION_TAG = 0x0112
_Transpose = Image.Transpose
_EXIF_TRANSPOSES = {
    2: _Transpose.FLIP_LEFT_RIGHT, 3: _Transpose.ROTATE_180, 4: _Transpose.FLIP_TOP_BOTTOM, 5: _Transpose.TRANSPOSE,
    6: _Transpose.ROTATE_270, 7: _Transpose.TRANSVERSE, 8: _Transpose.ROTATE_90,
}  # fmt: skip
_AXIS_SWAPPING_TRANSPOSES = (_Transpose.TRANSPOSE, _Transpose.ROTATE_270, _Transpose.TRANSVERSE, _Transpose.ROTATE_90)


@dataclass(frozen=True)
class DecodedFrame:
    """One upright frame of an image file."""

    index: int
    image: Image.Image  # of mode RGB, L or CMYK; a JPEG may be decoded at a reduced size
    original_size: tuple[int, int]  # width and height in pixels, upright and not reduced
    icc_profile: bytes  # b"" for sRGB; applied after resizing, when there are far fewer pixels
    gray_depth: GrayDepth | None = None  # of 16-bit or 32-bit gray values


@functools.cache
def _all_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(sorted(set(Image.OPEN) - REFUSED_FORMATS))


@functools.cache
def parse_color(text: str) -> tuple[int, int, int]:
    """Parse a color name or #rrggbb.

    Args:
        text: the color.

    Returns:
        red, green and blue, 0 to 255.

    Raises:
        ValueError: if it is no color.
    """
    color = ImageColor.getrgb(text)
    return color[0], color[1], color[2]


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image by its content, whatever its name.

    Args:
        file: the image's bytes.

    Returns:
        the image, not decoded yet.

    Raises:
        SkipFile: if it is not an image.
    """
    for formats in (lambda: COMMON_FORMATS, _all_formats):
        try:
            file.seek(0)
            return Image.open(file, formats=formats())
        except UnidentifiedImageError:
            continue
        except Image.DecompressionBombError as error:
            raise SkipFile(TOO_LARGE, str(error)) from error
    if _is_heic(file):
        return _open_heic(file)
    raise SkipFile(NOT_AN_IMAGE)


def _is_heic(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def _open_heic(file: BinaryIO) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise SkipFile(NEEDS_HEIC, "pip install 'vaegan[heic]'") from None
    pillow_heif.register_heif_opener()
    file.seek(0)
    try:
        return Image.open(file, formats=("HEIF",))
    except UnidentifiedImageError:  # whose message holds a memory address
        raise SkipFile(BROKEN_IMAGE, "damaged HEIC") from None


def decode_frames(
    file: BinaryIO, settings: PreprocessSettings, first_frame: int, gray_bits: int = 0
) -> Iterator[DecodedFrame]:
    """Yield the frames of an image from `first_frame` on, or only the first frame of the image.

    Args:
        file: the open file.
        settings: whether to take all frames, how many pixels to allow, and how to decode.
        first_frame: index of the first frame to yield, from 0.
        gray_bits: bit depth, 1 to 16, of 16-bit gray values without a range in the file's tags; 0 = what each frame
            needs.

    Yields:
        one decoded frame each.

    Raises:
        SkipFile: The file is not an image, is broken, or has too many pixels.
    """
    try:
        with open_image(file) as image:
            if not settings.include_generated and has_signature(image):
                raise SkipFile(GENERATED)
            num_frames = getattr(image, "n_frames", 1) if settings.frames == "all" else 1
            if image.format in SINGLE_PICTURE_FORMATS:
                num_frames = 1
            for index in range(first_frame, num_frames):
                if index:
                    image.seek(index)
                if image.width * image.height > settings.max_pixels:
                    raise SkipFile(TOO_LARGE, f"{image.width}x{image.height} pixels")
                yield decode_frame(image, index, file, settings, gray_bits)
    except DECODE_ERRORS as error:
        raise SkipFile(BROKEN_IMAGE, error_text(error)[:200]) from error
    except Image.DecompressionBombError as error:
        raise SkipFile(TOO_LARGE, error_text(error)[:200]) from error
    except MemoryError as error:
        raise SkipFile(TOO_LARGE, "out of memory") from error


def decode_frame(
    image: Image.Image, index: int, file: BinaryIO, settings: PreprocessSettings, gray_bits: int = 0
) -> DecodedFrame:
    """Load the current frame of an open image, turn it upright and give it 8 bits per channel.

    Args:
        image: an image that Pillow has opened.
        index: number of its current frame.
        file: the image's bytes; empty for an image that does not come from a file.
        settings: options of preprocess.
        gray_bits: bit depth of 16-bit gray values without a range in the file's tags; 0 = what the frame needs.

    Returns:
        the frame.
    """
    size = image.size
    draft_size = (settings.size * DRAFT_SCALE, settings.size * DRAFT_SCALE)
    is_draft = image.draft(None, draft_size) is not None  # type: ignore[arg-type]
    try:
        image.load()
    except OSError:
        if image.format not in ("JPEG", "MPO"):
            raise
        image = _load_jpeg_without_end(file, draft_size)
    icc_profile = b"" if image.mode in (*_HIGH_BIT_DEPTH_MODES, "F") else image.info.get("icc_profile") or b""

    # turn the image upright; the size of a draft is reduced, so its original size comes from the header
    transpose = _EXIF_TRANSPOSES.get(_exif_orientation(image))
    gray_depth = _find_gray_depth(image, file, settings, gray_bits)
    pixels = restore_unsigned(image)
    upright = pixels.transpose(transpose) if transpose is not None else pixels
    if not is_draft:
        size = upright.size
    elif transpose in _AXIS_SWAPPING_TRANSPOSES:
        size = size[1], size[0]
    normalized = normalize_mode(upright, parse_color(settings.background), gray_depth)
    is_srgb = not icc_profile or _srgb_transform(icc_profile, "RGB") == "sRGB"
    return DecodedFrame(index, normalized, size, b"" if is_srgb else icc_profile, gray_depth)


def _load_jpeg_without_end(file: BinaryIO, draft_size: tuple[int, int]) -> Image.Image:
    """Load a JPEG that lacks only its end marker. Raises OSError if it is cut short earlier.

    All pixels are there if what follows in the file does not change them.
    """
    file.seek(0)
    content = file.read().rstrip(b"\xff")
    versions = []
    for filler in (b"", b"\x55" * 64):
        version = Image.open(io.BytesIO(content + filler + _JPEG_END_MARKER), formats=("JPEG",))
        version.draft(None, draft_size)  # type: ignore[arg-type]
        version.load()
        versions.append(version)
    if versions[0].tobytes() != versions[1].tobytes():
        raise OSError("image file is truncated")
    return versions[0]


def _find_gray_depth(
    image: Image.Image, file: BinaryIO, settings: PreprocessSettings, gray_bits: int
) -> GrayDepth | None:
    if image.mode not in _HIGH_BIT_DEPTH_MODES:
        return None
    if settings.gray_bits != "auto":
        return GrayDepth(0.0, 2.0 ** int(settings.gray_bits) - 1)
    return find_gray_depth(image, file, gray_bits)


def _exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that Pillow has not applied itself; 1 (upright) without EXIF or for damaged EXIF."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION_TAG, 1))
    except DECODE_ERRORS:
        return 1


def normalize_mode(
    image: Image.Image, background: tuple[int, int, int], gray_depth: GrayDepth | None = None
) -> Image.Image:
    """Convert an image of any mode to RGB, L or CMYK with 8 bits per channel.

    Args:
        image: the image.
        background: color behind transparent pixels.
        gray_depth: range of 16-bit, 32-bit or float values, as in `to_8bit_grayscale`.

    Returns:
        the converted image.
    """
    if image.mode in _HIGH_BIT_DEPTH_MODES or image.mode == "F":
        image = to_8bit_grayscale(image, gray_depth)
    if _has_transparency(image):
        image = image.convert("RGBA")
        canvas = Image.new("RGB", image.size, background)
        canvas.paste(image, mask=image.getchannel("A"))
        return canvas
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _OUTPUT_MODES else image.convert("RGB")


def _has_transparency(image: Image.Image) -> bool:
    """As Pillow's has_transparency_data, which fails for some frames of gray GIFs (mode P without a palette)."""
    palette_mode = image.palette.mode if image.mode == "P" and image.palette is not None else ""
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or palette_mode.endswith("A")
    return has_alpha or "transparency" in image.info


def to_8bit_grayscale(image: Image.Image, gray_depth: GrayDepth | None = None) -> Image.Image:
    """Scale an image of 16-bit integers, 32-bit integers or floats linearly to 8 bits.

    The range of `gray_depth` becomes 0 to 255. Without it, that is 0 to 1 or else 0 to 255 for floats, and the image's
    own minimum and maximum for integers, and for floats outside of these.

    Args:
        image: of a 16-bit, 32-bit or float mode.
        gray_depth: the lowest and highest value, or None.

    Returns:
        of mode L.

    Raises:
        ValueError: An image of floats holds infinite values or NaN.
    """
    if image.mode != "F":
        image = image.convert("I")
    if gray_depth is not None:
        low, high = gray_depth.low, gray_depth.high
    else:
        low, high = map(float, image.getextrema())  # type: ignore[arg-type]
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("values that are not finite")
        for limit in (1.0, 255.0) if image.mode == "F" else ():
            if low >= 0 and high <= limit:
                low, high = 0.0, limit
                break

    image = image.convert("F")
    scale = 255 / (high - low) if high > low else 1.0
    scaled = image.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
    scaled.info.pop("transparency", None)  # a transparent value of the original depth
    return scaled


@functools.lru_cache(maxsize=32)
def _srgb_transform(icc_profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str | None:
    """Return the transform from a profile to sRGB, "sRGB" where it is that already, or None for a damaged profile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if mode == "RGB" and "sRGB" in (ImageCms.getProfileDescription(source) or ""):
            return "sRGB"
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, *DECODE_ERRORS):
        return None


def to_srgb(image: Image.Image, icc_profile: bytes, grayscale: bool) -> Image.Image:
    """Convert an image to sRGB. A damaged profile is ignored.

    Args:
        image: of mode RGB, L or CMYK.
        icc_profile: its color profile; empty if it has none.
        grayscale: whether the result has one channel.

    Returns:
        of mode RGB, or L with `grayscale`.
    """
    if icc_profile:
        transform = _srgb_transform(icc_profile, image.mode)
        if isinstance(transform, ImageCms.ImageCmsTransform):
            image = ImageCms.applyTransform(image, transform) or image
    mode = "L" if grayscale else "RGB"
    return image if image.mode == mode else image.convert(mode)
