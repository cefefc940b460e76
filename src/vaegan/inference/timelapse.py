"""Write the previews of a run as an animation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from vaegan.config.option_types import TimelapseOptions
from vaegan.config.options import build_settings
from vaegan.config.tool_settings import TimelapseSettings
from vaegan.errors import VaeganError, error_text
from vaegan.events import EventHandler, FileWritten, TaskProgress, WarningMessage
from vaegan.progress.reporter import default_reporter
from vaegan.run_dir import RunDir
from vaegan.utils.animation import check_animation, require_format, save_animation
from vaegan.utils.files import check_writable, ensure_within, note_replaced, open_regular, real_path
from vaegan.utils.images import check_overwrite, enlarge, from_pil

if TYPE_CHECKING:
    from torch import Tensor

TARGET_SECONDS = 6
MIN_FPS, MAX_FPS = 1.0, 16.0
MAX_PREVIEW_SIDE = 8192
CAPTION_HEIGHT, CAPTION_MARGIN, CAPTION_FONT_SIZE = 20, 4, 12
CAPTION_COLOR, CAPTION_BACKGROUND = (40, 40, 40), (255, 255, 255)


def evenly_spaced_indices(count: int, max_count: int) -> list[int]:
    """Return evenly spaced indices, the first and the last included.

    Args:
        count: number of items.
        max_count: largest number of indices, at least 2.

    Returns:
        indices in ascending order.
    """
    if count <= max_count:
        return list(range(count))
    return [round(index * (count - 1) / (max_count - 1)) for index in range(max_count)]


@dataclass(frozen=True)
class _PreviewFrames:
    """Previews as frames, uint8 [3, H, W], read one at a time; the last is repeated `num_hold_frames` times."""

    paths: Sequence[Path]
    captions: Sequence[str]
    num_hold_frames: int
    scale: int
    emit: EventHandler

    def __len__(self) -> int:
        return len(self.paths) + self.num_hold_frames

    def __iter__(self) -> Iterator[Tensor]:
        for index, (path, caption) in enumerate(zip(self.paths, self.captions, strict=True)):
            with open_regular(path) as file, Image.open(file) as image:
                frame = enlarge(from_pil(_add_caption(image.convert("RGB"), caption)), self.scale)
            yield frame
            self.emit(TaskProgress("Reading", index + 1, len(self.paths), "previews"))
        for _ in range(self.num_hold_frames):
            yield frame


def _add_caption(image: Image.Image, caption: str) -> Image.Image:
    if not caption:
        return image
    captioned = Image.new("RGB", (image.width, image.height + CAPTION_HEIGHT), CAPTION_BACKGROUND)
    captioned.paste(image, (0, CAPTION_HEIGHT))
    position, font = (CAPTION_MARGIN, CAPTION_MARGIN), ImageFont.load_default(CAPTION_FONT_SIZE)
    ImageDraw.Draw(captioned).text(position, caption, CAPTION_COLOR, font)
    return captioned


def _preview_size(path: Path, run_dir: RunDir) -> tuple[int, int]:
    """Return width and height of a preview; raise VaeganError if it is damaged or too large."""
    try:
        with (
            warnings.catch_warnings(),
            open_regular(ensure_within(path, run_dir.path)) as file,
            Image.open(file, formats=("PNG",)) as image,
        ):
            warnings.simplefilter("ignore")
            if max(image.size) > MAX_PREVIEW_SIDE:
                raise ValueError(f"{image.width}x{image.height} pixels")
            image.load()
            return image.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VaeganError(f"{path} is damaged ({error_text(error)})") from error


def _usable_previews(run_dir: RunDir, emit: EventHandler) -> tuple[list[Path], tuple[int, int]]:
    """Return the previews that have the size of the last one, and that size; warn about the others."""
    sizes: dict[Path, tuple[int, int]] = {}
    for path in run_dir.previews():
        try:
            sizes[path] = _preview_size(path, run_dir)
        except VaeganError as error:
            emit(WarningMessage(f"{error}: left out"))
    last_size = list(sizes.values())[-1] if sizes else (0, 0)
    for path, size in sizes.items():
        if size != last_size:
            emit(WarningMessage(f"{path} has another size than the last preview: left out"))
    previews = [path for path, size in sizes.items() if size == last_size]
    if len(previews) < 2:
        count = f"{len(previews)} preview" if len(previews) == 1 else "no previews"
        raise VaeganError(
            f"{run_dir.path} has {count}, a timelapse needs two or more: continue the training (--sample-every sets the"
            " steps between previews)"
        )
    return previews, last_size


def timelapse(
    run: Path | str,
    out: Path | str | None = None,
    *,
    force: bool = False,
    on_event: EventHandler | None = None,
    **options: Unpack[TimelapseOptions],
) -> Path:
    """Write the previews of a run as an animation.

    Args:
        run: run directory.
        out: path of the animation, with or without its suffix; by default it is made from the run's name, in samples/.
        force: allow to replace a file that vaegan did not make.
        on_event: is called with every event (see `vaegan.events`). By default progress is shown in a terminal and in a
            notebook.
        **options: the fields of `TimelapseSettings`, such as format="mp4".

    Returns:
        the animation's path.

    Raises:
        VaeganError: if there are fewer than two previews, or the animation may not be written to `out`.
    """
    settings = build_settings(TimelapseSettings, options)
    with default_reporter(on_event) as emit:
        return write_timelapse(RunDir(Path(run)), settings, out, force, emit)[0]


def write_timelapse(
    run_dir: RunDir, settings: TimelapseSettings, out: Path | str | None, force: bool, emit: EventHandler
) -> tuple[Path, int]:
    """Write the previews of a run as an animation.

    Args:
        run_dir: the run.
        settings: options of timelapse.
        out: path of the animation, with or without its suffix; by default it is made from the run's name, in samples/.
        force: allow to replace a file that vaegan did not make.
        emit: receives a FileWritten.

    Returns:
        the animation's path, and the number of previews in it.

    Raises:
        VaeganError: if there are fewer than two previews, or the animation may not be written to `out`.
    """
    if not run_dir.exists():
        raise VaeganError(f"{run_dir.path} is not a run of vaegan: give the directory that --run named in training")
    default_out = Path("samples") / f"{real_path(run_dir.path).name}-timelapse"
    path = require_format(None if out is None else Path(out), settings.format, default_out, has_strip=False)
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file")

    # Choose the previews and the frame rate.
    previews, (width, height) = _usable_previews(run_dir, emit)
    chosen = [previews[index] for index in evenly_spaced_indices(len(previews), settings.frames)]
    fps = settings.fps or min(MAX_FPS, max(MIN_FPS, len(chosen) / TARGET_SECONDS))
    captions, caption_height = [""] * len(chosen), 0
    if settings.captions:
        batch_size, steps = int(run_dir.read_config()["options"].get("batch_size", 0)), run_dir.previews()
        captions = [f"step {steps[preview]:,}, {steps[preview] * batch_size:,} images" for preview in chosen]
        caption_height = CAPTION_HEIGHT
    frames = _PreviewFrames(chosen, captions, round(settings.hold_last * fps), settings.scale, emit)

    # Check, then write.
    check_animation(path, len(frames), width * settings.scale, (height + caption_height) * settings.scale, fps)
    check_overwrite([path], force)
    check_writable(path)
    note_replaced([path], emit)
    save_animation(frames, path, fps, f"{len(chosen)} previews of {run_dir.path}")
    emit(FileWritten("timelapse", path))
    return path, len(chosen)
