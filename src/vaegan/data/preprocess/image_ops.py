"""Squares from rectangles: which box of a picture is taken, and how the square is made of it."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageFilter

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.records import Box

LANCZOS = Image.Resampling.LANCZOS
COARSE = 96
QUIET = 1.5
MARGIN = 0.06
PULL = 0.25


def box_of(picture: Image.Image, size: tuple[int, int], settings: PrepareSettings) -> Box:
    """Return the part of a picture of `size` pixels (width, height) that its square shows.

    picture: the same, perhaps decoded smaller; only `--fit smart` looks at it.
    """
    width, height = size
    if settings.fit in ("pad", "stretch") or width == height:
        return 0, 0, width, height
    side, spare = min(size), abs(width - height)
    if settings.fit == "smart":
        start = _most_detail(picture, spare, side)
    else:
        first = "left" if width > height else "top"
        last = "right" if width > height else "bottom"
        start = {first: 0, last: spare}.get(settings.crop_anchor, spare // 2)
    return (start, 0, start + side, side) if width > height else (0, start, side, start + side)


def _profile(picture: Image.Image) -> list[float]:
    """Detail along the long axis, head to foot or left to right: the mean difference of neighbouring pixels."""
    tall = picture.height > picture.width
    scale = COARSE / max(picture.size)
    coarse = (max(2, round(picture.width * scale)), max(2, round(picture.height * scale)))
    small = picture.convert("L").resize(coarse, Image.Resampling.BOX, reducing_gap=2.0)
    across = ImageChops.difference(small, ImageChops.offset(small, 1, 0)).crop((1, 0, *coarse))
    down = ImageChops.difference(small, ImageChops.offset(small, 0, 1)).crop((0, 1, *coarse))
    line = (1, coarse[1]) if tall else (coarse[0], 1)
    lines = [part.convert("F").resize(line, Image.Resampling.BOX).tobytes() for part in (across, down)]
    values = [memoryview(part).cast("f") for part in lines]
    return [float(a + b) for a, b in zip(*values, strict=True)]


def _most_detail(picture: Image.Image, spare: int, side: int) -> int:
    """Where the square begins, 0 to `spare` pixels along the long axis.

    The square with the most detail, pulled a little to the centre where little speaks for one place. In a picture
    taller than wide it never begins below the first line that is livelier than the quietest one, with a margin: what
    comes first in a portrait is the head, however rich the clothes are. On a background that is lively everywhere,
    that is the top.
    """
    profile = _profile(picture)
    count = len(profile)
    total = sum(profile)
    if total <= 0:
        return spare // 2
    length = max(1, round(count * side / (side + spare)))
    places = count - length
    limit = places
    if picture.height > picture.width:
        plain = min(profile) + QUIET
        first = next((place for place, value in enumerate(profile) if value > plain), 0)
        limit = max(0, min(places, first - round(MARGIN * length)))
    best, start, window = -1.0, 0, sum(profile[:length])
    for place in range(limit + 1):
        off = abs(2 * place - places) / max(1, places)
        score = window / total - PULL * off * off * length / count
        if score > best + 1e-9:
            best, start = score, place
        if place + length < count:
            window += profile[place + length] - profile[place]
    return round(spare * start / max(1, places))


def square(picture: Image.Image, size: tuple[int, int], box: Box, settings: PrepareSettings) -> Image.Image:
    """Make the square of `settings.size` pixels from `box` of a picture whose true size is `size`.

    The picture may be decoded smaller than it is; it keeps its mode (RGB, L or CMYK).
    """
    across, down = picture.width / size[0], picture.height / size[1]
    part = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    side = settings.size
    if settings.fit != "pad" or size[0] == size[1]:
        return picture.resize((side, side), LANCZOS, box=part, reducing_gap=3.0)
    scale = side / max(size)
    inner = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    return picture.resize(inner, LANCZOS, box=part, reducing_gap=3.0)


def padded(small: Image.Image, settings: PrepareSettings, background: tuple[int, int, int]) -> Image.Image:
    """Lay an RGB or L picture in the middle of its square, with what `--pad` says around it."""
    side = settings.size
    left, top = (side - small.width) // 2, (side - small.height) // 2
    if small.size == (side, side):
        return small
    if settings.pad == "color":
        colour = Image.new("RGB", (1, 1), background).convert(small.mode).getpixel((0, 0))
        canvas = Image.new(small.mode, (side, side), colour)  # type: ignore[arg-type]
    elif settings.pad == "blur":
        start = (max(small.size) - min(small.size)) / 2
        wide = small.width > small.height
        box = (start, 0, start + small.height, small.height) if wide else (0, start, small.width, start + small.width)
        canvas = small.resize((side, side), Image.Resampling.BILINEAR, box=box)
        canvas = canvas.filter(ImageFilter.GaussianBlur(side / 12))
    else:
        canvas = _continued(small, side, left, top)
    canvas.paste(small, (left, top))
    return canvas


def _continued(small: Image.Image, side: int, left: int, top: int) -> Image.Image:
    """Carry the outermost pixels on to the border, softened where that would draw long streaks."""
    width, height = small.size
    canvas = Image.new(small.mode, (side, side))
    canvas.paste(small, (left, top))
    nearest = Image.Resampling.NEAREST
    if width < side:
        right = side - left - width
        canvas.paste(small.crop((0, 0, 1, height)).resize((max(1, left), height), nearest), (0, top))
        if right:
            edge = small.crop((width - 1, 0, width, height)).resize((right, height), nearest)
            canvas.paste(edge, (left + width, top))
    if height < side:
        lower = side - top - height
        row = canvas.crop((0, top, side, top + 1))
        canvas.paste(row.resize((side, max(1, top)), nearest), (0, 0))
        if lower:
            row = canvas.crop((0, top + height - 1, side, top + height))
            canvas.paste(row.resize((side, lower), nearest), (0, top + height))
    return canvas.filter(ImageFilter.GaussianBlur(side / 32)) if max(left, top) > 1 else canvas


def planes(picture: Image.Image) -> bytes:
    """The pixels of an RGB or L picture, one channel after the other: uint8 [C, H, W]."""
    pixels = picture.tobytes()
    return pixels if picture.mode == "L" else pixels[0::3] + pixels[1::3] + pixels[2::3]


def from_planes(pixels: bytes, channels: int, size: int) -> Image.Image:
    """Undo `planes` for a square."""
    area = size * size
    bands = [Image.frombytes("L", (size, size), pixels[at : at + area]) for at in range(0, channels * area, area)]
    return bands[0] if channels == 1 else Image.merge("RGB", bands)
