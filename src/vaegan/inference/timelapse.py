"""A training as an animation, of the previews that the run drew."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from vaegan.config.settings import TimelapseSettings
from vaegan.errors import VaeganError, error_text
from vaegan.events import EventHandler, FileWritten, TaskProgress, WarningMessage
from vaegan.run_dir import RunDir
from vaegan.utils.animation import check_animation, save_animation, split_animation_path
from vaegan.utils.files import ensure_within
from vaegan.utils.images import check_overwrite, enlarge, from_pil

if TYPE_CHECKING:
    from torch import Tensor

TARGET_SECONDS = 6
MIN_FPS, MAX_FPS = 1.0, 16.0
MAX_PREVIEW_SIDE = 8192
CAPTION_HEIGHT, CAPTION_MARGIN, CAPTION_FONT_SIZE = 20, 4, 12
CAPTION_COLOR, CAPTION_BACKGROUND = (40, 40, 40), (255, 255, 255)


def evenly_spaced_indices(count: int, max_count: int) -> list[int]:
    """Places of at most `wanted` of `count` things, the first and the last among them, evenly spaced."""
    if count <= max_count:
        return list(range(count))
    return [round(place * (count - 1) / (max_count - 1)) for place in range(max_count)]


@dataclass(frozen=True)
class _PreviewFrames:
    """Previews as frames, uint8 [3, H, W]: one at a time is read, whatever their number."""

    paths: Sequence[Path]
    captions: Sequence[str]
    num_hold_frames: int
    scale: int
    emit: EventHandler

    def __len__(self) -> int:
        return len(self.paths) + self.num_hold_frames

    def __iter__(self) -> Iterator[Tensor]:
        frame: Tensor | None = None
        for place, (path, caption) in enumerate(zip(self.paths, self.captions, strict=True), 1):
            with Image.open(path) as picture:
                frame = enlarge(from_pil(_add_caption(picture.convert("RGB"), caption)), self.scale)
            yield frame
            self.emit(TaskProgress("Drawing", place, len(self.paths), "previews"))
        for _ in range(self.num_hold_frames):
            assert frame is not None
            yield frame


def _add_caption(image: Image.Image, caption: str) -> Image.Image:
    """The picture below a band with a caption; as it is where there is none."""
    if not caption:
        return image
    sheet = Image.new("RGB", (image.width, image.height + CAPTION_HEIGHT), CAPTION_BACKGROUND)
    sheet.paste(image, (0, CAPTION_HEIGHT))
    ImageDraw.Draw(sheet).text(
        (CAPTION_MARGIN, CAPTION_MARGIN), caption, CAPTION_COLOR, ImageFont.load_default(CAPTION_FONT_SIZE)
    )
    return sheet


def _preview_size(path: Path, run: RunDir) -> tuple[int, int]:
    """Width and height of a preview. Raises VaeganError where it is no PNG of a size that can be ours."""
    try:
        with warnings.catch_warnings(), Image.open(ensure_within(path, run.path), formats=("PNG",)) as picture:
            warnings.simplefilter("ignore")
            if max(picture.size) > MAX_PREVIEW_SIDE:
                raise ValueError(f"{picture.width}x{picture.height} pixels")
            picture.load()
            return picture.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VaeganError(f"{path} is damaged ({error_text(error)})") from error


def _usable_previews(run: RunDir, emit: EventHandler) -> list[Path]:
    """The run's previews of the last one's size; what is damaged, or of another size, is told and left out."""
    sizes: dict[Path, tuple[int, int]] = {}
    for path in run.previews():
        try:
            sizes[path] = _preview_size(path, run)
        except VaeganError as error:
            emit(WarningMessage(f"{error}: left out"))
    last = list(sizes.values())[-1:]
    for path, size in sizes.items():
        if size not in last:
            emit(WarningMessage(f"{path} is of another size than the last preview: left out"))
    found = [path for path, size in sizes.items() if size in last]
    if len(found) < 2:
        have = f"{len(found)} preview" if len(found) == 1 else "no previews"
        raise VaeganError(
            f"{run.path} has {have}, a timelapse needs two or more: train on (--sample-every says how often one is"
            " drawn)"
        )
    return found


def write_timelapse(
    run: RunDir, settings: TimelapseSettings, out: Path, force: bool, emit: EventHandler
) -> tuple[Path, int]:
    """Write the animation of a run's previews; returns where it is and how many of them it shows.

    Raises VaeganError where there are fewer than two previews, or `out` holds something of others.
    """
    if not run.exists():
        raise VaeganError(f"{run.path} is no run of vaegan: give the directory that --run named in training")
    base, ending = split_animation_path(out, settings.format)
    place = base.with_name(base.name + ending)
    if place.is_dir():
        raise VaeganError(f"--out {place} is a directory: name a file")
    batch = int(run.read_config()["options"].get("batch_size", 0))
    previews, steps = _usable_previews(run, emit), run.previews()
    chosen = [previews[place] for place in evenly_spaced_indices(len(previews), settings.frames)]
    fps = settings.fps or min(MAX_FPS, max(MIN_FPS, len(chosen) / TARGET_SECONDS))
    captions = [f"step {steps[path]:,}, {steps[path] * batch:,} pictures" for path in chosen]
    if not settings.captions:
        captions = [""] * len(chosen)
    sheets = _PreviewFrames(chosen, captions, round(settings.hold_last * fps), settings.scale, emit)
    width, height = _preview_size(chosen[-1], run)
    band = CAPTION_HEIGHT if settings.captions else 0
    check_animation(place, len(sheets), width * settings.scale, (height + band) * settings.scale, fps)
    check_overwrite([place], force)
    save_animation(sheets, place, fps, f"{len(chosen)} previews of {run.path}")
    emit(FileWritten("timelapse", place))
    return place, len(chosen)
