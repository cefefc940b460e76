"""Write the images of a dataset in Python, such as one of torchvision, to files that preprocessing reads."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from vaegan.errors import UsageError, VaeganError, error_text
from vaegan.events import EventHandler, TaskProgress

PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
REPORT_EVERY = 500


@runtime_checkable
class MapDataset(Protocol):
    """A dataset with a length and an index, whose items are images, or tuples of an image and a target."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@contextlib.contextmanager
def image_files_of(dataset: MapDataset, out: Path, emit: EventHandler) -> Iterator[Path]:
    """Yield a temporary folder beside `out` with one PNG per item of a dataset, in one folder per class.

    The classes are the names in `dataset.classes`, else the targets if they are numbers or words. A dataset whose items
    have no target gives one folder.

    Args:
        dataset: a dataset whose items are images, or pairs of an image and a target.
        out: directory of the prepared dataset.
        emit: receives TaskProgress events.

    Yields:
        the folder; it is deleted when the block ends.

    Raises:
        VaeganError: if an item is no image, or a file cannot be written.
    """
    folder = out.with_name(f".{out.name}-images")
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a call that was killed
        for index in range(len(dataset)):
            image, class_name = _read_item(dataset, index)
            path = folder / class_name / f"{index:07d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, compress_level=1)
            os.utime(path, (0, 0))  # so that the same dataset is known again: see `size_and_mtime`
            if (index + 1) % REPORT_EVERY == 0 or index + 1 == len(dataset):
                emit(TaskProgress("Reading", index + 1, len(dataset)))
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise VaeganError(f"cannot write {folder}: {error_text(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_item(dataset: MapDataset, index: int) -> tuple[Image.Image, str]:
    """Return the image of an item, and the folder of its class or an empty string."""
    from vaegan.data.image_values import iter_pil_images

    item = dataset[index]
    value, target = (item[0], item[1]) if isinstance(item, (tuple, list)) and len(item) > 1 else (item, None)
    try:
        images = list(iter_pil_images(value[0] if isinstance(value, (tuple, list)) else value))
    except UsageError as error:
        raise UsageError(f"item {index} of the dataset: {error}") from None
    if len(images) != 1:
        raise UsageError(f"item {index} of the dataset holds {len(images)} images: expected one")
    image = images[0] if images[0].mode in PNG_MODES else images[0].convert("RGB")
    return image, _class_folder(getattr(dataset, "classes", None), target)


def _class_folder(classes: Any, target: Any) -> str:
    is_index = isinstance(target, int) and not isinstance(target, bool)
    if is_index and isinstance(classes, (list, tuple)) and 0 <= target < len(classes):
        target = classes[target]
    if not isinstance(target, (int, str)):
        return ""
    return re.sub(r"[^\w .-]", "_", str(target)).strip(". ") or "_"
