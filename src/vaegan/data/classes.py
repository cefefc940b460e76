"""The classes of a dataset's images: the values of one of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vaegan.data.dataset import SPLIT_NAMES, PreparedDataset
from vaegan.data.labels import NUMERIC, LabelColumn, Labels
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.utils.text import join_text

if TYPE_CHECKING:
    from torch import Tensor

NO_CLASS = -1
"""Number of the class of an image whose label is missing, or is no class of the model."""


@dataclass(frozen=True)
class ClassIds:
    """The number of the class of each training and each validation image, int64 [N]; NO_CLASS without one."""

    train: Tensor
    val: Tensor


def _find_column(dataset: PreparedDataset, labels: Labels, label: str) -> int:
    """Return the index of a label's column. Raises UsageError if there is none, or it holds numbers."""
    names = [column.name for column in labels.columns]
    if label not in names:
        known = join_text(column.describe() for column in labels.columns) or "none"
        raise UsageError(f"--cond {printable(label)}: {dataset.path} has no such label; there are {known}")
    index = names.index(label)
    if labels.columns[index].kind == NUMERIC:
        others = [column.name for column in labels.columns if column.kind != NUMERIC]
        raise UsageError(
            f"--cond {printable(label)}: it is a number; classes are the values of a label such as"
            f" {join_text(others, 300) or 'glasses (yes or no), which this dataset does not have'}"
        )
    return index


def find_classes(dataset: PreparedDataset, label: str) -> tuple[str, ...]:
    """Return the values of a label that training images have.

    Args:
        dataset: a dataset with labels.
        label: name of the label.

    Returns:
        the values, in the order of the column.

    Raises:
        UsageError: if there is no such label, or it is a number.
        VaeganError: if the dataset has no labels, or its training images do not have two values.
    """
    labels = dataset.load_labels()
    index = _find_column(dataset, labels, label)
    numbers, values = labels.train[:, index], labels.columns[index].values
    present = tuple(value for code, value in enumerate(values) if bool((numbers == code).any()))
    if len(present) < 2:
        found = f"only {present[0]}" if present else "none"
        raise VaeganError(
            f"--cond {printable(label)}: the training images of {dataset.path} must have at least two values of it,"
            f" but have {found}"
        )
    return present


def read_class_ids(dataset: PreparedDataset, label: str, classes: Sequence[str]) -> ClassIds:
    """Return the class of each image of a dataset.

    Args:
        dataset: a dataset with labels.
        label: name of the label.
        classes: names of the classes, values of the label.

    Returns:
        numbers of the classes.

    Raises:
        UsageError: if there is no such label, or it is a number.
        VaeganError: if the dataset has no labels, or they are damaged.
    """
    labels = dataset.load_labels()
    index = _find_column(dataset, labels, label)
    column = labels.columns[index]
    return ClassIds(*(_to_class_ids(table[:, index], column, classes) for table in (labels.train, labels.val)))


def count_images(dataset: PreparedDataset, label: str | None, classes: Sequence[str] | None = None) -> dict[str, int]:
    """Count the images that a training uses: with classes, those that have one.

    Args:
        dataset: the dataset.
        label: name of the label that the classes are values of; None or "" for an unconditional model.
        classes: names of the classes; by default the values that training images have.

    Returns:
        number of images by split, "train" and "val".

    Raises:
        UsageError: as in `find_classes`.
        VaeganError: as in `find_classes`.
    """
    if not label:
        return {split: dataset.counts[split] for split in SPLIT_NAMES}
    class_ids = read_class_ids(dataset, label, find_classes(dataset, label) if classes is None else classes)
    counts = (int((ids != NO_CLASS).sum()) for ids in (class_ids.train, class_ids.val))
    return dict(zip(SPLIT_NAMES, counts, strict=True))


def _to_class_ids(numbers: Tensor, column: LabelColumn, classes: Sequence[str]) -> Tensor:
    import torch

    codes = [classes.index(value) if value in classes else NO_CLASS for value in column.values]
    is_missing = numbers.isnan()
    class_ids = torch.tensor(codes)[numbers.nan_to_num(0.0).long()]
    return class_ids.where(~is_missing, torch.tensor(NO_CLASS))
