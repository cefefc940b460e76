"""Prepared datasets on disk: set.json, shards of uint8 images, manifest.jsonl and a preview."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.data.labels import LABELS_FILE, Labels, columns_from_json, read_labels
from vaegan.data.shards import MAX_SHARD_BYTES, ImageShape, hash_shard, shard_name, write_shard
from vaegan.errors import VaeganError, error_text, printable
from vaegan.utils.files import open_regular, read_json, read_json_lines, require_unicode, restore_replaced, write_json

if TYPE_CHECKING:  # preprocessing does not need torch
    from torch import Tensor

    from vaegan.data.memmap import MemmapImages

DATASET_FORMAT_VERSION = 2
MAX_SHARD_IMAGES = 8192
MAX_MANIFEST_LINE = 2**16
TRAIN, VAL = 0, 1
SPLIT_NAMES = ("train", "val")
FEATURES_FILE = "features.safetensors"
DATASET_FILES = frozenset(("set.json", "manifest.jsonl", "preview.png", FEATURES_FILE, LABELS_FILE))
"""The files of a dataset beside its shards."""


def _is_whole(value: Any, low: int = 0, high: int = 10**15) -> bool:
    return type(value) is int and low <= value <= high


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_whole, value.values()))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# The shape of set.json: a check of each entry, and what it expects.
_Entries = dict[str, tuple[Callable[[Any], bool], str]]
_REQUIRED_ENTRIES: _Entries = {
    "size": (lambda value: _is_whole(value, 1, 2**14), "a number of pixels"),
    "channels": (lambda value: type(value) is int and value in (1, 3), "1 or 3"),
    "shards": (lambda value: _is_whole(value, 1), "a number of files"),
    "counts": (lambda value: _is_counts(value) and value.keys() >= {*SPLIT_NAMES}, "the numbers of images"),
    "fingerprint": (_is_text, "text"),
}
_OPTIONAL_ENTRIES: _Entries = {
    "options": (lambda value: isinstance(value, dict), "options by name"),
    "sources": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of paths"),
    "sources_fingerprint": (_is_text, "text"),
    "skip_reasons": (_is_counts, "numbers of files"),
    "pipeline_version": (_is_whole, "a whole number"),
    "gray_bits": (lambda value: _is_whole(value, 0, 16), "a number of bits"),
    "vaegan_version": (_is_text, "text"),
    "fit": (_is_text, "text"),
}


@dataclass(frozen=True)
class PreparedDataset:
    """An open prepared dataset: its directory, and the content of set.json."""

    path: Path
    info: dict[str, Any]

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return int(self.info["size"])

    @property
    def channels(self) -> int:
        """1 for grayscale, 3 for RGB."""
        return int(self.info["channels"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all images, splits and labels. Datasets with equal fingerprints train identically."""
        return str(self.info["fingerprint"])

    @property
    def counts(self) -> dict[str, int]:
        """Number of `train` images, of `val` images and of `skipped` files."""
        return dict(self.info["counts"])

    def open_memmap(self) -> tuple[MemmapImages, MemmapImages]:
        """Memory-map the training and the validation images.

        Returns:
            both splits.

        Raises:
            VaeganError: if a shard is damaged.
        """
        from vaegan.data.memmap import MemmapImages, MemmapShard

        shape = (self.channels, self.size, self.size)
        shards = [MemmapShard(path, shape, MAX_SHARD_IMAGES) for path in self._shard_paths()]
        train, val = (MemmapImages(shards, split) for split in (TRAIN, VAL))
        if (len(train), len(val)) != (self.counts["train"], self.counts["val"]):
            raise VaeganError(
                f"{self.path} is damaged: its shards hold {len(train)} train and {len(val)} val images, set.json says"
                f" {self.counts['train']} and {self.counts['val']}; prepare the dataset again"
            )
        return train, val

    def _shard_paths(self) -> Iterator[Path]:
        """Yield the paths one by one: a damaged set.json may claim 10^12 shards, and the first missing one ends it."""
        return (self.path / shard_name(index) for index in range(int(self.info["shards"])))

    def load(self) -> tuple[Tensor, Tensor]:
        """Read the training and the validation images into memory.

        Returns:
            both splits, uint8 [N, C, S, S] each.

        Raises:
            VaeganError: if a shard is damaged.
        """
        train, val = self.open_memmap()
        return train[:], val[:]

    @property
    def has_labels(self) -> bool:
        """Whether the dataset was prepared with labels."""
        return self.info.get("labels") is not None

    def load_labels(self) -> Labels:
        """Read the labels of all images, in the order of `load`.

        Returns:
            the columns, and numbers float32 [N, columns] of the training and of the validation images.

        Raises:
            VaeganError: if the dataset has no labels, or they are damaged.
        """
        if not self.has_labels:
            raise VaeganError(
                f"{self.path} has no labels: prepare it with vaegan preprocess SRC --labels FILE or folders"
            )
        try:
            columns = columns_from_json(self.info["labels"]["columns"])
            return read_labels(self.path / LABELS_FILE, columns, [self.counts[split] for split in SPLIT_NAMES])
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = printable(error_text(error), 200)
            raise VaeganError(f"the labels of {self.path} are damaged ({cause}): prepare the dataset again") from None

    def image_names(self) -> tuple[list[str], list[str]]:
        """Return the source path of each training and each validation image, in the order of `load`.

        If the manifest does not list all images of a split, they are named by their position, such as "train 12".

        Returns:
            the names of both splits.
        """
        entries = sorted(_read_manifest(self.path / "manifest.jsonl"))

        def split_names(split: str) -> list[str]:
            names = [name for _, name, entry_split in entries if entry_split == split]
            count = self.counts[split]
            return names if len(names) == count else [f"{split} {index}" for index in range(count)]

        return split_names("train"), split_names("val")

    def is_intact(self) -> bool:
        """Return whether the bytes of all shards still match the fingerprint.

        Returns:
            False also if a shard cannot be read.
        """
        digest = hashlib.sha256()
        try:
            for path in self._shard_paths():
                hash_shard(path, digest)
            if self.has_labels:
                with open_regular(self.path / LABELS_FILE) as file:
                    while chunk := file.read(2**20):
                        digest.update(chunk)
        except OSError:
            return False
        return digest.hexdigest() == self.fingerprint


