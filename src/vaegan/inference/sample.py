"""Sampled pictures as files: sheets and single pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.settings import SampleSettings
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Counted, Emit, Wrote
from vaegan.inference.model import Model
from vaegan.utils.images import enlarge, grid, is_ours, refuse_foreign, save_png

MAX_SHEET = 16_384
WRITERS = 8


def note_of(model: Model, what: str) -> str:
    """What a picture file says of its making."""
    weights = model.weights
    return f"{what} of {weights.path}, {weights.kind} at step {weights.step}"


def refuse_directory(path: Path) -> None:
    """Raise VaeganError where a file is to be written over a directory."""
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / 'samples.png'}")


def check_sheet(path: Path, count: int, force: bool) -> None:
    """Raise VaeganError unless a sheet of `count` pictures may be written to `path`."""
    if count > MAX_SHEET:
        raise UsageError(f"{count} pictures do not fit one sheet (at most {MAX_SHEET}): add --separate")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a sheet is a .png file; add --separate for a folder of pictures")
    refuse_directory(path)
    refuse_foreign([path], force)


def draw_sheet(parts: Iterable[Tensor], count: int, scale: int, path: Path, note: str, emit: Emit) -> None:
    """Write one PNG sheet of `count` pictures, uint8 [N, C, S, S] at a time; see `check_sheet`."""
    drawn: list[Tensor] = []
    for part in parts:
        drawn.append(part)
        emit(Counted("Drawing", sum(map(len, drawn)), count))
    save_png(enlarge(grid(torch.cat(drawn)), scale), path, note)
    emit(Wrote("samples", path))


def check_folder(folder: Path, force: bool) -> None:
    """Raise VaeganError unless `folder` is new, empty, or holds pictures of ours only."""
    if folder.exists() and not folder.is_dir():
        raise VaeganError(f"--out {folder} is a file: with --separate name a folder")
    if folder.is_dir() and not force:
        foreign = next((path for path in sorted(folder.iterdir()) if not is_ours(path)), None)
        if foreign is not None:
            raise VaeganError(f"{foreign} was not made by vaegan: choose another --out, or add --force")


def draw_separate(
    parts: Iterable[Tensor], names: Sequence[str], scale: int, folder: Path, note: str, emit: Emit
) -> None:
    """Write each picture to NAME.png in `folder`; `note` is followed by its name. See `check_folder`.

    Threads compress and write pictures while the next ones are drawn.
    """

    def write(picture: Tensor, name: str) -> None:
        save_png(enlarge(picture, scale), folder / f"{name}.png", f"{note}, {name}", durable=False)

    writing: list[Future[None]] = []
    done = 0
    with ThreadPoolExecutor(min(WRITERS, os.cpu_count() or 1), "write-png") as pool:
        for part in parts:
            for written in writing:
                written.result()
            emit(Counted("Drawing", done, len(names)))
            writing = [pool.submit(write, picture, name) for picture, name in zip(part, names[done:], strict=False)]
            done += len(part)
        for written in writing:
            written.result()
    emit(Counted("Drawing", done, len(names)))
    emit(Wrote("samples", folder))


def write_sheet(
    model: Model, seeds: Sequence[int], settings: SampleSettings, path: Path, force: bool, emit: Emit
) -> None:
    """Write one PNG sheet of the seeds' pictures. Raises VaeganError when `path` holds something of others."""
    check_sheet(path, len(seeds), force)
    note = note_of(model, f"seeds {seeds[0]} to {seeds[-1]}")
    draw_sheet(model.batches(seeds, settings.truncation), len(seeds), settings.scale, path, note, emit)


def write_separate(
    model: Model, seeds: Sequence[int], settings: SampleSettings, folder: Path, force: bool, emit: Emit
) -> None:
    """Write seed-0000007.png and so on into `folder`, which is empty, new, or holds samples of ours."""
    check_folder(folder, force)
    names = [f"seed-{seed:07d}" for seed in seeds]
    parts = model.batches(seeds, settings.truncation)
    draw_separate(parts, names, settings.scale, folder, note_of(model, "a sample"), emit)
