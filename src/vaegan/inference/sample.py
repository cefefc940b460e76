"""Write sampled images to files: one grid, or one file per image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.tool_settings import SampleSettings
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, FileWritten, TaskProgress
from vaegan.inference.model import Model
from vaegan.utils.images import check_overwrite, enlarge, is_made_by_vaegan, make_grid, save_png

MAX_GRID_IMAGES = 16_384
NUM_WRITER_THREADS = 8


def provenance_note(model: Model, description: str) -> str:
    """Return the note that an image file gets.

    Args:
        model: the model.
        description: what the file shows.

    Returns:
        the note, such as "seeds 0 to 63 of runs/gan/model.safetensors, gan at step 9".
    """
    return f"{description} of {model.info.path}, {model.info.kind} at step {model.info.step}"


def check_not_directory(path: Path) -> None:
    """Check that the value of --out is not a directory.

    Args:
        path: value of --out, which must be a file.

    Raises:
        VaeganError: if it is a directory.
    """
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / 'samples.png'}")


def check_grid_path(path: Path, count: int, force: bool) -> None:
    """Check that a grid may be written to a path.

    Args:
        path: PNG file.
        count: number of images.
        force: allow to replace a file.

    Raises:
        UsageError: if there are too many images for one grid, or the path is no .png file.
        VaeganError: if the path is a directory, or a file that `force` does not allow to replace.
    """
    if count > MAX_GRID_IMAGES:
        raise UsageError(f"{count} images do not fit in one grid (at most {MAX_GRID_IMAGES}): add --separate")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a grid is a .png file; add --separate for a folder of images")
    check_not_directory(path)
    check_overwrite([path], force)


def _check_image_folder(folder: Path, force: bool) -> None:
    """Raise VaeganError unless `folder` is new, empty, or holds only images that vaegan made."""
    if folder.exists() and not folder.is_dir():
        raise VaeganError(f"--out {folder} is a file: with --separate name a folder")
    if folder.is_dir() and not force:
        foreign = next((path for path in sorted(folder.iterdir()) if not is_made_by_vaegan(path)), None)
        if foreign is not None:
            raise VaeganError(f"{foreign} was not made by vaegan: choose another --out, or add --force")


def concat_batches(batches: Iterable[Tensor], count: int, emit: EventHandler) -> Tensor:
    """Concatenate images that are decoded batch by batch.

    Args:
        batches: uint8 [B, C, S, S] each.
        count: number of images in all.
        emit: receives the progress.

    Returns:
        uint8 [count, C, S, S].
    """
    images: list[Tensor] = []
    for batch in batches:
        images.append(batch)
        emit(TaskProgress("Decoding", sum(map(len, images)), count))
    return torch.cat(images)


def save_images(
    batches: Iterable[Tensor],
    names: Sequence[str],
    scale: int,
    path: Path,
    note: str,
    emit: EventHandler,
    separate: bool,
    force: bool,
) -> None:
    """Write images as a PNG grid, or each to a file of its own.

    The batches are decoded only after `path` was checked.

    Args:
        batches: uint8 [B, C, S, S] each.
        names: one per image.
        scale: whole number by which the images are enlarged.
        path: PNG file, or a folder if `separate`.
        note: where the images come from; it is stored in the files.
        emit: receives progress and a FileWritten.
        separate: write each image to NAME.png in the folder `path`, with its name in its note.
        force: allow to replace files.

    Raises:
        VaeganError: if a file may not or cannot be written.
    """
    if separate:
        _check_image_folder(path, force)
        _save_separately(batches, names, scale, path, note, emit)
    else:
        check_grid_path(path, len(names), force)
        save_png(enlarge(make_grid(concat_batches(batches, len(names), emit)), scale), path, note)
    emit(FileWritten("samples", path))


def _save_separately(
    batches: Iterable[Tensor], names: Sequence[str], scale: int, folder: Path, note: str, emit: EventHandler
) -> None:
    def write(image: Tensor, name: str) -> None:
        save_png(enlarge(image, scale), folder / f"{name}.png", f"{note}, {name}", durable=False)

    num_submitted = 0
    pending: list[Future[None]] = []
    # Threads write one batch while the next is decoded; waiting for them then bounds the memory.
    with ThreadPoolExecutor(min(NUM_WRITER_THREADS, os.cpu_count() or 1), "write-png") as pool:
        for batch in batches:
            _wait_for(pending)
            emit(TaskProgress("Decoding", num_submitted, len(names)))
            batch_names = names[num_submitted : num_submitted + len(batch)]
            pending = [pool.submit(write, image, name) for image, name in zip(batch, batch_names, strict=True)]
            num_submitted += len(batch)
        _wait_for(pending)
    emit(TaskProgress("Decoding", num_submitted, len(names)))


def _wait_for(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        future.result()


def save_samples(
    model: Model,
    seeds: Sequence[int],
    settings: SampleSettings,
    path: Path,
    emit: EventHandler,
    separate: bool = False,
    force: bool = False,
) -> None:
    """Write the images of seeds as a PNG grid, or each to a file of its own.

    Args:
        model: the model.
        seeds: one per image.
        settings: options of sample.
        path: PNG file, or a folder if `separate`.
        emit: receives progress and a FileWritten.
        separate: write seed-0000007.png etc. in the folder `path`.
        force: allow to replace files.

    Raises:
        VaeganError: if a file may not or cannot be written.
    """
    note = provenance_note(model, "a sample" if separate else f"seeds {seeds[0]} to {seeds[-1]}")
    names = [f"seed-{seed:07d}" for seed in seeds]
    batches = model.sample_batches(seeds, settings.truncation)
    save_images(batches, names, settings.scale, path, note, emit, separate, force)
