"""Sampled pictures and walks as files: sheets, single pictures, strips and animations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from vaegan.errors import UsageError, VaeganError
from vaegan.events import Counted, Emit, Wrote
from vaegan.generation import Model
from vaegan.images import enlarge, grid, is_ours, refuse_foreign, save_gif, save_png
from vaegan.settings import InterpolateSettings, SampleSettings

MAX_SHEET = 16_384
MAX_FRAMES = 10_000
STRIP = 10


def _note(model: Model, what: str) -> str:
    weights = model.weights
    return f"{what} of {weights.path}, {weights.kind} at step {weights.step}"


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / 'samples.png'}")


def write_sheet(
    model: Model, seeds: Sequence[int], settings: SampleSettings, path: Path, force: bool, emit: Emit
) -> None:
    """Write one PNG sheet of the seeds' pictures. Raises VaeganError when `path` holds something of others."""
    if len(seeds) > MAX_SHEET:
        raise UsageError(f"{len(seeds)} pictures do not fit one sheet (at most {MAX_SHEET}): add --separate")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a sheet is a .png file; add --separate for a folder of pictures")
    _refuse_directory(path)
    refuse_foreign([path], force)
    parts = []
    for part in model.batches(seeds, settings.truncation):
        parts.append(part)
        emit(Counted("Drawing", sum(map(len, parts)), len(seeds)))
    save_png(enlarge(grid(torch.cat(parts)), settings.scale), path, _note(model, f"seeds {seeds[0]} to {seeds[-1]}"))
    emit(Wrote("samples", path))


def write_separate(
    model: Model, seeds: Sequence[int], settings: SampleSettings, folder: Path, force: bool, emit: Emit
) -> None:
    """Write seed-0000007.png and so on into `folder`, which is empty, new, or holds samples of ours."""
    if folder.exists() and not folder.is_dir():
        raise VaeganError(f"--out {folder} is a file: with --separate name a folder")
    if folder.is_dir() and not force:
        foreign = next((path for path in sorted(folder.iterdir()) if not is_ours(path)), None)
        if foreign is not None:
            raise VaeganError(f"{foreign} was not made by vaegan: choose another --out, or add --force")
    done = 0
    for part in model.batches(seeds, settings.truncation):
        for picture in part:
            path = folder / f"seed-{seeds[done]:07d}.png"
            save_png(enlarge(picture, settings.scale), path, _note(model, f"seed {seeds[done]}"), durable=False)
            done += 1
        emit(Counted("Drawing", done, len(seeds)))
    emit(Wrote("samples", folder))


def write_walk(
    model: Model, seeds: Sequence[int], settings: InterpolateSettings, place: Path, force: bool, emit: Emit
) -> tuple[Path, Path]:
    """Write the walk as a strip, one row a leg, and as an animation there and back; returns both paths."""
    base = place.with_suffix("") if place.suffix.lower() in (".png", ".gif") else place
    strip, animation = base.with_name(base.name + ".png"), base.with_name(base.name + ".gif")
    legs = len(seeds) - 1
    if legs * settings.frames > MAX_FRAMES:
        raise UsageError(f"{legs * settings.frames} frames are too many (at most {MAX_FRAMES}): lower --frames")
    for path in (strip, animation):
        _refuse_directory(path)
    refuse_foreign([strip, animation], force)
    frames = model.interpolate(seeds, settings.frames, settings.method, settings.truncation)
    shown = min(STRIP, settings.frames)
    columns = torch.linspace(0, settings.frames - 1, shown).round().long()
    rows = [frames[leg * (settings.frames - 1) + columns] for leg in range(legs)]
    note = _note(model, f"walk from seed {seeds[0]} to {seeds[-1]}")
    save_png(grid(torch.cat(rows), columns=shown), strip, note)
    emit(Wrote("strip", strip))
    there_and_back = torch.cat([frames, frames.flip(0)[1:-1]])
    save_gif(enlarge(there_and_back, settings.scale), animation, settings.fps, note)
    emit(Wrote("animation", animation))
    return strip, animation
