"""Labels of a prepared dataset: named columns, with one number per image.

They lie in labels.safetensors as the tensors "train" and "val", float32 [N, columns], in the order of the images. The
names and kinds of the columns are in set.json. A missing label is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.utils.files import read_bytes

if TYPE_CHECKING:  # preprocessing does not need torch
    from torch import Tensor

BINARY, CATEGORICAL, NUMERIC = "binary", "categorical", "numeric"
LABEL_KINDS = (BINARY, CATEGORICAL, NUMERIC)
LABELS_FILE = "labels.safetensors"
NO, YES = "no", "yes"
MAX_HEADER_BYTES = 2**16
MAX_COLUMNS = 1000
MAX_VALUES = 100
"""Most values of a categorical column."""
MAX_TEXT_LENGTH = 60
"""Most characters of a column's name and of a value."""


@dataclass(frozen=True)
class LabelColumn:
    """One column of labels.

    A binary column holds 0 for no and 1 for yes. A categorical column holds the index of its value in `values`. A
    numeric column holds the number itself, and has no `values`.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe the column by its name and its kind.

        Returns:
            text such as "age (number)" or "hat (8 values)".
        """
        kinds = {BINARY: "yes or no", NUMERIC: "number", CATEGORICAL: f"{len(self.values)} values"}
        return f"{self.name} ({kinds[self.kind]})"


@dataclass(frozen=True)
class Labels:
    """The labels of a dataset: its columns, and numbers float32 [N, columns] of its train and val images."""

    columns: list[LabelColumn]
    train: Tensor
    val: Tensor


def serialize_labels(rows: Sequence[Sequence[float]], splits: bytes, num_columns: int) -> bytes:
    """Return the content of labels.safetensors.

    Args:
        rows: one number per column for each image; NaN where a label is missing.
        splits: the split of each image, one byte each: 0 for train, 1 for val.
        num_columns: number of columns; needed where there are no rows.

    Returns:
        the content of the file, with the float32 tensors "train" and "val".
    """
    import numpy as np
    from safetensors.numpy import save

    table = np.array(rows, dtype=np.float32).reshape(len(rows), num_columns)
    is_val = np.frombuffer(splits, dtype=np.uint8).astype(bool)
    return save({"train": table[~is_val], "val": table[is_val]})


def read_labels(path: Path, columns: list[LabelColumn], counts: Sequence[int]) -> Labels:
    """Read what `serialize_labels` wrote.

    Args:
        path: the file.
        columns: its columns, from set.json.
        counts: number of training and of validation images.

    Returns:
        the labels of both splits.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it does not hold valid labels of these columns.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(read_bytes(path, 4 * len(columns) * sum(counts) + MAX_HEADER_BYTES))
    except SafetensorError as error:
        raise ValueError(f"{path.name}: {error}") from None
    tables = []
    for name, count in zip(("train", "val"), counts, strict=True):
        table = tensors.get(name)
        if table is None or tuple(table.shape) != (count, len(columns)) or not table.is_floating_point():
            raise ValueError(f"{path.name} holds no labels of {count} {name} images")
        tables.append(table.float())
        for column, numbers in zip(columns, table.T, strict=True):
            _check_numbers(column, numbers[~numbers.isnan()])
    return Labels(columns, *tables)


def _check_numbers(column: LabelColumn, numbers: Tensor) -> None:
    """Raise ValueError unless all numbers, of which none is missing, are valid for the kind of a column."""
    is_valid = numbers.isfinite()
    if column.kind != NUMERIC:
        is_valid &= (numbers >= 0) & (numbers < len(column.values)) & (numbers == numbers.floor())
    if not bool(is_valid.all()):
        raise ValueError(f"the column {column.name} holds invalid numbers")


def columns_to_json(columns: Sequence[LabelColumn]) -> list[dict[str, Any]]:
    """Return the columns as they are written to set.json.

    Args:
        columns: the columns.

    Returns:
        one JSON object per column, with "name", "kind" and "values".
    """
    return [{**asdict(column), "values": list(column.values)} for column in columns]


def columns_from_json(value: object) -> list[LabelColumn]:
    """Read what `columns_to_json` wrote.

    Args:
        value: part of set.json; it may be anything.

    Returns:
        the columns.

    Raises:
        ValueError: if it is no list of columns.
    """
    if not isinstance(value, list) or len(value) > MAX_COLUMNS:
        raise ValueError("the columns of the labels are no list")
    return [_column_from_json(item) for item in value]


def _column_from_json(item: object) -> LabelColumn:
    if not isinstance(item, dict):
        raise ValueError("a column of the labels is no object")
    name, kind, values = item.get("name"), item.get("kind"), item.get("values")
    is_text_list = isinstance(values, list) and all(isinstance(text, str) for text in values)
    if not isinstance(name, str) or kind not in LABEL_KINDS or not is_text_list:
        raise ValueError("a column of the labels has no valid name, kind or values")
    assert isinstance(values, list)
    return LabelColumn(name, str(kind), tuple(values))
