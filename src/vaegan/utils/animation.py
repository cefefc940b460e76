"""Write animations: GIF and WebP with Pillow, MP4 with PyAV."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from vaegan.errors import UsageError, VaeganError
from vaegan.utils.files import check_has_file_name, write_bytes
from vaegan.utils.images import EXIF_SOFTWARE, SIGNATURE, to_pil, valid_unicode
from vaegan.utils.video import require_pyav, write_mp4

if TYPE_CHECKING:
    from torch import Tensor

MAX_ANIMATION_BYTES = 2**29
BYTES_HELD_PER_PIXEL = {".gif": 1, ".webp": 3, ".mp4": 0}
"""Supported formats, and the memory that encoding takes per pixel of all frames together."""
FILE_ENDING = re.compile(r"\.(?=.*[a-z])[a-z0-9]{2,5}")
"""Endings that name a file format, such as .mov, but not the .5 of v1.5."""
WEBP_QUALITY = 90
MAX_GIF_FPS = 50
EXIF_DESCRIPTION = 0x010E


class Frames(Protocol):
    """Frames of one shape, uint8 [C, H, W] each, that can be iterated more than once."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


def split_animation_path(out: Path, format_name: str | None, has_strip: bool = True) -> tuple[Path, str]:
    """Split --out into a path without suffix and the suffix of the animation, and check it with --format.

    Args:
        out: path with the suffix of an animation, or without one; with `has_strip` also that of the strip, .png.
        format_name: value of --format.
        has_strip: whether a strip is written beside the animation.

    Returns:
        the path, and the suffix, such as ".gif".

    Raises:
        UsageError: if the suffix is unknown or contradicts the format.
    """
    check_has_file_name(out)
    suffix = out.suffix.lower()
    known_suffixes = (*BYTES_HELD_PER_PIXEL, *((".png",) if has_strip else ()))
    if suffix not in known_suffixes and FILE_ENDING.fullmatch(suffix):
        raise UsageError(
            f"--out {out}: expected a name that ends in {', '.join(BYTES_HELD_PER_PIXEL)}, or has no ending"
        )
    if suffix in BYTES_HELD_PER_PIXEL and format_name is not None and suffix != f".{format_name}":
        raise UsageError(f"--out {out} and --format {format_name} contradict each other: give one of them")
    base = out.with_suffix("") if suffix in known_suffixes else out
    return base, suffix if suffix in BYTES_HELD_PER_PIXEL else f".{format_name or 'gif'}"


def require_format(
    out: Path | None, format_name: str | None, default_out: Path = Path("animation"), has_strip: bool = True
) -> Path:
    """Check that animations of a format can be written here, before anything is loaded for them.

    Args:
        out: value of --out; None for its default.
        format_name: value of --format.
        default_out: the default of --out.
        has_strip: as in `split_animation_path`.

    Returns:
        path of the animation.

    Raises:
        UsageError: as in `split_animation_path`.
        VaeganError: if a package is missing.
    """
    base, suffix = split_animation_path(default_out if out is None else out, format_name, has_strip)
    path = base.with_name(base.name + suffix)
    if suffix == ".mp4":
        require_pyav("--format mp4" if out is None else path)
    return path


def check_animation(path: Path, num_frames: int, width: int, height: int, fps: float) -> None:
    """Check that an animation can be written.

    Args:
        path: file with the suffix of an animation.
        num_frames: number of frames.
        width: in pixels.
        height: in pixels.
        fps: frames per second.

    Raises:
        UsageError: if it is too large, or the format does not allow the rate.
        VaeganError: if a package is missing.
    """
    suffix = path.suffix.lower()
    if suffix == ".mp4":
        require_pyav(path)
    if suffix == ".gif" and fps > MAX_GIF_FPS:
        raise UsageError(f"--fps {fps:g}: a GIF shows at most {MAX_GIF_FPS} frames a second; add --format webp or mp4")
    num_bytes = num_frames * width * height * BYTES_HELD_PER_PIXEL[suffix]
    if num_bytes > MAX_ANIMATION_BYTES:
        raise UsageError(
            f"{num_frames} frames of {width}x{height} pixels take {num_bytes / 2**20:,.0f} MiB of memory as a {suffix}"
            f" file (at most {MAX_ANIMATION_BYTES / 2**20:,.0f}): lower --frames or --scale, or add --format mp4"
        )


def save_animation(frames: Frames, path: Path, fps: float, note: str = "") -> None:
    """Write frames to a .gif, .webp (both loop endlessly) or .mp4 file, atomically.

    WebP and MP4 compress with a small loss; GIF keeps 256 colors per frame. Call `check_animation` first.

    Args:
        frames: uint8 [C, H, W] each.
        path: file to write.
        fps: frames per second.
        note: where the frames come from; it is stored in the file.

    Raises:
        VaeganError: if the file cannot be written.
    """
    suffix, comment = path.suffix.lower(), f"{SIGNATURE}: {valid_unicode(note)}"
    if suffix == ".mp4":
        write_mp4((_pad_to_even(to_pil(frame)) for frame in frames), path, fps, comment)
    elif suffix == ".webp":
        _save_webp(frames, path, fps, comment)
    elif suffix == ".gif":
        _save_gif(frames, path, fps, comment)
    else:
        raise VaeganError(f"{path}: an animation ends in {', '.join(BYTES_HELD_PER_PIXEL)}")


def _pad_to_even(image: Image.Image) -> Image.Image:
    """Repeat the last column and row of an odd-sized image: 4:2:0 video stores color in blocks of 2x2 pixels."""
    right, bottom = image.width % 2, image.height % 2
    padded = Image.new("RGB", (image.width + right, image.height + bottom))
    for offset in ((right, bottom), (right, 0), (0, bottom), (0, 0)):  # the last paste covers all but the padding
        padded.paste(image, offset)
    return padded


def _save_gif(frames: Frames, path: Path, fps: float, comment: str) -> None:
    images = (image if image.mode == "L" else image.quantize(256) for image in map(to_pil, frames))
    milliseconds = max(20, round(100 / fps) * 10)  # the format counts in hundredths of a second
    buffer = io.BytesIO()
    next(images).save(
        buffer, "GIF", save_all=True, append_images=images, loop=0, duration=milliseconds, comment=comment.encode()
    )
    write_bytes(path, buffer.getvalue())


def _save_webp(frames: Frames, path: Path, fps: float, comment: str) -> None:
    images = (to_pil(frame).convert("RGB") for frame in frames)
    exif = Image.Exif()
    exif[EXIF_SOFTWARE], exif[EXIF_DESCRIPTION] = SIGNATURE, comment
    # Whole milliseconds whose sum does not drift from the true duration.
    start_times = [round(1000 * index / fps) for index in range(len(frames) + 1)]
    durations = [end - start for start, end in pairwise(start_times)]
    options = {"duration": durations, "quality": WEBP_QUALITY, "exif": exif.tobytes()}
    buffer = io.BytesIO()
    next(images).save(buffer, "WEBP", save_all=True, append_images=images, loop=0, **options)
    write_bytes(path, buffer.getvalue())
