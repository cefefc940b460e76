"""Read images given on the command line, cropped and resized like a model's training images."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.config.options import build_settings
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import PreparedDataset, is_dataset, open_dataset
from vaegan.data.preprocess.archives import is_archive
from vaegan.data.preprocess.bit_depth import BIT_DEPTHS
from vaegan.data.preprocess.decoding import DECODE_ERRORS, decode_frame
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.records import SourceFile, Task
from vaegan.data.preprocess.skip_reasons import METADATA_FILE, NOT_AN_IMAGE
from vaegan.data.preprocess.sources import find_files
from vaegan.data.preprocess.tasks import run_tasks, square_frame
from vaegan.errors import UsageError, VaeganError, error_text, printable
from vaegan.events import EventHandler, WarningMessage
from vaegan.utils.files import real_path
from vaegan.utils.images import from_pil

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

IMAGES_PER_BATCH = 64
IMAGE_OPTIONS = ("fit", "crop_position", "pad_mode", "background", "gray_bits")
"""The options of preprocess that change an image, beside its size and channels, which the model's config has."""
NamedImages = tuple[list[str], "Tensor"]
"""Names of some images, and the images, uint8 [N, C, S, S]."""
ImageFileBatch = tuple[list[str], "Tensor", list[str]]
"""Names, images, and a message for each file that is not an image."""


@dataclass(frozen=True)
class CandidateFile:
    """A file that may be an image; `is_explicit` if the user named the file itself."""

    name: str
    is_explicit: bool
    source_file: SourceFile


def image_options(dataset: PreparedDataset) -> dict[str, Any] | None:
    """Return the options that cropped and resized the images of a dataset.

    Args:
        dataset: the dataset.

    Returns:
        values by name, or None if set.json does not hold them or they are not valid.
    """
    saved = dataset.info.get("options")
    options = {name: saved[name] for name in IMAGE_OPTIONS if name in saved} if isinstance(saved, dict) else {}
    if options.get("gray_bits") == "auto" and dataset.info.get("gray_bits") in BIT_DEPTHS:
        options["gray_bits"] = str(int(dataset.info["gray_bits"]))  # what all images of the dataset needed
    try:
        build_settings(PreprocessSettings, options)
    except UsageError:
        return None
    return options or None


def derive_preprocess_settings(size: int, channels: int, options: Mapping[str, Any]) -> PreprocessSettings:
    """Return settings that crop and resize images as `options` say, but do not skip any.

    Args:
        size: side S of the square images in pixels.
        channels: 1 for grayscale, 3 for RGB.
        options: values by name, as `image_options` returns them.

    Returns:
        the settings.
    """
    settings = build_settings(PreprocessSettings, options)
    settings = replace(settings, size=size, grayscale=channels == 1, frames="first")
    return replace(settings, include_generated=True, min_side=0, max_aspect=None)


def read_images(sources: Sequence[Path], settings: PreprocessSettings, emit: EventHandler) -> Iterator[NamedImages]:
    """Read the images of files, folders, zip archives and prepared datasets in batches.

    Sources are read in the given order; the val images of a dataset come before its train images. A file that is not
    an image is skipped with a warning.

    Args:
        sources: what to read.
        settings: how images are cropped and resized.
        emit: receives a warning for each file that is skipped.

    Yields:
        names, and images uint8 [B, C, S, S], B at most 64.

    Raises:
        VaeganError: If a source does not exist, a dataset has another image shape, or there is no image at all.
        UsageError: if there are no sources.
    """
    if not sources:
        raise UsageError("no IMAGES: give image files, folders or a prepared dataset")
    has_images, first_message = False, ""
    for names, images, skip_messages in _read_batches(sources, settings):
        for message in skip_messages:
            first_message = first_message or message
            emit(WarningMessage(f"{message}: skipped"))
        if names:
            has_images = True
            yield names, images
    if not has_images:
        raise VaeganError(first_message or f"{sources[0]} holds no images")


def square_image(image: Image.Image, settings: PreprocessSettings) -> Tensor:
    """Crop and resize a Pillow image like a file: upright, over a background, in sRGB.

    Args:
        image: an image of any mode and size; it is not changed.
        settings: how to crop and resize.

    Returns:
        uint8 [C, S, S].

    Raises:
        VaeganError: If the image cannot be loaded.
    """
    try:
        # a copy, since decoding may reduce a JPEG that is not loaded yet
        frame = decode_frame(image.copy(), 0, io.BytesIO(), settings)
        return from_pil(square_frame(frame, settings)[0])
    except DECODE_ERRORS as error:
        raise VaeganError(f"the image cannot be read: {error_text(error)}") from error


def _read_batches(sources: Sequence[Path], settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    """Yield the batches of all sources. Neighboring sources that are not datasets share batches."""
    candidates: list[CandidateFile] = []
    for source in sources:
        if not source.exists():
            raise VaeganError(f"{source} does not exist: give images, a folder of images, or a prepared dataset")
        if is_dataset(source):
            yield from _read_files(candidates, settings)
            candidates = []
            yield from _read_dataset(source, settings)
            continue
        source_files = find_files([real_path(source)], Path(), _reject_archive, lambda what: None)
        is_explicit = not source.is_dir() and not is_archive(source)
        for file in sorted(source_files, key=lambda file: file.name):
            is_source = not source.is_dir() and file.location.stored_length < 0
            name = str(source if is_source else source / file.name)
            candidates.append(CandidateFile(name, is_explicit, file))
    yield from _read_files(candidates, settings)


def _read_dataset(path: Path, settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    dataset = open_dataset(path)
    channels = 1 if settings.grayscale else 3
    if (dataset.size, dataset.channels) != (settings.size, channels):
        raise VaeganError(
            f"{path} holds {dataset.size}x{dataset.size} images of {dataset.channels} channels, the model takes"
            f" {settings.size}x{settings.size} of {channels}: give the image files, or another dataset"
        )
    for images, names in zip(reversed(dataset.load()), reversed(dataset.image_names()), strict=True):
        for start in range(0, len(images), IMAGES_PER_BATCH):
            yield names[start : start + IMAGES_PER_BATCH], images[start : start + IMAGES_PER_BATCH], []


def _reject_archive(path: Path) -> Path:
    raise VaeganError(f"{path} is a compressed archive: unpack it, or prepare it with vaegan preprocess {path}")


def _read_files(files: list[CandidateFile], settings: PreprocessSettings) -> Iterator[ImageFileBatch]:
    """Decode files batch by batch. Metadata files in folders are ignored without a message."""
    import torch

    channels = 1 if settings.grayscale else 3
    for start in range(0, len(files), IMAGES_PER_BATCH):
        names, images, skip_messages = [], [], []
        batch = files[start : start + IMAGES_PER_BATCH]
        tasks = [Task(0, file.source_file.location, Path(file.name).suffix.lower()) for file in batch]
        for file, result in zip(batch, run_tasks(tasks, settings), strict=True):
            reason = file.source_file.reason or result.reason
            detail = file.source_file.detail or result.detail
            if reason == METADATA_FILE and file.is_explicit:
                reason = NOT_AN_IMAGE
            if not reason:
                names.append(file.name)
                images.append(from_pil(from_chw_bytes(result.images[0].pixels, channels, settings.size)))
            elif reason != METADATA_FILE:
                suffix = f" ({printable(detail, 120)})" if detail else ""
                skip_messages.append(f"{printable(file.name, 300)}: {reason}{suffix}")
        empty = torch.empty(0, channels, settings.size, settings.size, dtype=torch.uint8)
        yield names, torch.stack(images) if images else empty, skip_messages
