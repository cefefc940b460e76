"""Write sampled images to files: one grid, or one file per image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.tool_settings import SampleSettings
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, FileWritten, Note, TaskProgress
from vaegan.inference.model import Model
from vaegan.utils.files import check_writable, file_sha256, note_replaced
from vaegan.utils.images import (
    GRID_PADDING,
    check_overwrite,
    enlarge,
    is_made_by_vaegan,
    make_grid,
    png_source,
    save_png,
)
from vaegan.utils.text import count_text

MAX_GRID_IMAGES = 16_384
MAX_GRID_PIXELS = 150_000_000
"""Writing takes about 12 bytes for each, and many programs open no larger images."""
NUM_WRITER_THREADS = 8


def provenance_note(model: Model, description: str) -> str:
    """Return the note that an image file gets.

    Args:
        model: the model.
        description: what the file shows.

    Returns:
        the note, such as "seeds 0 to 63 of runs/gan/model.safetensors, gan at step 9".
    """
    class_text = f", class {model.class_name}" if model.class_name else ""
    return f"{description} of {model.info.path}, {model.info.kind} at step {model.info.step}{class_text}"


def check_not_directory(path: Path) -> None:
    """Check that the value of --out is not a directory.

    Args:
        path: value of --out, which must be a file.

    Raises:
        VaeganError: if it is a directory.
    """
    if path.is_dir():
        raise VaeganError(f"--out {path} is a directory: name a file, such as {path / 'samples.png'}")


def check_grid_size(count: int, image_size: int, scale: int) -> None:
    """Check that a grid of images is not too large.

    Args:
        count: number of images.
        image_size: side of an image in pixels.
        scale: whole number by which the images are enlarged.

    Raises:
        UsageError: if there are more than MAX_GRID_IMAGES images or MAX_GRID_PIXELS pixels.
    """
    if count > MAX_GRID_IMAGES:
        raise UsageError(f"{count} images do not fit in one grid (at most {MAX_GRID_IMAGES}): add --separate")
    num_pixels = count * ((image_size + GRID_PADDING) * scale) ** 2
    if num_pixels > MAX_GRID_PIXELS:
        raise UsageError(
            f"{count} images do not fit in one grid: {num_pixels / 1e6:,.0f} million pixels, at most"
            f" {MAX_GRID_PIXELS / 1e6:.0f}: lower their number or --scale, or add --separate where there is that option"
        )


def check_images_path(model: Model, path: Path, names: Sequence[str], scale: int, separate: bool, force: bool) -> None:
    """Check that images of a model may be written to a path.

    Args:
        model: the model.
        path: a .png file, or if `separate` a folder.
        names: name of each image.
        scale: whole number by which the images are enlarged.
        separate: whether each image is a file of its own, instead of one grid.
        force: allow to replace files that vaegan did not make, and to delete images of other weights.

    Raises:
        UsageError: if a grid is too large, or is not a .png file.
        VaeganError: if the path may not be written, or the folder holds images of other weights.
    """
    if not separate:
        check_grid_size(len(names), model.info.config.size, scale)
        check_grid_path(path, force)
        return
    _check_image_folder(path, force)
    others = [] if force else _images_of_other_weights(path, names, file_sha256(model.info.path))
    if others:
        count = count_text(len(others), "image")
        raise VaeganError(f"{path} holds {count} of other weights: choose another --out, or add --force to delete them")


def _images_of_other_weights(folder: Path, names: Sequence[str], weights_hash: str) -> list[Path]:
    """Return the images in `folder` that would stay among new ones called `names`, and are of other weights."""
    new_names = {f"{name}.png" for name in names}
    paths = [path for path in folder.glob("*.png") if path.name not in new_names]
    return [path for path in paths if png_source(path) not in ("", weights_hash)]


def check_grid_path(path: Path, force: bool) -> None:
    """Check that a grid may be written to a path.

    Args:
        path: the file.
        force: allow to replace a file that vaegan did not make.

    Raises:
        UsageError: if it is not a .png file.
        VaeganError: if it is a directory, is a file that vaegan did not make, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: a grid is a .png file; add --separate for a folder of images")
    check_not_directory(path)
    check_overwrite([path], force)
    check_writable(path)


