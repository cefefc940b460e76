"""Process one file: read, decode, crop and resize it. No content of a file raises an exception."""

from __future__ import annotations

import warnings
import zlib
from typing import BinaryIO

from PIL import Image

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess import skip_reasons
from vaegan.data.preprocess.bit_depth import GrayDepth
from vaegan.data.preprocess.decoding import DecodedFrame, decode_frames, parse_color, to_srgb
from vaegan.data.preprocess.file_reader import open_hashed
from vaegan.data.preprocess.image_ops import compute_crop_box, crop_and_resize, gray_plane, pad_to_square, to_chw_bytes
from vaegan.data.preprocess.perceptual_hash import perceptual_hash
from vaegan.data.preprocess.records import Box, PreparedImage, Task, TaskResult
from vaegan.data.preprocess.skip_reasons import SkipFile
from vaegan.errors import error_text

MAX_RESULT_BYTES = 2**22
"""Bytes of pixels in one result; the other frames of a longer animation are left to further tasks."""
METADATA_SUFFIXES = frozenset((
    ".csv", ".tsv", ".json", ".jsonl", ".txt", ".text", ".md", ".xml", ".yaml", ".yml", ".toml", ".html", ".log",
    ".parquet", ".arrow", ".feather", ".avro", ".orc", ".xlsx", ".ods", ".sqlite", ".db",
    # fields of WebDataset samples, and indices of its archives
    ".cls", ".cls2", ".class", ".count", ".index", ".inx", ".idx", ".id", ".transcript", ".caption", ".label",
    ".labels", ".npy", ".npz", ".cbor", ".msg", ".msgpack", ".mp", ".ten", ".tb", ".pth", ".pt", ".pyd",
    # files beside photographs, and vaegan's own
    ".xmp", ".aae", ".pts", ".safetensors", ".onnx",
))  # fmt: skip
# The text of a label may begin like an image.
_NO_IMAGE_REASONS = (skip_reasons.NOT_AN_IMAGE, skip_reasons.BROKEN_IMAGE, skip_reasons.EMPTY_FILE)


def run_tasks(tasks: list[Task], settings: PreprocessSettings) -> list[TaskResult]:
    """Run tasks in this process, one after the other.

    Args:
        tasks: files to prepare.
        settings: options of preprocess.

    Returns:
        one result per task.
    """
    Image.MAX_IMAGE_PIXELS = None  # --max-pixels is checked instead, before anything is decoded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [run_task(task, settings) for task in tasks]


def run_task(task: Task, settings: PreprocessSettings) -> TaskResult:
    """Run one task. Whatever is wrong with the file becomes the reason in the result.

    Args:
        task: file to prepare.
        settings: options of preprocess.

    Returns:
        the images, or the reason why there are none.
    """
    sha256 = stamp = ""
    try:
        with open_hashed(task.location) as (file, sha256, stamp):
            if task.thumbnail_height:
                return _make_thumbnail(task, file, settings)
            if not file.read(1):
                raise SkipFile(skip_reasons.EMPTY_FILE)
            images, next_frame = _prepare_frames(task, file, settings)
            return TaskResult(task.file_id, sha256, stamp, next_frame=next_frame, images=images)
    except SkipFile as skip:
        reason = skip.reason
        if reason in _NO_IMAGE_REASONS and task.suffix in METADATA_SUFFIXES:
            reason = skip_reasons.METADATA_FILE
        if reason == skip_reasons.CHANGED_WHILE_READ:
            sha256 = ""
        return TaskResult(task.file_id, sha256, stamp, reason, skip.detail)
    except OSError as error:
        return TaskResult(task.file_id, reason=skip_reasons.UNREADABLE, detail=error_text(error))
    except MemoryError:
        return TaskResult(task.file_id, sha256, stamp, skip_reasons.BROKEN_IMAGE, "out of memory")


def _prepare_frames(task: Task, file: BinaryIO, settings: PreprocessSettings) -> tuple[list[PreparedImage], int]:
    """Return the prepared frames, and the index of the frame to go on from (0 when that was all)."""
    max_images = max(1, MAX_RESULT_BYTES // (settings.size**2 * 3))
    images: list[PreparedImage] = []
    for frame in decode_frames(file, settings, task.first_frame, task.gray_bits):
        if len(images) == max_images:
            return images, frame.index
        _check_shape(frame.original_size, settings)
        image, box = square_frame(frame, settings)
        pixels = to_chw_bytes(image)
        crc32, phash = zlib.crc32(pixels), perceptual_hash(image)
        depth = frame.gray_depth or GrayDepth(0.0, 255.0)
        gray_bits = depth.tag_bits, depth.needed_bits
        gray_pixels = gray_plane(pixels) if settings.grayscale is None else None
        gray_crc32 = None if gray_pixels is None else zlib.crc32(gray_pixels)
        images.append(
            PreparedImage(frame.index, frame.original_size, box, crc32, phash, pixels, *gray_bits, gray_crc32)
        )
    return images, 0


def square_frame(frame: DecodedFrame, settings: PreprocessSettings) -> tuple[Image.Image, Box]:
    """Crop and resize a frame to a square image.

    Args:
        frame: the decoded frame.
        settings: how to crop and resize.

    Returns:
        the image, S x S pixels of mode RGB or L, and the part of the original that was kept.
    """
    box = compute_crop_box(frame.image, frame.original_size, settings)
    resized = crop_and_resize(frame.image, frame.original_size, box, settings)
    image = to_srgb(resized, frame.icc_profile, bool(settings.grayscale))
    return pad_to_square(image, settings, parse_color(settings.background)), box


def _check_shape(size: tuple[int, int], settings: PreprocessSettings) -> None:
    """Raise SkipFile for an image that --min-side or --max-aspect excludes."""
    detail = f"{size[0]}x{size[1]} pixels"
    if min(size) < settings.min_side:
        raise SkipFile(skip_reasons.TOO_SMALL, detail)
    if settings.max_aspect is not None and max(size) > settings.max_aspect * min(size):
        raise SkipFile(skip_reasons.ASPECT_TOO_LARGE, detail)


def _make_thumbnail(task: Task, file: BinaryIO, settings: PreprocessSettings) -> TaskResult:
    """Return the uncropped image in RGB, at most `task.thumbnail_height` pixels high and twice as wide."""
    for frame in decode_frames(file, settings, task.first_frame, task.gray_bits):
        image = frame.image.copy()
        image.thumbnail((task.thumbnail_height * 2, task.thumbnail_height), Image.Resampling.LANCZOS)
        image = to_srgb(image, frame.icc_profile, grayscale=False)
        thumbnail = PreparedImage(0, image.size, (0, 0, *frame.original_size), 0, b"", image.tobytes())
        return TaskResult(task.file_id, images=[thumbnail])
    return TaskResult(task.file_id, reason=skip_reasons.BROKEN_IMAGE)
