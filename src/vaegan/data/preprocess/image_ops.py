"""Choose the part of an image to keep, and make a square image of it."""

from __future__ import annotations

from itertools import accumulate

from PIL import Image, ImageChops, ImageFilter

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.records import Box

DETAIL_MAP_SIZE = 96  # longer side of the reduced image on which --fit smart measures detail
BACKGROUND_DETAIL_MARGIN = 1.5  # gray levels by which a row of the head exceeds the row with the least detail
HEADROOM_FRACTION = 0.06  # part of the crop's height that is kept above the head
CENTER_BIAS = 0.25  # weight of the distance from the center


def compute_crop_box(image: Image.Image, original_size: tuple[int, int], settings: PreprocessSettings) -> Box:
    """Return the part of an image to keep.

    The image may be decoded at a reduced size. Only `--fit smart` looks at it.

    Args:
        image: the decoded image.
        original_size: width and height of the original in pixels.
        settings: options of preprocess.

    Returns:
        left, top, right and bottom in pixels of the original.
    """
    width, height = original_size
    if settings.fit in ("pad", "stretch") or width == height:
        return 0, 0, width, height
    side, max_offset = min(original_size), abs(width - height)
    if settings.fit == "smart":
        offset = _most_detailed_offset(image, max_offset, side)
    else:
        first, last = ("left", "right") if width > height else ("top", "bottom")
        offset = {first: 0, last: max_offset}.get(settings.crop_position, max_offset // 2)
    return (offset, 0, offset + side, side) if width > height else (0, offset, side, offset + side)


def _detail_profile(image: Image.Image) -> list[float]:
    """Return the detail of each row (of a portrait) or column: the mean difference of neighboring gray pixels."""
    is_portrait = image.height > image.width
    scale = DETAIL_MAP_SIZE / max(image.size)
    width, height = max(2, round(image.width * scale)), max(2, round(image.height * scale))
    gray = image.convert("L").resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)
    horizontal = ImageChops.difference(gray, ImageChops.offset(gray, 1, 0)).crop((1, 0, width, height))
    vertical = ImageChops.difference(gray, ImageChops.offset(gray, 0, 1)).crop((0, 1, width, height))

    # average over the short axis
    profile_size = (1, height) if is_portrait else (width, 1)
    profiles = [
        memoryview(difference.convert("F").resize(profile_size, Image.Resampling.BOX).tobytes()).cast("f")
        for difference in (horizontal, vertical)
    ]
    return [float(a + b) for a, b in zip(*profiles, strict=True)]


def _most_detailed_offset(image: Image.Image, max_offset: int, side: int) -> int:
    """Return the offset of the crop along the long axis, 0 to `max_offset` pixels, that keeps the most detail.

    A bias pulls the crop to the center where the detail is spread evenly. In a portrait, the crop starts at or above
    the first row with more detail than the background: the head comes first, even where the clothes have more detail.
    """
    profile = _detail_profile(image)
    total, num_lines = sum(profile), len(profile)
    if total <= 0:
        return max_offset // 2
    crop_lines = max(1, round(num_lines * side / (side + max_offset)))
    last_start = num_lines - crop_lines

    # a portrait's crop starts no lower than at the top of the head
    limit = last_start
    if image.height > image.width:
        threshold = min(profile) + BACKGROUND_DETAIL_MARGIN
        head = next((line for line, detail in enumerate(profile) if detail > threshold), 0)
        limit = max(0, min(last_start, head - round(HEADROOM_FRACTION * crop_lines)))

    # score = share of the detail in the crop - bias * (distance from the center)^2
    sums = list(accumulate(profile, initial=0.0))
    best_score, best_start = -1.0, 0
    for start in range(limit + 1):
        detail = (sums[start + crop_lines] - sums[start]) / total
        distance = abs(2 * start - last_start) / max(1, last_start)
        score = detail - CENTER_BIAS * distance * distance * crop_lines / num_lines
        if score > best_score + 1e-9:
            best_score, best_start = score, start
    return round(max_offset * best_start / max(1, last_start))