def _check_image_folder(folder: Path, force: bool) -> None:
    """Raise VaeganError unless `folder` is new, empty, or holds only images that vaegan made."""
    if folder.exists() and not folder.is_dir():
        raise VaeganError(f"--out {folder} is a file: with --separate name a folder")
    if folder.is_dir() and not force:
        foreign = next((path for path in sorted(folder.iterdir()) if not is_made_by_vaegan(path)), None)
        if foreign is not None:
            raise VaeganError(f"{foreign} was not made by vaegan: choose another --out, or add --force")
    check_writable(folder / "image.png")


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
    model: Model,
    batches: Iterable[Tensor],
    names: Sequence[str],
    scale: int,
    path: Path,
    description: str,
    emit: EventHandler,
    separate: bool,
    force: bool,
    columns: int | None = None,
) -> None:
    """Write images of a model as a PNG grid, or each to a file of its own.

    Batches are decoded only after `path` was checked. Each image has a name, which is in its note. With `force`, images
    of other weights in the folder are deleted: nobody could tell them from the new ones.

    Args:
        model: the model.
        batches: uint8 [B, C, S, S] each.
        names: name of each image.
        scale: whole number by which the images are enlarged.
        path: a .png file, or if `separate` a folder that receives a NAME.png for each image.
        description: what the images are, for the note.
        emit: receives progress and a FileWritten.
        separate: whether each image is a file of its own.
        force: as in `check_images_path`.
        columns: images per row of the grid; None for a square.

    Raises:
        VaeganError: as in `check_images_path`.
    """
    check_images_path(model, path, names, scale, separate, force)
    note, weights_hash = provenance_note(model, description), file_sha256(model.info.path)
    if separate:
        for other in _images_of_other_weights(path, names, weights_hash):
            other.unlink(missing_ok=True)
            emit(Note(f"Removed {other}, of other weights"))
        _save_separately(batches, names, scale, path, note, weights_hash, emit)
    else:
        note_replaced([path], emit)
        grid = make_grid(concat_batches(batches, len(names), emit), columns, GRID_PADDING)
        save_png(enlarge(grid, scale), path, note, source=weights_hash)
    emit(FileWritten("samples", path))


def _save_separately(
    batches: Iterable[Tensor],
    names: Sequence[str],
    scale: int,
    folder: Path,
    note: str,
    weights_hash: str,
    emit: EventHandler,
) -> None:
    def write(image: Tensor, name: str) -> None:
        path = folder / f"{name}.png"
        save_png(enlarge(image, scale), path, f"{note}, {name}", durable=False, source=weights_hash)

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

    A conditional model decodes every seed with every class. The grid has a row for each class.

    Args:
        model: the model.
        seeds: one per image, or per image of each class.
        settings: options of sample.
        path: PNG file, or a folder if `separate`.
        emit: receives progress and a FileWritten.
        separate: write seed-0000007.png etc. in the folder `path`; with classes, class-0-smile-seed-0000007.png.
        force: allow to replace files.

    Raises:
        VaeganError: if a file may not or cannot be written.
    """
    description = "a sample" if separate else f"seeds {seeds[0]} to {seeds[-1]}"
    if settings.reencode:
        description += f" with --reencode {settings.reencode}"
    names = [f"seed-{seed:07d}" for seed in seeds]
    truncation, reencode, columns = settings.truncation, settings.reencode, None
    batches = model.sample_batches(seeds, truncation, reencode=reencode)
    if model.classes:
        description += f" in each of the classes {', '.join(model.classes)}"
        slugs = [f"class-{number}-{file_slug(name)}" for number, name in enumerate(model.classes)]
        names, columns = [f"{slug}-{name}" for slug in slugs for name in names], len(seeds)
        batches = chain.from_iterable(model.sample_batches(seeds, truncation, name, reencode) for name in model.classes)
    save_images(model, batches, names, settings.scale, path, description, emit, separate, force, columns)


def file_slug(text: str) -> str:
    """Return a text for use in file names.

    Args:
        text: any text.

    Returns:
        its letters and digits, and "-" for other characters.
    """
    return "".join(character if character.isalnum() or character in "-_+" else "-" for character in text)
