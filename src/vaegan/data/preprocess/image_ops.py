"""Squares from rectangles: which box of a picture is taken, and how the square is made of it."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.records import Box

LANCZOS = Image.Resampling.LANCZOS
DETAIL_MAP_SIZE = 96
BACKGROUND_DETAIL_MARGIN = 1.5
HEADROOM_FRACTION = 0.06
CENTER_BIAS = 0.25


def compute_crop_box(image: Image.Image, original_size: tuple[int, int], settings: PreprocessSettings) -> Box:
    """Return the part of a picture of `size` pixels (width, height) that its square shows.

    picture: the same, perhaps decoded smaller; only `--fit smart` looks at it.
    """
    width, height = original_size
    if settings.fit in ("pad", "stretch") or width == height:
        return 0, 0, width, height
    side, spare = min(original_size), abs(width - height)
    if settings.fit == "smart":
        start = _most_detailed_offset(image, spare, side)
    else:
        first = "left" if width > height else "top"
        last = "right" if width > height else "bottom"
        start = {first: 0, last: spare}.get(settings.crop_position, spare // 2)
    return (start, 0, start + side, side) if width > height else (0, start, side, start + side)


def _detail_profile(image: Image.Image) -> list[float]:
    """Detail along the long axis, head to foot or left to right: the mean difference of neighbouring pixels."""
    tall = image.height > image.width
    scale = DETAIL_MAP_SIZE / max(image.size)
    coarse = (max(2, round(image.width * scale)), max(2, round(image.height * scale)))
    small = image.convert("L").resize(coarse, Image.Resampling.BOX, reducing_gap=2.0)
    across = ImageChops.difference(small, ImageChops.offset(small, 1, 0)).crop((1, 0, *coarse))
    down = ImageChops.difference(small, ImageChops.offset(small, 0, 1)).crop((0, 1, *coarse))
    line = (1, coarse[1]) if tall else (coarse[0], 1)
    lines = [part.convert("F").resize(line, Image.Resampling.BOX).tobytes() for part in (across, down)]
    values = [memoryview(part).cast("f") for part in lines]
    return [float(a + b) for a, b in zip(*values, strict=True)]


def _most_detailed_offset(image: Image.Image, max_offset: int, side: int) -> int:
    """Where the square begins, 0 to `spare` pixels along the long axis.

    The square with the most detail, pulled a little to the centre where little speaks for one place. In a picture
    taller than wide it never begins below the first line that is livelier than the quietest one, with a margin: what
    comes first in a portrait is the head, however rich the clothes are. On a background that is lively everywhere,
    that is the top.
    """
    profile = _detail_profile(image)
    count = len(profile)
    total = sum(profile)
    if total <= 0:
        return max_offset // 2
    length = max(1, round(count * side / (side + max_offset)))
    places = count - length
    limit = places
    if image.height > image.width:
        plain = min(profile) + BACKGROUND_DETAIL_MARGIN
        first = next((place for place, value in enumerate(profile) if value > plain), 0)
        limit = max(0, min(places, first - round(HEADROOM_FRACTION * length)))
    best, start, window = -1.0, 0, sum(profile[:length])
    for place in range(limit + 1):
        off = abs(2 * place - places) / max(1, places)
        score = window / total - CENTER_BIAS * off * off * length / count
        if score > best + 1e-9:
            best, start = score, place
        if place + length < count:
            window += profile[place + length] - profile[place]
    return round(max_offset * start / max(1, places))


def crop_and_resize(
    image: Image.Image, original_size: tuple[int, int], box: Box, settings: PreprocessSettings
) -> Image.Image:
    """Make the square of `settings.size` pixels from `box` of a picture whose true size is `size`.

    The picture may be decoded smaller than it is; it keeps its mode (RGB, L or CMYK).
    """
    across, down = image.width / original_size[0], image.height / original_size[1]
    part = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    side = settings.size
    if settings.fit != "pad" or original_size[0] == original_size[1]:
        return image.resize((side, side), LANCZOS, box=part, reducing_gap=3.0)
    scale = side / max(original_size)
    inner = (max(1, round(original_size[0] * scale)), max(1, round(original_size[1] * scale)))
    return image.resize(inner, LANCZOS, box=part, reducing_gap=3.0)


def pad_to_square(image: Image.Image, settings: PreprocessSettings, background: tuple[int, int, int]) -> Image.Image:
    """Lay an RGB or L picture in the middle of its square, with what `--pad-mode` says around it."""
    side = settings.size
    left, top = (side - image.width) // 2, (side - image.height) // 2
    if image.size == (side, side):
        return image
    if settings.pad_mode == "color":
        colour = Image.new("RGB", (1, 1), background).convert(image.mode).getpixel((0, 0))
        canvas = Image.new(image.mode, (side, side), colour)  # type: ignore[arg-type]
    elif settings.pad_mode == "blur":
        start = (max(image.size) - min(image.size)) / 2
        wide = image.width > image.height
        box = (start, 0, start + image.height, image.height) if wide else (0, start, image.width, start + image.width)
        canvas = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
        canvas = canvas.filter(ImageFilter.GaussianBlur(side / 12))
    else:
        canvas = _extend_edges(image, side, left, top)
    canvas.paste(image, (left, top))
    return canvas


def _extend_edges(image: Image.Image, side: int, left: int, top: int) -> Image.Image:
    """Carry the outermost pixels on to the border, softened where that would draw long streaks."""
    width, height = image.size
    canvas = Image.new(image.mode, (side, side))
    canvas.paste(image, (left, top))
    nearest = Image.Resampling.NEAREST
    if width < side:
        right = side - left - width
        canvas.paste(image.crop((0, 0, 1, height)).resize((max(1, left), height), nearest), (0, top))
        if right:
            edge = image.crop((width - 1, 0, width, height)).resize((right, height), nearest)
            canvas.paste(edge, (left + width, top))
    if height < side:
        lower = side - top - height
        row = canvas.crop((0, top, side, top + 1))
        canvas.paste(row.resize((side, max(1, top)), nearest), (0, 0))
        if lower:
            row = canvas.crop((0, top + height - 1, side, top + height))
            canvas.paste(row.resize((side, lower), nearest), (0, top + height))
    return canvas.filter(ImageFilter.GaussianBlur(side / 32)) if max(left, top) > 1 else canvas


def to_chw_bytes(image: Image.Image) -> bytes:
    """The pixels of an RGB or L picture, one channel after the other: uint8 [C, H, W]."""
    pixels = image.tobytes()
    return pixels if image.mode == "L" else pixels[0::3] + pixels[1::3] + pixels[2::3]


def from_chw_bytes(pixels: bytes, channels: int, size: int) -> Image.Image:
    """Undo `planes` for a square."""
    area = size * size
    bands = [Image.frombytes("L", (size, size), pixels[at : at + area]) for at in range(0, channels * area, area)]
    return bands[0] if channels == 1 else Image.merge("RGB", bands)
