"""What a worker does with a file: read it, decode it, square it. It never fails for what a file holds."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from vaegan.config.settings import PrepareSettings
from vaegan.data.preprocess.decoding import Frame, background_colour, frames, to_srgb
from vaegan.data.preprocess.file_reader import Skipped, opened
from vaegan.data.preprocess.image_ops import box_of, padded, planes, square
from vaegan.data.preprocess.perceptual_hash import likeness
from vaegan.data.preprocess.records import Outcome, Square, Task
from vaegan.data.preprocess.skip_reasons import (
    BROKEN,
    CHANGED,
    EMPTY,
    METADATA,
    NOT_A_PICTURE,
    TOO_LONG,
    TOO_SMALL,
    UNREADABLE,
)
from vaegan.errors import reason

AT_ONCE = 2**22
"""Bytes of squares in one outcome, after which an animation is gone on with in another."""
METADATA_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".parquet", ".xml", ".yaml", ".yml", ".html", ".arrow",
)  # fmt: skip


def prepare(task: Task, settings: PrepareSettings) -> Outcome:
    """Do one task. Whatever is wrong with the file becomes the outcome's reason."""
    digest = stamp = ""
    try:
        with opened(task.place) as (file, digest, stamp):
            if task.before:
                return _before(task, file, settings)
            if digest == task.expected:
                return Outcome(task.id, digest, stamp, same=True)
            if not file.read(1):
                raise Skipped(EMPTY)
            return _squares(task, file, digest, stamp, settings)
    except Skipped as skipped:
        why = skipped.reason
        if why == NOT_A_PICTURE and task.suffix in METADATA_SUFFIXES:
            why = METADATA
        digest = "" if why == CHANGED else digest
        return Outcome(task.id, digest, stamp, why, skipped.detail)
    except OSError as error:
        return Outcome(task.id, "", "", UNREADABLE, reason(error))
    except MemoryError:
        return Outcome(task.id, digest, stamp, BROKEN, "out of memory")


def _frames(task: Task, file: BinaryIO, settings: PrepareSettings) -> Iterator[Frame]:
    background = background_colour(settings.background)
    every = settings.frames == "all"
    return frames(file, settings.size, every, task.start, background, settings.max_pixels)


def _squares(task: Task, file: BinaryIO, digest: str, stamp: str, settings: PrepareSettings) -> Outcome:
    background = background_colour(settings.background)
    squares: list[Square] = []
    room, more = max(1, AT_ONCE // (settings.size**2 * 3)), 0
    for frame in _frames(task, file, settings):
        if len(squares) == room:
            more = frame.index
            break
        refuse_shape(frame.size, settings)
        box = box_of(frame.picture, frame.size, settings)
        small = to_srgb(square(frame.picture, frame.size, box, settings), frame.profile, settings.grayscale)
        small = padded(small, settings, background)
        pixels = planes(small)
        squares.append(Square(frame.index, frame.size, box, zlib.crc32(pixels), likeness(small), pixels))
    return Outcome(task.id, digest, stamp, more=more, squares=squares)


def refuse_shape(size: tuple[int, int], settings: PrepareSettings) -> None:
    """Raise Skipped for a picture that --min-side or --max-aspect leaves out."""
    told = f"{size[0]}x{size[1]} pixels"
    if min(size) < settings.min_side:
        raise Skipped(TOO_SMALL, told)
    if settings.max_aspect is not None and max(size) > settings.max_aspect * min(size):
        raise Skipped(TOO_LONG, told)


def _before(task: Task, file: BinaryIO, settings: PrepareSettings) -> Outcome:
    """A small RGB picture of the whole, at most `task.before` pixels high and twice as wide, for the contact sheet."""
    for frame in _frames(task, file, settings):
        small = frame.picture.copy()
        small.thumbnail((task.before * 2, task.before), Image.Resampling.LANCZOS)
        small = to_srgb(small, frame.profile, False)
        return Outcome(task.id, squares=[Square(0, small.size, (0, 0, *frame.size), 0, b"", small.tobytes())])
    return Outcome(task.id, reason=BROKEN)


def prepare_all(tasks: list[Task], settings: PrepareSettings) -> list[Outcome]:
    """Do a batch of tasks in a process of its own; the check on sizes is ours, before anything is decoded."""
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [prepare(task, settings) for task in tasks]
