"""Labels for a dataset: read a table of them, infer the kinds of its columns, and find the row of each image.

Tables are CSV, TSV and JSON Lines files, and the attribute list of CelebA (Liu et al. 2015). The header tells whether
commas, semicolons or tabs separate the columns. The text is UTF-8, or UTF-16 with a byte order mark, as Excel writes.
Without a table, the name of the folder of an image can be its label.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from vaegan.data.labels import (
    BINARY,
    CATEGORICAL,
    MAX_COLUMNS,
    MAX_TEXT_LENGTH,
    MAX_VALUES,
    NO,
    NUMERIC,
    YES,
    LabelColumn,
    columns_to_json,
)
from vaegan.data.preprocess.tasks import METADATA_SUFFIXES
from vaegan.errors import UsageError, VaeganError, error_text, printable
from vaegan.events import EventHandler, Note
from vaegan.utils.files import check_regular, file_sha256, open_regular
from vaegan.utils.text import join_text, split_names

FOLDER_LABELS = "folders"
NO_LABELS = "none"
FOLDER_COLUMN = "class"
METADATA_TABLES = ("metadata.csv", "metadata.jsonl")
"""Tables beside the images that are used without being asked for (the convention of Hugging Face's ImageFolder)."""
IMAGE_COLUMNS = ("file_name", "filename", "file", "image", "image_id", "image_name", "path", "name", "id")
MISSING_TEXTS = frozenset(("", "nan", "null", "n/a"))
BINARY_TEXTS = (("0", "1"), ("-1", "1"), ("no", "yes"), ("false", "true"), ("off", "on"))
KIND_NAMES = {"binary": BINARY, "categorical": CATEGORICAL, "numeric": NUMERIC}
MAX_TABLE_BYTES = 2**30
QUOTED_TEXT = re.compile(r'"[^"]*"')
UTF16_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class LabelTable:
    """A table of labels, read from a file.

    Attributes:
        source: path of the file, or FOLDER_LABELS.
        columns: columns that are labels.
        rows: for the path of each image, as the file writes it, one number per column.
        sha256: SHA-256 of the file; "" for folders.
        left_out: a message for each column of the file that is no label.
    """

    source: str
    columns: list[LabelColumn]
    rows: dict[str, list[float]]
    sha256: str = ""
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MatchedLabels:
    """The labels of images.

    Attributes:
        table: the table that they come from.
        rows: one number per column for each image; NaN where a label is missing.
        num_unlabeled: number of images without a row.
        num_unused: number of rows without an image.
    """

    table: LabelTable
    rows: list[list[float]]
    num_unlabeled: int
    num_unused: int

    def to_info(self) -> dict[str, Any]:
        """Return the entry "labels" of set.json.

        Returns:
            a JSON object.
        """
        return {
            "source": self.table.source,
            "sha256": self.table.sha256,
            "columns": columns_to_json(self.table.columns),
            "num_unlabeled": self.num_unlabeled,
            "num_unused": self.num_unused,
        }


# ---- Reading --------------------------------------------------------------------------------------------------------


def find_label_table(sources: Sequence[Path]) -> Path | None:
    """Find a table of labels beside the images.

    Args:
        sources: folders and files that are prepared.

    Returns:
        the first metadata.csv or metadata.jsonl that lies directly in one of the folders, or None.
    """
    paths = (source / name for source in sources for name in METADATA_TABLES)
    return next((path for path in paths if path.is_file()), None)


def read_label_table(path: Path, chosen: str | None = None) -> LabelTable:
    """Read a table of labels and infer the kind of each column.

    Args:
        path: a .csv, .tsv or .jsonl file, or a text file of columns as CelebA's list_attr_celeba.txt.
        chosen: names of the columns to use, separated by commas; None for all. "age:numeric" also gives the kind. A
            name with a comma is in quotes.

    Returns:
        the table.

    Raises:
        UsageError: if a chosen column does not exist or cannot be a label.
        VaeganError: if the file cannot be read, or holds no labels.
    """
    if not path.exists():
        raise VaeganError(f"--labels {path}: no such file; give a .csv, .tsv or .jsonl file, or the word folders")
    try:
        check_regular(path)
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise VaeganError(
                f"--labels {path}: larger than {MAX_TABLE_BYTES // 2**30} GiB, which is no table of labels"
            )
        header, texts = _read_rows(path)
        sha256 = file_sha256(path)
    except UnicodeError as error:
        raise VaeganError(f"--labels {path}: cannot be read ({error_text(error)}): save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise VaeganError(f"--labels {path}: cannot be read ({error_text(error)})") from error
    if not texts:
        raise VaeganError(f"--labels {path}: holds no rows")
    image_index = _find_image_column(header, texts)
    wanted = _parse_chosen(path, chosen, [name for index, name in enumerate(header) if index != image_index])
    columns, indices, left_out = [], [], []
    for name, kind in wanted.items():
        index = header.index(name)
        column, reason = infer_column(name, [row[index] for row in texts], kind)
        if column is not None:
            columns.append(column)
            indices.append(index)
        elif chosen is not None:
            raise UsageError(f"--label-columns {name}: {reason}")
        else:
            left_out.append(f"{name} ({reason})")
    if not columns:
        raise VaeganError(f"--labels {path}: no column is a label ({join_text(left_out, 300, '; ')})")
    rows: dict[str, list[float]] = {}
    for row in texts:
        if key := _normalize(row[image_index]):
            labels = [encode_label(column, row[index]) for column, index in zip(columns, indices, strict=True)]
            rows.setdefault(key, labels)
    return LabelTable(str(path), columns, rows, sha256, left_out)


def _read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns, and the rows, each with one text per column."""
    suffix = path.suffix.lower()
    with open_regular(path) as file_bytes, io.TextIOWrapper(file_bytes, _find_encoding(file_bytes), newline="") as file:
        if suffix in (".csv", ".tsv"):
            lines = [file.readline(), file.readline()]
            return _read_csv(path, csv.reader(chain(lines, file), delimiter=_find_delimiter(*lines)))
        if suffix == ".jsonl":
            return _read_json_lines(path, file)
        if suffix == ".txt":
            return _read_celeba(path, file)
    raise UsageError(f"--labels {path}: expected a .csv, .tsv, .jsonl or CelebA .txt file, or the word folders")


def _find_encoding(file: io.BufferedReader) -> str:
    """Return the encoding of a file of text. Its position does not change."""
    start = file.read(2)
    file.seek(0)
    return "utf-16" if start in UTF16_BYTE_ORDER_MARKS else "utf-8-sig"


def _find_delimiter(header: str, first_row: str) -> str:
    """Return the delimiter of a table: tab, comma or semicolon. A delimiter in quotes does not count."""
    bare_header = QUOTED_TEXT.sub("", header)
    num_columns = {mark: bare_header.count(mark) + 1 for mark in "\t,;"}
    num_fields = {mark: QUOTED_TEXT.sub("", first_row).count(mark) + 1 for mark in num_columns}
    if num_columns["\t"] > 1:  # names hardly contain a tab
        return "\t"
    fitting = [mark for mark in ",;" if num_columns[mark] > 1 and num_columns[mark] == num_fields[mark]]
    return max(fitting or ",;", key=num_columns.__getitem__)


def _read_csv(path: Path, reader: Iterator[list[str]]) -> tuple[list[str], list[list[str]]]:
    header = [name.strip() for name in next(reader, [])]
    _check_header(path, header)
    return header, [_fit_row(row, len(header)) for row in reader if row]


def _fit_row(row: list[str], width: int) -> list[str]:
    """Return a row of `width` texts: shorter rows have missing values at their end. Equal texts share memory."""
    return [sys.intern(text) for text in row[:width]] + [""] * (width - len(row))


def _read_json_lines(path: Path, lines: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    header: dict[str, None] = {}
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise VaeganError(f"--labels {path}: line {number} is no JSON object")
        header |= dict.fromkeys(entry)
        entries.append({name: _json_text(value) for name, value in entry.items()})
    names = list(header)
    _check_header(path, names)
    return names, [_fit_row([entry.get(name, "") for name in names], len(names)) for entry in entries]


def _json_text(value: object) -> str:
    """Return a JSON value as the text that a CSV file would hold; lists and objects are no labels."""
    if value is None or isinstance(value, (list, dict)):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_celeba(path: Path, lines: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Read a number of images, then the names of the attributes, then a line of image and values for each image."""
    table = [line.split() for line in lines if line.strip()]
    if len(table) > 1 and len(table[0]) == 1 and table[0][0].isdigit():
        table = table[1:]
    header = table[0] if table else []
    if len(table) > 1 and len(table[1]) == len(header) + 1:
        header = [IMAGE_COLUMNS[0], *header]
    _check_header(path, header)
    if any(len(row) != len(header) for row in table[1:]):
        raise VaeganError(f"--labels {path}: its lines have different numbers of columns")
    return header, [_fit_row(row, len(header)) for row in table[1:]]


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) < 2:
        raise VaeganError(f"--labels {path}: needs a header, with a column of image names and a column of labels")
    if len(header) > MAX_COLUMNS:
        raise VaeganError(f"--labels {path}: {len(header)} columns; at most {MAX_COLUMNS} are read")
    repeated = next((name for name, count in Counter(header).items() if count > 1), None)
    if repeated is not None:
        raise VaeganError(f"--labels {path}: two columns are called {printable(repeated)!r}")


def _find_image_column(header: list[str], rows: list[list[str]]) -> int:
    """Return the index of the image names: a column of a usual name, else the first that differs in every row."""
    lower_names = [name.lower() for name in header]
    usual = next((lower_names.index(name) for name in IMAGE_COLUMNS if name in lower_names), None)
    if usual is not None:
        return usual
    return next((index for index in range(len(header)) if len({row[index] for row in rows}) == len(rows)), 0)


def _parse_chosen(path: Path, chosen: str | None, known: list[str]) -> dict[str, str | None]:
    """Return the columns to use and the kinds that were given for them."""
    if chosen is None:
        return dict.fromkeys(known)
    wanted: dict[str, str | None] = {}
    for part in split_names(chosen):
        name, kind = part, None
        if name not in known and ":" in name:
            name, _, kind = name.rpartition(":")
            if kind not in KIND_NAMES:
                raise UsageError(f"--label-columns {part}: expected a kind of {', '.join(KIND_NAMES)}")
        if name not in known:
            raise UsageError(f"--label-columns {name}: {path} has the columns {join_text(known, 300)}")
        wanted[name] = kind
    return wanted


# ---- Kinds of columns -----------------------------------------------------------------------------------------------


def infer_column(name: str, texts: Sequence[str], kind: str | None = None) -> tuple[LabelColumn | None, str]:
    """Infer the kind of a column from its texts.

    Texts such as 0 and 1, -1 and 1, no and yes are binary. Numbers are numeric, other texts categorical.

    Args:
        name: name of the column.
        texts: its text in each row; empty where it is missing.
        kind: BINARY, CATEGORICAL or NUMERIC, instead of the inferred kind.

    Returns:
        the column, or None, and the reason why it cannot be a label, or "".
    """
    present = [text for text in map(str.strip, texts) if text.lower() not in MISSING_TEXTS]
    distinct = sorted(set(present))
    if not distinct:
        return None, "all values are missing"
    if len(distinct) == 1:
        return None, f"every image has the same value, {printable(distinct[0])}"
    if len(printable(name)) > MAX_TEXT_LENGTH or not name.isprintable():
        return None, f"its name is not text of at most {MAX_TEXT_LENGTH} characters"
    numbers = [_parse_number(text) for text in distinct]
    if kind in (None, BINARY) and len({text.lower() for text in distinct}) == 2:
        lowered = {text.lower() for text in distinct}
        if any(lowered == set(pair) for pair in BINARY_TEXTS) or set(numbers) in ({0.0, 1.0}, {-1.0, 1.0}):
            return LabelColumn(name, BINARY, (NO, YES)), ""
    if kind == BINARY:
        return None, f"is not binary: its values are {printable(', '.join(distinct[:5]))}"
    if kind in (None, NUMERIC):
        if all(number is not None for number in numbers):
            return LabelColumn(name, NUMERIC), ""
        if kind == NUMERIC:
            text = next(text for text, number in zip(distinct, numbers, strict=True) if number is None)
            return None, f"is not numeric: {printable(text)!r} is no number"
    return _infer_categorical(name, present, distinct)


def _infer_categorical(name: str, present: list[str], distinct: list[str]) -> tuple[LabelColumn | None, str]:
    if len(distinct) == len(present):
        return None, "every image has another value"
    if len(distinct) > MAX_VALUES:
        return None, f"{len(distinct)} different values; at most {MAX_VALUES} can be told apart"
    too_long = next((text for text in distinct if len(text) > MAX_TEXT_LENGTH or not text.isprintable()), None)
    if too_long is not None:
        return None, f"the value {printable(too_long, 40)!r} is not text of at most {MAX_TEXT_LENGTH} characters"
    return LabelColumn(name, CATEGORICAL, tuple(distinct)), ""


def _parse_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e30 else None


def encode_label(column: LabelColumn, text: str) -> float:
    """Return the number that stands for a text in a column.

    Args:
        column: the column.
        text: the text of one row.

    Returns:
        0 or 1, the index of a value, or a number; NaN for a missing label.
    """
    text = text.strip()
    if text.lower() in MISSING_TEXTS:
        return math.nan
    if column.kind == CATEGORICAL:
        return float(column.values.index(text)) if text in column.values else math.nan
    number = _parse_number(text)
    if column.kind == NUMERIC:
        return math.nan if number is None else number
    if number is not None:
        return float(number > 0)
    return float(any(text.lower() == yes for _, yes in BINARY_TEXTS))


# ---- Matching -------------------------------------------------------------------------------------------------------


def _normalize(path: str) -> str:
    """Return a path as the names of images are written: with slashes, and without "./" in front."""
    return PurePosixPath(path.strip().replace("\\", "/")).as_posix().removeprefix("/") if path.strip() else ""


def match_labels(table: LabelTable, names: Sequence[str], copies: Mapping[str, Sequence[str]]) -> MatchedLabels:
    """Find the row of each image.

    A row belongs to the image whose name ends with the row's path, or with its file name, where the suffix of the file
    may be missing. A row that fits several images in this way belongs to none of them, unless it is the whole name.

    Args:
        table: the table.
        names: name of each image, with "/" between folders. Frames of one file have the same name.
        copies: names of files that were dropped as copies of an image, by the name of the image.

    Returns:
        the labels of the images, in the order of `names`.
    """
    keys = _index_keys(table.rows)
    candidates: dict[str, list[str]] = {}  # name of an image -> names under which it may be found
    for name in names:
        candidates.setdefault(name, [name, *copies.get(name, ())])
    found: dict[str, str] = {}
    users: Counter[str] = Counter()
    for name, aliases in candidates.items():
        key = next((key for alias in aliases if (key := _find_key(alias, table.rows, keys)) is not None), None)
        if key is not None:
            found[name] = key
            users[key] += 1
    for name, key in list(found.items()):
        if users[key] > 1 and _normalize(name) != key:
            del found[name]
    missing = [math.nan] * len(table.columns)
    rows = [table.rows[found[name]] if name in found else missing for name in names]
    num_unlabeled = sum(name not in found for name in names)
    return MatchedLabels(table, rows, num_unlabeled, len(table.rows) - len(set(found.values())))


def _index_keys(rows: Iterable[str]) -> dict[str, str | None]:
    """Map file names and file names without suffix to their row's key; None where several rows have the same."""
    index: dict[str, str | None] = {}
    for key in rows:
        path = PurePosixPath(key)
        for short in {path.name, path.stem}:
            index[short] = None if short in index and index[short] != key else key
    return index


def _find_key(name: str, rows: dict[str, list[float]], index: dict[str, str | None]) -> str | None:
    parts = _normalize(name).split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        if tail in rows:
            return tail
        stem, dot, _ = tail.rpartition(".")
        if dot and stem in rows:
            return stem
    path = PurePosixPath(parts[-1])
    return index.get(path.name) or index.get(path.stem)


def folder_labels(names: Sequence[str]) -> MatchedLabels:
    """Label each image with the name of the folder that it lies in.

    Args:
        names: name of each image, with "/" between folders.

    Returns:
        labels of one categorical column, FOLDER_COLUMN.

    Raises:
        VaeganError: if the images do not lie in two or more folders.
    """
    folders = [PurePosixPath(name).parent.name for name in names]
    column, reason = infer_column(FOLDER_COLUMN, folders, CATEGORICAL)
    if column is None:
        raise VaeganError(f"--labels folders: {reason}; the images must lie in two or more folders, one for each class")
    rows = [[encode_label(column, folder)] for folder in folders]
    num_unlabeled = sum(math.isnan(row[0]) for row in rows)
    return MatchedLabels(LabelTable(FOLDER_LABELS, [column], {}), rows, num_unlabeled, 0)


class LabelMatcher:
    """Labels images as the options --labels and --label-columns ask.

    The table is read at once, so that an error in it is reported before the work.

    Raises:
        UsageError: if a column of --label-columns does not exist or cannot be a label.
        VaeganError: if the table of --labels cannot be read.
    """

    def __init__(self, labels: str | None, columns: str | None, sources: Sequence[Path], emit: EventHandler) -> None:
        self.uses_folders, self.table, self.emit = labels == FOLDER_LABELS, None, emit
        self.is_found = labels is None
        if labels is not None and labels not in (FOLDER_LABELS, NO_LABELS):
            self.table = read_label_table(Path(labels), columns)
        elif labels is None:
            self.table = _read_found_table(sources, columns, emit)
            if self.table is None and columns is not None:
                raise UsageError(f"--label-columns {columns} needs --labels FILE")
        for message in self.table.left_out if self.table is not None else ():
            emit(Note(f"Not a label: {message}"))

    def check_fits(self, names: Iterable[str]) -> None:
        """Check before the work that a row of the table fits one of the files.

        A table that was found beside the images and fits none is not used; a note says so.

        Args:
            names: names of the files, with "/" between folders.

        Raises:
            VaeganError: if no row of the table of --labels fits.
        """
        if self.table is None:
            return
        keys, example = _index_keys(self.table.rows), ""
        for name in names:
            if _find_key(name, self.table.rows, keys) is not None:
                return
            if not example and PurePosixPath(name).suffix.lower() not in METADATA_SUFFIXES:
                example = name
        if not example:  # there is nothing but tables, which has an error of its own
            return
        error = _no_row_fits(self.table, example)
        if not self.is_found:
            raise error
        self.emit(Note(f"No labels are used: {str(error).removeprefix('--labels ')}"))
        self.table = None

    @property
    def source(self) -> dict[str, str] | None:
        """The source of the labels, and the SHA-256 of the table, as in set.json; None without labels."""
        if self.uses_folders:
            return {"source": FOLDER_LABELS, "sha256": ""}
        return None if self.table is None else {"source": self.table.source, "sha256": self.table.sha256}

    def match(self, names: Sequence[str], copies: Mapping[str, Sequence[str]]) -> MatchedLabels | None:
        """Label images; see `match_labels`.

        Args:
            names: name of each image, with "/" between folders.
            copies: names of files that were dropped as copies of an image, by the name of the image.

        Returns:
            the labels, or None if none are asked for.

        Raises:
            VaeganError: if no row of the table of --labels fits, or there are no folders to be labels.
        """
        if self.uses_folders:
            return folder_labels(names)
        if self.table is None:
            return None
        matched = match_labels(self.table, names, copies)
        if names and matched.num_unlabeled == len(names) and not self.is_found:
            raise _no_row_fits(self.table, names[0])
        return matched


def _no_row_fits(table: LabelTable, image: str) -> VaeganError:
    """Return the error that a table belongs to other images than `image`."""
    shown = printable(next(iter(table.rows), ""), 100)
    return VaeganError(
        f"--labels {table.source}: no row of the labels fits an image. Its first row is of {shown!r}, the first image"
        f" is {printable(image, 100)!r}: the column of names must hold the images' file names"
    )


def _read_found_table(sources: Sequence[Path], columns: str | None, emit: EventHandler) -> LabelTable | None:
    """Read the table beside the images, if there is one that holds labels."""
    path = find_label_table(sources)
    if path is None:
        return None
    try:
        table = read_label_table(path, columns)
    except UsageError:
        raise
    except VaeganError as error:
        emit(Note(f"No labels are used: {str(error).removeprefix('--labels ')}"))
        return None
    emit(Note(f"Using the labels in {path}; --labels none ignores them"))
    return table
