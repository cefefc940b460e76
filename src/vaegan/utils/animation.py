"""Animations as files: GIF and WebP by Pillow, MP4 by PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from vaegan.errors import UsageError, VaeganError
from vaegan.utils.files import check_has_file_name, write_bytes
from vaegan.utils.images import EXIF_SOFTWARE, SIGNATURE, to_pil
from vaegan.utils.video import require_pyav, write_mp4

if TYPE_CHECKING:
    from torch import Tensor

MAX_ANIMATION_BYTES = 2**29
BYTES_HELD_PER_PIXEL = {".gif": 1, ".webp": 3, ".mp4": 0}
"""Formats, and how many bytes of each pixel of every frame are held in memory until the file is written."""
UNSUPPORTED_SUFFIXES = (".avi", ".apng", ".bmp", ".jpeg", ".jpg", ".mkv", ".mov", ".tif", ".tiff", ".webm")
WEBP_QUALITY = 90
MAX_GIF_FPS = 50
EXIF_DESCRIPTION = 0x010E


class Frames(Protocol):
    """Frames, uint8 [C, H, W] each, all of one shape; may be gone through more than once."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Tensor]:
        """From the first to the last."""


def split_animation_path(out: Path, format_name: str | None) -> tuple[Path, str]:
    """Split what --out says into a name without an ending, and the animation's ending, such as ".gif".

    kind: what --format says, if anything. Raises UsageError where the two contradict or the ending cannot be written.
    """
    check_has_file_name(out)
    suffix = out.suffix.lower()
    if suffix in UNSUPPORTED_SUFFIXES:
        raise UsageError(
            f"--out {out}: expected a name that ends in {', '.join(BYTES_HELD_PER_PIXEL)}, or has no ending"
        )
    if suffix in BYTES_HELD_PER_PIXEL and format_name is not None and suffix != f".{format_name}":
        raise UsageError(f"--out {out} and --format {format_name} contradict each other: give one of them")
    base = out.with_suffix("") if suffix in (*BYTES_HELD_PER_PIXEL, ".png") else out
    return base, f".{format_name or 'gif'}" if suffix not in BYTES_HELD_PER_PIXEL else suffix


def check_animation(path: Path, num_frames: int, width: int, height: int, fps: float) -> None:
    """Raise VaeganError unless `count` frames of that many pixels can be written to `path`; costs nothing."""
    kind = path.suffix.lower()
    if kind == ".mp4":
        require_pyav(path)
    if kind == ".gif" and fps > MAX_GIF_FPS:
        raise UsageError(f"--fps {fps:g}: a GIF shows at most {MAX_GIF_FPS} frames a second; add --format webp or mp4")
    held = num_frames * width * height * BYTES_HELD_PER_PIXEL[kind]
    if held > MAX_ANIMATION_BYTES:
        raise UsageError(
            f"{num_frames} frames of {width}x{height} pixels take {held / 2**20:,.0f} MiB of memory as a {kind} file (at"
            f" most {MAX_ANIMATION_BYTES / 2**20:,.0f}): lower --frames or --scale, or add --format mp4"
        )


def save_animation(frames: Frames, path: Path, fps: float, note: str = "") -> None:
    """Write frames as the endless .gif or .webp, or the .mp4, that `path` names, atomically. See `check_animation`.

    WebP and MP4 lose a little of each frame, GIF all but 256 colours of it. Raises VaeganError when the disk refuses.
    """
    kind, comment = path.suffix.lower(), f"{SIGNATURE}: {note}"
    if kind == ".mp4":
        write_mp4((_pad_to_even(to_pil(frame)) for frame in frames), path, fps, comment)
    elif kind == ".webp":
        _save_webp(frames, path, fps, comment)
    elif kind == ".gif":
        _save_gif(frames, path, fps, comment)
    else:
        raise VaeganError(f"{path}: an animation ends in {', '.join(BYTES_HELD_PER_PIXEL)}")


def _pad_to_even(image: Image.Image) -> Image.Image:
    """RGB, its last column and row once more where their number is odd: video comes in blocks of 2x2 pixels."""
    right, below = image.width % 2, image.height % 2
    even = Image.new("RGB", (image.width + right, image.height + below))
    for corner in ((right, below), (right, 0), (0, below), (0, 0)):
        even.paste(image, corner)
    return even


def _save_gif(frames: Frames, path: Path, fps: float, comment: str) -> None:
    """GIF's times are hundredths of a second."""
    pictures = (picture if picture.mode == "L" else picture.quantize(256) for picture in map(to_pil, frames))
    options = {"duration": max(20, round(100 / fps) * 10), "comment": comment.encode()}
    buffer = io.BytesIO()
    next(pictures).save(buffer, "GIF", save_all=True, append_images=pictures, loop=0, **options)
    write_bytes(path, buffer.getvalue())


def _save_webp(frames: Frames, path: Path, fps: float, comment: str) -> None:
    pictures = (to_pil(frame).convert("RGB") for frame in frames)
    exif = Image.Exif()
    exif[EXIF_SOFTWARE], exif[EXIF_DESCRIPTION] = SIGNATURE, comment
    times = [round(1000 * (place + 1) / fps) - round(1000 * place / fps) for place in range(len(frames))]
    buffer = io.BytesIO()
    next(pictures).save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures,
        loop=0,
        duration=times,
        quality=WEBP_QUALITY,
        exif=exif.tobytes(),
    )
    write_bytes(path, buffer.getvalue())