def _read_manifest(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (row, name, split) of each image in the manifest. Lines that cannot be read are ignored."""
    if not path.exists():
        return
    for entry in read_json_lines(path, MAX_MANIFEST_LINE):
        row, name, split, frame = (entry.get(key) for key in ("row", "path", "split", "frame"))
        if type(row) is int and row >= 0 and isinstance(name, str) and isinstance(split, str) and split in SPLIT_NAMES:
            yield row, printable(name, 300) + (f" frame {frame}" if _is_whole(frame) else ""), split


def find_foreign_entry(path: Path) -> str | None:
    """Return the name of a file or folder in a dataset's directory that is not part of the dataset.

    Hidden files and those that desktops leave in every folder do not count.

    Args:
        path: the dataset's directory.

    Returns:
        the first such name, or None.
    """
    for entry in sorted(path.iterdir()):
        is_shard = entry.name.startswith("images-") and entry.suffix == ".safetensors"
        is_ignored = entry.name.startswith(".") or entry.name in ("Thumbs.db", "desktop.ini")
        if not is_shard and not is_ignored and entry.name not in DATASET_FILES:
            return entry.name
    return None


def is_dataset(path: Path) -> bool:
    """Return whether a directory looks like a prepared dataset.

    Args:
        path: the directory.

    Returns:
        whether it holds a set.json.
    """
    return (path / "set.json").is_file()


def open_dataset(path: Path) -> PreparedDataset:
    """Open a prepared dataset.

    Args:
        path: its directory.

    Returns:
        the dataset.

    Raises:
        VaeganError: if it is missing, damaged or of another format.
    """
    require_unicode(path)
    restore_replaced(path)
    if not path.exists():
        raise VaeganError(f"{path} does not exist; prepare a dataset with: vaegan preprocess FOLDER --out {path}")
    if not is_dataset(path):
        raise VaeganError(f"{path} is not a prepared dataset; prepare one with: vaegan preprocess {path}")
    info = read_json(path / "set.json")
    version = info.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise VaeganError(f"{path} is damaged: format_version {printable(version)}; prepare the dataset again")
    if version < DATASET_FORMAT_VERSION:
        raise VaeganError(f"{path} has format {version}, of vaegan 0.1: prepare it again with: vaegan preprocess")
    if version > DATASET_FORMAT_VERSION:
        raise VaeganError(
            f"{path} has format {version}, this vaegan reads up to {DATASET_FORMAT_VERSION}: upgrade vaegan"
        )
    _check_info(path / "set.json", info)
    return PreparedDataset(path, info)


def _check_info(path: Path, info: dict[str, Any]) -> None:
    """Raise VaeganError if an entry of set.json is missing, or has another type or range than `write_dataset` gives."""
    for name, (is_valid, expected) in (_REQUIRED_ENTRIES | _OPTIONAL_ENTRIES).items():
        if name not in info and name in _OPTIONAL_ENTRIES:
            continue
        if not is_valid(info.get(name)):
            found = printable(repr(info[name]), 40) if name in info else "missing"
            raise VaeganError(f"{path} is damaged: {name} is {found}, expected {expected}; prepare the dataset again")


def write_dataset(
    out_dir: Path,
    images: Iterable[bytes],
    splits: bytes,
    shape: ImageShape,
    info: dict[str, Any],
    labels: bytes | None = None,
) -> None:
    """Write the shards and set.json into `out_dir`. Only one image is held in memory.

    Args:
        out_dir: An existing directory.
        images: uint8 [C, S, S] each; as many as `splits` has bytes.
        splits: The split of each image, TRAIN or VAL.
        shape: The shape of one image.
        info: Further entries of set.json. The split sizes are added to its `counts`.
        labels: The content of labels.safetensors; None for a dataset without labels.

    Raises:
        OSError: if a file cannot be written.
    """
    digest = hashlib.sha256()
    remaining, shard_size = iter(images), max(1, min(MAX_SHARD_IMAGES, MAX_SHARD_BYTES // math.prod(shape)))
    starts = range(0, max(1, len(splits)), shard_size)
    for index, start in enumerate(starts):
        shard_splits = splits[start : start + shard_size]
        write_shard(out_dir / shard_name(index), islice(remaining, len(shard_splits)), shard_splits, shape, digest)
    if labels is not None:
        (out_dir / LABELS_FILE).write_bytes(labels)
        digest.update(labels)
    split_counts = {name: splits.count(split) for split, name in enumerate(SPLIT_NAMES)}
    info = {"format_version": DATASET_FORMAT_VERSION, "size": shape[1], "channels": shape[0], **info}
    info |= {"counts": split_counts | info.get("counts", {}), "shards": len(starts), "fingerprint": digest.hexdigest()}
    write_json(out_dir / "set.json", info)


def write_manifest(out_dir: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write manifest.jsonl: one JSON object per image or skipped file.

    Args:
        out_dir: the dataset's directory.
        entries: the objects to write.
    """
    with (out_dir / "manifest.jsonl").open("w", encoding="utf-8") as file:
        for entry in entries:
            # ASCII, because file names that are not UTF-8 contain surrogates
            file.write(json.dumps(entry, ensure_ascii=True) + "\n")


def find_newest_dataset(root: Path) -> Path | None:
    """Return the prepared dataset directly under a directory that was written last.

    Args:
        root: the directory, such as data/.

    Returns:
        the dataset's directory, or None.
    """
    paths = [path for path in root.glob("*") if is_dataset(path) and not path.name.startswith(".")]
    return max(paths, key=lambda path: (path / "set.json").stat().st_mtime, default=None)
