"""Pictures that are not part of a set, read and squared as a set's were; and those of a set, with their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.config.options import build_settings
from vaegan.config.settings import PreprocessSettings
from vaegan.data.dataset import PreparedDataset, is_dataset, open_dataset
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.records import SourceFile, Task
from vaegan.data.preprocess.skip_reasons import METADATA_FILE, NOT_AN_IMAGE
from vaegan.data.preprocess.sources import find_files
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler, WarningMessage
from vaegan.utils.images import from_pil

if TYPE_CHECKING:
    from torch import Tensor

IMAGES_PER_BATCH = 64
NamedImages = tuple[list[str], "Tensor"]
"""Names of some pictures, and the pictures, uint8 [N, C, S, S]."""
ImageFileBatch = tuple[list[str], "Tensor", list[str]]
"""The same, and what is to be said of files that are none."""


@dataclass(frozen=True)
class CandidateFile:
    """A file that may be a picture; `named` when the user gave it itself, not a folder or archive that it lies in."""

    name: str
    is_explicit: bool
    source_file: SourceFile


def derive_preprocess_settings(size: int, channels: int, dataset: PreparedDataset | None) -> PreprocessSettings:
    """How pictures become squares of `size` pixels: as in `prepared` where it is known, but none is left out."""
    options: Any = dataset.info.get("options") if dataset is not None else None
    try:
        settings = build_settings(PreprocessSettings, options if isinstance(options, dict) else {})
    except UsageError:
        settings = PreprocessSettings()
    return replace(settings, size=size, grayscale=channels == 1, frames="first", min_side=0, max_aspect=None)


def read_images(sources: Sequence[Path], settings: PreprocessSettings, emit: EventHandler) -> Iterator[NamedImages]:
    """Yield the pictures of files, folders, zips and prepared sets in the order given, at most 64 at a time.

    A set's held-out pictures come first. What is no picture is told and left out. Raises VaeganError when a source does
    not exist, a set does not fit, or nothing at all is a picture.
    """
    if not sources:
        raise UsageError("no PICTURES: give files, folders or a prepared set")
    read, first = 0, ""
    for names, pictures, skipped in _read_batches(sources, settings):
        for text in skipped:
            first = first or text
            emit(WarningMessage(f"{text}: left out"))
        if names:
            read += len(names)
            yield names, pictures
    if not read:
        raise VaeganError(first or f"{sources[0]} holds no pictures")


def _read_batches(sources: Sequence[Path], settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    """Batches of all sources in turn; single files share theirs."""
    waiting: list[CandidateFile] = []
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give pictures, a folder of them, or a prepared set")
        if is_dataset(source):
            yield from _read_files(waiting, settings)
            waiting = []
            yield from _read_dataset(source, settings)
            continue
        found = sorted(
            find_files([source.resolve()], Path(), _reject_archive, lambda what: None), key=lambda one: one.name
        )
        chosen = not source.is_dir()
        waiting += [CandidateFile(str(source) if chosen else str(source / one.name), chosen, one) for one in found]
    yield from _read_files(waiting, settings)


def _read_dataset(source: Path, settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    prepared = open_dataset(source)
    channels = 1 if settings.grayscale else 3
    if (prepared.size, prepared.channels) != (settings.size, channels):
        raise VaeganError(
            f"{source} holds {prepared.size}x{prepared.size} pictures of {prepared.channels} channels, the model takes"
            f" {settings.size}x{settings.size} of {channels}: give the pictures themselves, or another set"
        )
    for pictures, names in zip(reversed(prepared.load()), reversed(prepared.image_names()), strict=True):
        for start in range(0, len(pictures), IMAGES_PER_BATCH):
            yield names[start : start + IMAGES_PER_BATCH], pictures[start : start + IMAGES_PER_BATCH], []


def _reject_archive(path: Path) -> Path:
    raise VaeganError(f"{path} is a compressed archive: unpack it, or prepare it with vaegan preprocess {path}")


def _read_files(files: list[CandidateFile], settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    """Squares of files. Tables and texts beside pictures are passed over, not those that were named."""
    import torch

    channels = 1 if settings.grayscale else 3
    for start in range(0, len(files), IMAGES_PER_BATCH):
        names, squares, skipped = [], [], []
        part = files[start : start + IMAGES_PER_BATCH]
        tasks = [Task(row, file.source_file.location, Path(file.name).suffix.lower()) for row, file in enumerate(part)]
        for file, outcome in zip(part, run_tasks(tasks, settings), strict=True):
            why, detail = file.source_file.reason or outcome.reason, file.source_file.detail or outcome.detail
            if not why:
                names.append(file.name)
                squares.append(from_pil(from_chw_bytes(outcome.images[0].pixels, channels, settings.size)))
            elif why != METADATA_FILE or file.is_explicit:
                why = NOT_AN_IMAGE if why == METADATA_FILE else why
                skipped.append(
                    f"{printable(file.name, 300)}: {why}" + (f" ({printable(detail, 120)})" if detail else "")
                )
        empty = torch.empty(0, channels, settings.size, settings.size, dtype=torch.uint8)
        yield names, torch.stack(squares) if squares else empty, skipped
