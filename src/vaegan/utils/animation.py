"""Animations as files: GIF and WebP by Pillow, MP4 by PyAV."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from vaegan.errors import UsageError, VaeganError
from vaegan.utils.files import refuse_nameless, write_bytes
from vaegan.utils.images import EXIF_SOFTWARE, SIGNATURE, to_pil
from vaegan.utils.video import check_video, write_mp4

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 2**29
HELD = {".gif": 1, ".webp": 3, ".mp4": 0}
"""Formats, and how many bytes of each pixel of every frame are held in memory until the file is written."""
OTHERS = (".avi", ".apng", ".bmp", ".jpeg", ".jpg", ".mkv", ".mov", ".tif", ".tiff", ".webm")
QUALITY = 90
FASTEST_GIF = 50
EXIF_DESCRIPTION = 0x010E


class Frames(Protocol):
    """Frames, uint8 [C, H, W] each, all of one shape; may be gone through more than once."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[Tensor]:
        """From the first to the last."""


def place_of(out: Path, kind: str | None) -> tuple[Path, str]:
    """Split what --out says into a name without an ending, and the animation's ending, such as ".gif".

    kind: what --format says, if anything. Raises UsageError where the two contradict or the ending cannot be written.
    """
    refuse_nameless(out)
    suffix = out.suffix.lower()
    if suffix in OTHERS:
        raise UsageError(f"--out {out}: expected a name that ends in {', '.join(HELD)}, or has no ending")
    if suffix in HELD and kind is not None and suffix != f".{kind}":
        raise UsageError(f"--out {out} and --format {kind} contradict each other: give one of them")
    base = out.with_suffix("") if suffix in (*HELD, ".png") else out
    return base, f".{kind or 'gif'}" if suffix not in HELD else suffix


def check_animation(path: Path, count: int, width: int, height: int, fps: float) -> None:
    """Raise VaeganError unless `count` frames of that many pixels can be written to `path`; costs nothing."""
    kind = path.suffix.lower()
    if kind == ".mp4":
        check_video(path)
    if kind == ".gif" and fps > FASTEST_GIF:
        raise UsageError(f"--fps {fps:g}: a GIF shows at most {FASTEST_GIF} frames a second; add --format webp or mp4")
    held = count * width * height * HELD[kind]
    if held > MAX_BYTES:
        raise UsageError(
            f"{count} frames of {width}x{height} pixels take {held / 2**20:,.0f} MiB of memory as a {kind} file (at"
            f" most {MAX_BYTES / 2**20:,.0f}): lower --frames or --scale, or add --format mp4"
        )


def save_animation(frames: Frames, path: Path, fps: float, note: str = "") -> None:
    """Write frames as the endless .gif or .webp, or the .mp4, that `path` names, atomically. See `check_animation`.

    WebP and MP4 lose a little of each frame, GIF all but 256 colours of it. Raises VaeganError when the disk refuses.
    """
    kind, comment = path.suffix.lower(), f"{SIGNATURE}: {note}"
    if kind == ".mp4":
        write_mp4((_even(to_pil(frame)) for frame in frames), path, fps, comment)
    elif kind == ".webp":
        _save_webp(frames, path, fps, comment)
    elif kind == ".gif":
        _save_gif(frames, path, fps, comment)
    else:
        raise VaeganError(f"{path}: an animation ends in {', '.join(HELD)}")


def _even(picture: Image.Image) -> Image.Image:
    """RGB, its last column and row once more where their number is odd: video comes in blocks of 2x2 pixels."""
    right, below = picture.width % 2, picture.height % 2
    even = Image.new("RGB", (picture.width + right, picture.height + below))
    for corner in ((right, below), (right, 0), (0, below), (0, 0)):
        even.paste(picture, corner)
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
        quality=QUALITY,
        exif=exif.tobytes(),
    )
    write_bytes(path, buffer.getvalue())
