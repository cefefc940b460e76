"""A training as an animation, of the previews that the run drew."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from vaegan.config.settings import TimelapseSettings
from vaegan.errors import VaeganError, reason
from vaegan.events import Counted, Emit, Warned, Wrote
from vaegan.run_dir import Run
from vaegan.utils.animation import check_animation, place_of, save_animation
from vaegan.utils.files import inside
from vaegan.utils.images import enlarge, from_pil, refuse_foreign

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 6
SLOWEST, FASTEST = 1.0, 16.0
MAX_SIDE = 8192
BAND, MARGIN, FONT = 20, 4, 12
INK, PAPER = (40, 40, 40), (255, 255, 255)


def evenly(count: int, wanted: int) -> list[int]:
    """Places of at most `wanted` of `count` things, the first and the last among them, evenly spaced."""
    if count <= wanted:
        return list(range(count))
    return [round(place * (count - 1) / (wanted - 1)) for place in range(wanted)]


@dataclass(frozen=True)
class _Sheets:
    """Previews as frames, uint8 [3, H, W]: one at a time is read, whatever their number."""

    paths: Sequence[Path]
    captions: Sequence[str]
    again: int
    scale: int
    emit: Emit

    def __len__(self) -> int:
        return len(self.paths) + self.again

    def __iter__(self) -> Iterator[Tensor]:
        frame: Tensor | None = None
        for place, (path, caption) in enumerate(zip(self.paths, self.captions, strict=True), 1):
            with Image.open(path) as picture:
                frame = enlarge(from_pil(_captioned(picture.convert("RGB"), caption)), self.scale)
            yield frame
            self.emit(Counted("Drawing", place, len(self.paths), "previews"))
        for _ in range(self.again):
            assert frame is not None
            yield frame


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture below a band with a caption; as it is where there is none."""
    if not caption:
        return picture
    sheet = Image.new("RGB", (picture.width, picture.height + BAND), PAPER)
    sheet.paste(picture, (0, BAND))
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN), caption, INK, ImageFont.load_default(FONT))
    return sheet


def _whole(path: Path, run: Run) -> tuple[int, int]:
    """Width and height of a preview. Raises VaeganError where it is no PNG of a size that can be ours."""
    try:
        with warnings.catch_warnings(), Image.open(inside(path, run.path), formats=("PNG",)) as picture:
            warnings.simplefilter("ignore")
            if max(picture.size) > MAX_SIDE:
                raise ValueError(f"{picture.width}x{picture.height} pixels")
            picture.load()
            return picture.size
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VaeganError(f"{path} is damaged ({reason(error)})") from error


def _usable(run: Run, emit: Emit) -> list[Path]:
    """The run's previews of the last one's size; what is damaged, or of another size, is told and left out."""
    sizes: dict[Path, tuple[int, int]] = {}
    for path in run.previews():
        try:
            sizes[path] = _whole(path, run)
        except VaeganError as error:
            emit(Warned(f"{error}: left out"))
    last = list(sizes.values())[-1:]
    for path, size in sizes.items():
        if size not in last:
            emit(Warned(f"{path} is of another size than the last preview: left out"))
    found = [path for path, size in sizes.items() if size in last]
    if len(found) < 2:
        have = f"{len(found)} preview" if len(found) == 1 else "no previews"
        raise VaeganError(
            f"{run.path} has {have}, a timelapse needs two or more: train on (--preview-every says how often one is"
            " drawn)"
        )
    return found


def write_timelapse(run: Run, settings: TimelapseSettings, out: Path, force: bool, emit: Emit) -> tuple[Path, int]:
    """Write the animation of a run's previews; returns where it is and how many of them it shows.

    Raises VaeganError where there are fewer than two previews, or `out` holds something of others.
    """
    if not run.exists():
        raise VaeganError(f"{run.path} is no run of vaegan: give the directory that --run named in training")
    base, ending = place_of(out, settings.format)
    place = base.with_name(base.name + ending)
    if place.is_dir():
        raise VaeganError(f"--out {place} is a directory: name a file")
    batch = int(run.config()["options"].get("batch_size", 0))
    previews, steps = _usable(run, emit), run.previews()
    chosen = [previews[place] for place in evenly(len(previews), settings.frames)]
    fps = settings.fps or min(FASTEST, max(SLOWEST, len(chosen) / SECONDS))
    captions = [f"step {steps[path]:,}, {steps[path] * batch:,} pictures" for path in chosen]
    if not settings.captions:
        captions = [""] * len(chosen)
    sheets = _Sheets(chosen, captions, round(settings.hold * fps), settings.scale, emit)
    width, height = _whole(chosen[-1], run)
    band = BAND if settings.captions else 0
    check_animation(place, len(sheets), width * settings.scale, (height + band) * settings.scale, fps)
    refuse_foreign([place], force)
    save_animation(sheets, place, fps, f"{len(chosen)} previews of {run.path}")
    emit(Wrote("timelapse", place))
    return place, len(chosen)