def crop_and_resize(
    image: Image.Image, original_size: tuple[int, int], box: Box, settings: PreprocessSettings
) -> Image.Image:
    """Crop an image and resize it to the target size.

    With `--fit pad`, only its longer side has the target size.

    Args:
        image: of mode RGB, L or CMYK, perhaps decoded at a reduced size.
        original_size: width and height of the original in pixels.
        box: part to keep, in pixels of the original.
        settings: options of preprocess.

    Returns:
        the resized image.
    """
    scale_x, scale_y = image.width / original_size[0], image.height / original_size[1]
    decoded_box = (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)
    size = (settings.size, settings.size)
    if settings.fit == "pad":
        scale = settings.size / max(original_size)
        size = (max(1, round(original_size[0] * scale)), max(1, round(original_size[1] * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, box=decoded_box, reducing_gap=3.0)


def pad_to_square(image: Image.Image, settings: PreprocessSettings, background: tuple[int, int, int]) -> Image.Image:
    """Center an image on a square, filled as `--pad-mode` says.

    Args:
        image: of mode RGB or L.
        settings: options of preprocess.
        background: color for `--pad-mode color`.

    Returns:
        an image of `settings.size` pixels per side.
    """
    side = settings.size
    if image.size == (side, side):
        return image
    left, top = (side - image.width) // 2, (side - image.height) // 2
    if settings.pad_mode == "color":
        color = Image.new("RGB", (1, 1), background).convert(image.mode).getpixel((0, 0))
        canvas = Image.new(image.mode, (side, side), color)  # type: ignore[arg-type]
    elif settings.pad_mode == "blur":
        short, offset = min(image.size), (max(image.size) - min(image.size)) / 2
        x, y = (offset, 0.0) if image.width > image.height else (0.0, offset)
        canvas = image.resize((side, side), Image.Resampling.BILINEAR, box=(x, y, x + short, y + short))
        canvas = canvas.filter(ImageFilter.GaussianBlur(side / 12))
    else:
        canvas = _extend_edges(image, side, left, top)
    canvas.paste(image, (left, top))
    return canvas


def _extend_edges(image: Image.Image, side: int, left: int, top: int) -> Image.Image:
    """Repeat the outermost pixels up to the border, blurred where that would draw long streaks."""
    width, height = image.size
    right, bottom = side - left - width, side - top - height
    canvas = Image.new(image.mode, (side, side))
    canvas.paste(image, (left, top))

    def extend(edge_box: tuple[int, int, int, int], size: tuple[int, int], position: tuple[int, int]) -> None:
        if min(size) > 0:
            canvas.paste(canvas.crop(edge_box).resize(size, Image.Resampling.NEAREST), position)

    extend((left, top, left + 1, top + height), (left, height), (0, top))
    extend((left + width - 1, top, left + width, top + height), (right, height), (left + width, top))
    extend((0, top, side, top + 1), (side, top), (0, 0))
    extend((0, top + height - 1, side, top + height), (side, bottom), (0, top + height))
    return canvas.filter(ImageFilter.GaussianBlur(side / 32)) if max(left, top) > 1 else canvas


def to_chw_bytes(image: Image.Image) -> bytes:
    """Return the pixels of an image channel by channel.

    Args:
        image: of mode RGB or L.

    Returns:
        uint8 [C, H, W].
    """
    pixels = image.tobytes()
    return pixels if image.mode == "L" else pixels[0::3] + pixels[1::3] + pixels[2::3]


def gray_plane(pixels: bytes) -> bytes | None:
    """Return one channel of a gray image.

    Args:
        pixels: uint8 [3, H, W].

    Returns:
        uint8 [1, H, W], or None if the three channels differ.
    """
    area = len(pixels) // 3
    plane = pixels[:area]
    return plane if pixels[area : 2 * area] == plane and pixels[2 * area :] == plane else None


def from_chw_bytes(pixels: bytes, channels: int, size: int) -> Image.Image:
    """Make an image of pixels that are ordered channel by channel.

    Args:
        pixels: uint8 [channels, size, size].
        channels: 1 or 3.
        size: side in pixels.

    Returns:
        an image of mode L or RGB.
    """
    area = size * size
    bands = [
        Image.frombytes("L", (size, size), pixels[start : start + area]) for start in range(0, channels * area, area)
    ]
    return bands[0] if channels == 1 else Image.merge("RGB", bands)
