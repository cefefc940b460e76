"""What a worker does with a file: read it, decode it, square it. It never fails for what a file holds."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.decoding import DecodedFrame, decode_frames, parse_color, to_srgb
from vaegan.data.preprocess.file_reader import SkipFile, open_hashed
from vaegan.data.preprocess.image_ops import compute_crop_box, crop_and_resize, pad_to_square, to_chw_bytes
from vaegan.data.preprocess.perceptual_hash import perceptual_hash
from vaegan.data.preprocess.records import PreparedImage, Task, TaskResult
from vaegan.data.preprocess.skip_reasons import (
    ASPECT_TOO_LARGE,
    BROKEN_IMAGE,
    CHANGED_WHILE_READ,
    EMPTY_FILE,
    METADATA_FILE,
    NOT_AN_IMAGE,
    TOO_SMALL,
    UNREADABLE,
)
from vaegan.errors import error_text

MAX_RESULT_BYTES = 2**22
"""Bytes of squares in one outcome, after which an animation is gone on with in another."""
METADATA_SUFFIXES = (
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".md", ".parquet", ".xml", ".yaml", ".yml", ".html", ".arrow",
)  # fmt: skip


def run_task(task: Task, settings: PreprocessSettings) -> TaskResult:
    """Do one task. Whatever is wrong with the file becomes the outcome's reason."""
    digest = stamp = ""
    try:
        with open_hashed(task.location) as (file, digest, stamp):
            if task.thumbnail_height:
                return _thumbnail(task, file, settings)
            if digest == task.expected:
                return TaskResult(task.file_id, digest, stamp, same=True)
            if not file.read(1):
                raise SkipFile(EMPTY_FILE)
            return _prepare_frames(task, file, digest, stamp, settings)
    except SkipFile as skipped:
        why = skipped.reason
        if why == NOT_AN_IMAGE and task.suffix in METADATA_SUFFIXES:
            why = METADATA_FILE
        digest = "" if why == CHANGED_WHILE_READ else digest
        return TaskResult(task.file_id, digest, stamp, why, skipped.detail)
    except OSError as error:
        return TaskResult(task.file_id, "", "", UNREADABLE, error_text(error))
    except MemoryError:
        return TaskResult(task.file_id, digest, stamp, BROKEN_IMAGE, "out of memory")


def _decode_task_frames(task: Task, file: BinaryIO, settings: PreprocessSettings) -> Iterator[DecodedFrame]:
    background = parse_color(settings.background)
    every = settings.frames == "all"
    return decode_frames(file, settings.size, every, task.first_frame, background, settings.max_pixels)


def _prepare_frames(task: Task, file: BinaryIO, sha256: str, stamp: str, settings: PreprocessSettings) -> TaskResult:
    background = parse_color(settings.background)
    squares: list[PreparedImage] = []
    room, more = max(1, MAX_RESULT_BYTES // (settings.size**2 * 3)), 0
    for frame in _decode_task_frames(task, file, settings):
        if len(squares) == room:
            more = frame.index
            break
        check_shape(frame.original_size, settings)
        box = compute_crop_box(frame.image, frame.original_size, settings)
        small = to_srgb(
            crop_and_resize(frame.image, frame.original_size, box, settings), frame.icc_profile, settings.grayscale
        )
        small = pad_to_square(small, settings, background)
        pixels = to_chw_bytes(small)
        squares.append(
            PreparedImage(frame.index, frame.original_size, box, zlib.crc32(pixels), perceptual_hash(small), pixels)
        )
    return TaskResult(task.file_id, sha256, stamp, next_frame=more, images=squares)


def check_shape(size: tuple[int, int], settings: PreprocessSettings) -> None:
    """Raise Skipped for a picture that --min-side or --max-aspect leaves out."""
    told = f"{size[0]}x{size[1]} pixels"
    if min(size) < settings.min_side:
        raise SkipFile(TOO_SMALL, told)
    if settings.max_aspect is not None and max(size) > settings.max_aspect * min(size):
        raise SkipFile(ASPECT_TOO_LARGE, told)


def _thumbnail(task: Task, file: BinaryIO, settings: PreprocessSettings) -> TaskResult:
    """A small RGB picture of the whole, at most `task.before` pixels high and twice as wide, for the contact sheet."""
    for frame in _decode_task_frames(task, file, settings):
        small = frame.image.copy()
        small.thumbnail((task.thumbnail_height * 2, task.thumbnail_height), Image.Resampling.LANCZOS)
        small = to_srgb(small, frame.icc_profile, False)
        return TaskResult(
            task.file_id, images=[PreparedImage(0, small.size, (0, 0, *frame.original_size), 0, b"", small.tobytes())]
        )
    return TaskResult(task.file_id, reason=BROKEN_IMAGE)


def run_tasks(tasks: list[Task], settings: PreprocessSettings) -> list[TaskResult]:
    """Do a batch of tasks in a process of its own; the check on sizes is ours, before anything is decoded."""
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [run_task(task, settings) for task in tasks]
