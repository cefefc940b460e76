"""A prepared set on disk: set.json, shards of uint8 pictures, manifest.jsonl and a contact sheet."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.data.shards import ImageShape, images_per_shard, shard_name, write_shard
from vaegan.errors import VaeganError, printable
from vaegan.utils.files import read_json, restore_replaced, write_json

if TYPE_CHECKING:  # preprocess needs no torch
    from torch import Tensor

    from vaegan.data.memmap import MemmapImages

DATASET_FORMAT_VERSION = 2
MAX_SHARD_IMAGES = 8192
MAX_MANIFEST_LINE = 2**16
TRAIN, VAL = 0, 1
SPLIT_NAMES = ("train", "val")
FEATURES_FILE = "features.safetensors"
DATASET_FILES = frozenset(("set.json", "manifest.jsonl", "preview.png", FEATURES_FILE))
"""What a set is made of, beside its shards."""


@dataclass(frozen=True)
class PreparedDataset:
    """An open prepared set. The pictures are read by `load`."""

    path: Path
    info: dict[str, Any]

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.info["size"])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.info["channels"])

    @property
    def fingerprint(self) -> str:
        """Hash of every picture and its split: equal exactly when two sets train alike."""
        return str(self.info["fingerprint"])

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures are in the `train` and `held-out` splits, and how many files were `skipped`."""
        return dict(self.info["counts"])

    def open_memmap(self) -> tuple[MemmapImages, MemmapImages]:
        """Open everything, and read it as it is asked for: (train, held-out). Raises VaeganError on damage."""
        from vaegan.data.memmap import MemmapImages, MemmapShard

        shape = (self.channels, self.size, self.size)
        shards = [
            MemmapShard(self.path / shard_name(index), shape, MAX_SHARD_IMAGES)
            for index in range(int(self.info["shards"]))
        ]
        train, held_out = (MemmapImages(shards, split) for split in (TRAIN, VAL))
        if (len(train), len(held_out)) != (self.counts["train"], self.counts["val"]):
            raise VaeganError(f"{self.path} is damaged: its shards do not hold what set.json says; prepare it again")
        return train, held_out

    def load(self) -> tuple[Tensor, Tensor]:
        """Read everything: (train, held-out), each uint8 [N, C, S, S]. Raises VaeganError on damage."""
        train, held_out = self.open_memmap()
        return train[:], held_out[:]

    def image_names(self) -> tuple[list[str], list[str]]:
        """Where each picture came from, (train, held-out), as `load` orders them: the manifest's path.

        A picture that the manifest does not tell is named after its place, such as "train 12".
        """
        found = tuple([f"{split} {place}" for place in range(self.counts[split])] for split in SPLIT_NAMES)
        told = sorted(_read_manifest(self.path / "manifest.jsonl"))
        for names, split in zip(found, SPLIT_NAMES, strict=True):
            paths = [path for _, path, side in told if side == split]
            if len(paths) == len(names):
                names[:] = paths
        return found[0], found[1]


def _read_manifest(path: Path) -> Iterator[tuple[int, str, str]]:
    """(row, path, split) of each picture that the manifest tells; what cannot be read is passed over."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(MAX_MANIFEST_LINE):
            with contextlib.suppress(ValueError, RecursionError, AttributeError):
                said = json.loads(line)
                row, name, split = said.get("row"), said.get("path"), said.get("split")
                if type(row) is int and isinstance(name, str) and isinstance(split, str):
                    frame = said.get("frame")
                    yield row, printable(name, 300) + (f" frame {frame}" if type(frame) is int else ""), split


def find_foreign_entry(path: Path) -> str | None:
    """Return the name of something in the directory of a set that is no part of one, or None.

    What systems leave in every folder that someone looks at is passed over.
    """
    for entry in sorted(path.iterdir()):
        ours = entry.name in DATASET_FILES or (entry.name.startswith("images-") and entry.suffix == ".safetensors")
        if not ours and not entry.name.startswith(".") and entry.name not in ("Thumbs.db", "desktop.ini"):
            return entry.name
    return None


def is_dataset(path: Path) -> bool:
    """Say whether `path` looks like a prepared set."""
    return (path / "set.json").is_file()


def open_dataset(path: Path) -> PreparedDataset:
    """Open the prepared set at `path`. Raises VaeganError, with the command that would make one, otherwise."""
    restore_replaced(path)
    if not path.exists():
        raise VaeganError(f"{path} does not exist; make a prepared set with: vaegan preprocess FOLDER --out {path}")
    if not is_dataset(path):
        raise VaeganError(f"{path} is not a prepared set; make one with: vaegan preprocess {path}")
    info = read_json(path / "set.json")
    version = info.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise VaeganError(f"{path / 'set.json'} is damaged: format_version {printable(version)}; prepare the set again")
    if version < DATASET_FORMAT_VERSION:
        raise VaeganError(
            f"{path} has format {version}, of vaegan 0.1, which is no longer read: prepare it again with: vaegan preprocess"
        )
    if version > DATASET_FORMAT_VERSION:
        raise VaeganError(
            f"{path} has format {version}, this vaegan reads up to {DATASET_FORMAT_VERSION}: upgrade vaegan"
        )
    counts = info.get("counts")
    whole = all(isinstance(info.get(key), int) and info[key] > 0 for key in ("size", "channels", "shards"))
    if not whole or not isinstance(counts, dict) or not isinstance(info.get("fingerprint"), str):
        raise VaeganError(f"{path / 'set.json'} is damaged: entries are missing; prepare the set again")
    if not all(isinstance(counts.get(split), int) for split in SPLIT_NAMES):
        raise VaeganError(f"{path / 'set.json'} is damaged: counts are missing; prepare the set again")
    return PreparedDataset(path, info)


def write_dataset(
    out_dir: Path, images: Iterable[bytes], splits: bytes, shape: ImageShape, info: dict[str, Any]
) -> None:
    """Write shards and set.json into the directory `place`, holding one picture in memory.

    pictures: uint8 [C, S, S] each, of that `shape`, as many as `splits` (0 train, 1 held-out); info: what else set.json
    says, of which `counts` is added to.
    """
    digest = hashlib.sha256()
    remaining, rows = iter(images), images_per_shard(shape, MAX_SHARD_IMAGES)
    starts = range(0, max(1, len(splits)), rows)
    for index, start in enumerate(starts):
        part = splits[start : start + rows]
        write_shard(out_dir / shard_name(index), islice(remaining, len(part)), part, shape, digest)
    counts = {name: splits.count(number) for number, name in enumerate(SPLIT_NAMES)}
    write_json(
        out_dir / "set.json",
        {
            "format_version": DATASET_FORMAT_VERSION,
            "size": shape[1],
            "channels": shape[0],
            **info,
            "counts": counts | info.get("counts", {}),
            "shards": len(starts),
            "fingerprint": digest.hexdigest(),
        },
    )


def write_manifest(out_dir: Path, manifest_rows: Iterable[dict[str, Any]]) -> None:
    """Write manifest.jsonl: a JSON object per source file."""
    with (out_dir / "manifest.jsonl").open("w", encoding="utf-8") as file:
        for line in manifest_rows:
            # surrogates stand for bytes that are no UTF-8 in a file's name: escape them
            file.write(json.dumps(line, ensure_ascii=True) + "\n")


def find_newest_dataset(root: Path) -> Path | None:
    """Return the prepared set directly under `root` that was written last, if any."""
    found = [path.parent for path in root.glob("*/set.json") if not path.parent.name.startswith(".")]
    return max(found, key=lambda path: (path / "set.json").stat().st_mtime, default=None)
