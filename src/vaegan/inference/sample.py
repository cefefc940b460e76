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
from vaegan.events import EventHandler, FileWritten, TaskProgress
from vaegan.inference.model import Model
from vaegan.utils.images import check_overwrite, enlarge, is_made_by_vaegan, make_grid, save_png

MAX_GRID_IMAGES = 16_384
NUM_WRITER_THREADS = 8


def provenance_note(model: Model, description: str) -> str:
    """What a picture file says of its making."""
    weights = model.info
    return f"{description} of {weights.path}, {weights.kind} at step {weights.step}"


def check_not_directory(path: Path) -> None:
    """Raise VaeganError where a file is to be written over a directory."""
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / 'samples.png'}")


def check_grid_path(path: Path, count: int, force: bool) -> None:
    """Raise VaeganError unless a sheet of `count` pictures may be written to `path`."""
    if count > MAX_GRID_IMAGES:
        raise UsageError(f"{count} pictures do not fit one sheet (at most {MAX_GRID_IMAGES}): add --separate")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a sheet is a .png file; add --separate for a folder of pictures")
    check_not_directory(path)
    check_overwrite([path], force)


def save_grid(batches: Iterable[Tensor], count: int, scale: int, path: Path, note: str, emit: EventHandler) -> None:
    """Write one PNG sheet of `count` pictures, uint8 [N, C, S, S] at a time; see `check_sheet`."""
    drawn: list[Tensor] = []
    for part in batches:
        drawn.append(part)
        emit(TaskProgress("Drawing", sum(map(len, drawn)), count))
    save_png(enlarge(make_grid(torch.cat(drawn)), scale), path, note)
    emit(FileWritten("samples", path))


def check_image_folder(folder: Path, force: bool) -> None:
    """Raise VaeganError unless `folder` is new, empty, or holds pictures of ours only."""
    if folder.exists() and not folder.is_dir():
        raise VaeganError(f"--out {folder} is a file: with --separate name a folder")
    if folder.is_dir() and not force:
        foreign = next((path for path in sorted(folder.iterdir()) if not is_made_by_vaegan(path)), None)
        if foreign is not None:
            raise VaeganError(f"{foreign} was not made by vaegan: choose another --out, or add --force")


def save_separately(
    batches: Iterable[Tensor], names: Sequence[str], scale: int, folder: Path, note: str, emit: EventHandler
) -> None:
    """Write each picture to NAME.png in `folder`; `note` is followed by its name. See `check_folder`.

    Threads compress and write pictures while the next ones are drawn.
    """

    def write(picture: Tensor, name: str) -> None:
        save_png(enlarge(picture, scale), folder / f"{name}.png", f"{note}, {name}", durable=False)

    writing: list[Future[None]] = []
    done = 0
    with ThreadPoolExecutor(min(NUM_WRITER_THREADS, os.cpu_count() or 1), "write-png") as pool:
        for part in batches:
            for written in writing:
                written.result()
            emit(TaskProgress("Drawing", done, len(names)))
            writing = [pool.submit(write, picture, name) for picture, name in zip(part, names[done:], strict=False)]
            done += len(part)
        for written in writing:
            written.result()
    emit(TaskProgress("Drawing", done, len(names)))
    emit(FileWritten("samples", folder))


def save_sample_grid(
    model: Model, seeds: Sequence[int], settings: SampleSettings, path: Path, force: bool, emit: EventHandler
) -> None:
    """Write one PNG sheet of the seeds' pictures. Raises VaeganError when `path` holds something of others."""
    check_grid_path(path, len(seeds), force)
    note = provenance_note(model, f"seeds {seeds[0]} to {seeds[-1]}")
    save_grid(model.sample_batches(seeds, settings.truncation), len(seeds), settings.scale, path, note, emit)


def save_samples_separately(
    model: Model, seeds: Sequence[int], settings: SampleSettings, folder: Path, force: bool, emit: EventHandler
) -> None:
    """Write seed-0000007.png and so on into `folder`, which is empty, new, or holds samples of ours."""
    check_image_folder(folder, force)
    names = [f"seed-{seed:07d}" for seed in seeds]
    parts = model.sample_batches(seeds, settings.truncation)
    save_separately(parts, names, settings.scale, folder, provenance_note(model, "a sample"), emit)
