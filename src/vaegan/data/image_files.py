"""Pictures that are not part of a set, read and squared as a set's were; and those of a set, with their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.config.options import build, known
from vaegan.config.settings import PrepareSettings
from vaegan.data.dataset import PreparedSet, is_prepared, open_set
from vaegan.data.preprocess.image_ops import from_planes
from vaegan.data.preprocess.records import Found, Task
from vaegan.data.preprocess.skip_reasons import METADATA, NOT_A_PICTURE
from vaegan.data.preprocess.sources import find
from vaegan.data.preprocess.tasks import prepare_all
from vaegan.errors import UsageError, VaeganError, shown
from vaegan.events import Emit, Warned
from vaegan.utils.images import from_pil

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 64
Named = tuple[list[str], "Tensor"]
"""Names of some pictures, and the pictures, uint8 [N, C, S, S]."""
Batch = tuple[list[str], "Tensor", list[str]]
"""The same, and what is to be said of files that are none."""


@dataclass(frozen=True)
class File:
    """A file that may be a picture; `named` when the user gave it itself, not a folder or archive that it lies in."""

    name: str
    named: bool
    found: Found


def settings_like(size: int, channels: int, prepared: PreparedSet | None) -> PrepareSettings:
    """How pictures become squares of `size` pixels: as in `prepared` where it is known, but none is left out."""
    options: Any = prepared.info.get("options") if prepared is not None else None
    try:
        settings = build(PrepareSettings, known(PrepareSettings, options) if isinstance(options, dict) else {})
    except UsageError:
        settings = PrepareSettings()
    return replace(settings, size=size, grayscale=channels == 1, frames="first", min_side=0, max_aspect=None)


def read_pictures(sources: Sequence[Path], settings: PrepareSettings, emit: Emit) -> Iterator[Named]:
    """Yield the pictures of files, folders, zips and prepared sets in the order given, at most 64 at a time.

    A set's held-out pictures come first. What is no picture is told and left out. Raises VaeganError when a source does
    not exist, a set does not fit, or nothing at all is a picture.
    """
    if not sources:
        raise UsageError("no PICTURES: give files, folders or a prepared set")
    read, first = 0, ""
    for names, pictures, skipped in _batches(sources, settings):
        for text in skipped:
            first = first or text
            emit(Warned(f"{text}: left out"))
        if names:
            read += len(names)
            yield names, pictures
    if not read:
        raise VaeganError(first or f"{sources[0]} holds no pictures")


def _batches(sources: Sequence[Path], settings: PrepareSettings) -> Iterator[Batch]:
    """Batches of all sources in turn; single files share theirs."""
    waiting: list[File] = []
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give pictures, a folder of them, or a prepared set")
        if is_prepared(source):
            yield from _squares(waiting, settings)
            waiting = []
            yield from _of_set(source, settings)
            continue
        found = sorted(find([source.resolve()], Path(), _refuse_archive, lambda what: None), key=lambda one: one.name)
        chosen = not source.is_dir()
        waiting += [File(str(source) if chosen else str(source / one.name), chosen, one) for one in found]
    yield from _squares(waiting, settings)


def _of_set(source: Path, settings: PrepareSettings) -> Iterator[Batch]:
    prepared = open_set(source)
    channels = 1 if settings.grayscale else 3
    if (prepared.size, prepared.channels) != (settings.size, channels):
        raise VaeganError(
            f"{source} holds {prepared.size}x{prepared.size} pictures of {prepared.channels} channels, the model takes"
            f" {settings.size}x{settings.size} of {channels}: give the pictures themselves, or another set"
        )
    for pictures, names in zip(reversed(prepared.load()), reversed(prepared.names()), strict=True):
        for start in range(0, len(pictures), BATCH):
            yield names[start : start + BATCH], pictures[start : start + BATCH], []


def _refuse_archive(path: Path) -> Path:
    raise VaeganError(f"{path} is a compressed archive: unpack it, or prepare it with vaegan preprocess {path}")


def _squares(files: list[File], settings: PrepareSettings) -> Iterator[Batch]:
    """Squares of files. Tables and texts beside pictures are passed over, not those that were named."""
    import torch

    channels = 1 if settings.grayscale else 3
    for start in range(0, len(files), BATCH):
        names, squares, skipped = [], [], []
        part = files[start : start + BATCH]
        tasks = [Task(row, file.found.place, Path(file.name).suffix.lower()) for row, file in enumerate(part)]
        for file, outcome in zip(part, prepare_all(tasks, settings), strict=True):
            why, detail = file.found.reason or outcome.reason, file.found.detail or outcome.detail
            if not why:
                names.append(file.name)
                squares.append(from_pil(from_planes(outcome.squares[0].pixels, channels, settings.size)))
            elif why != METADATA or file.named:
                why = NOT_A_PICTURE if why == METADATA else why
                skipped.append(f"{shown(file.name, 300)}: {why}" + (f" ({shown(detail, 120)})" if detail else ""))
        empty = torch.empty(0, channels, settings.size, settings.size, dtype=torch.uint8)
        yield names, torch.stack(squares) if squares else empty, skipped
