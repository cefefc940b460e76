"""Shards of uint8 pictures, written and read row by row, so that memory is that of one picture.

The files are safetensors (an 8-byte length, a JSON header, the bytes), which any safetensors library reads. Nothing
here imports torch.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from vaegan.errors import VaeganError, error_text

MAX_SHARD_BYTES = 2**27
MAX_HEADER_BYTES = 2**16
ImageShape = tuple[int, int, int]


def shard_name(index: int) -> str:
    """Name of the index-th shard."""
    return f"images-{index:05d}.safetensors"


def images_per_shard(shape: ImageShape, max_images: int) -> int:
    """How many pictures a shard holds: at most `limit`, and at most 128 MiB."""
    return max(1, min(max_images, MAX_SHARD_BYTES // math.prod(shape)))


def write_shard(path: Path, images: Iterable[bytes], splits: bytes, shape: ImageShape, digest: Any) -> None:
    """Write one shard: "images", uint8 [N, C, S, S], and "split", uint8 [N].

    pictures: the bytes of as many pictures as `splits` has; digest: a hash that is fed what is written.
    """
    count, size = len(splits), len(splits) * math.prod(shape)
    header = json.dumps(
        {
            "images": {"dtype": "U8", "shape": [count, *shape], "data_offsets": [0, size]},
            "split": {"dtype": "U8", "shape": [count], "data_offsets": [size, size + count]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for picture in images:
            file.write(picture)
            digest.update(picture)
        file.write(splits)
    digest.update(splits)


class Rows:
    """The pictures of a prepared set by row, read one at a time."""

    def __init__(self, folder: Path, shards: int, shape: ImageShape) -> None:
        """Open the set's shards. Raises VaeganError when one is missing or not what it should be."""
        self.size = math.prod(shape)
        self.files: list[tuple[int, int, BinaryIO]] = []
        self._stack = contextlib.ExitStack()
        first = 0
        for index in range(shards):
            path = folder / shard_name(index)
            try:
                file = self._stack.enter_context(path.open("rb"))
                start, count = locate_images(file, shape)
            except (OSError, ValueError, KeyError, TypeError) as error:
                self.close()
                raise VaeganError(f"{path} is damaged ({error_text(error)}): prepare the set again") from error
            self.files.append((first, start, file))
            first += count
        self.count = first

    def read(self, row: int) -> bytes:
        """The bytes of a picture, uint8 [C, S, S]; fewer where the file is cut short."""
        first, start, file = next(entry for entry in reversed(self.files) if entry[0] <= row)
        file.seek(start + (row - first) * self.size)
        return file.read(self.size)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()


def locate_images(file: BinaryIO, shape: Sequence[int]) -> tuple[int, int]:
    """Where the pictures of an open shard start, in bytes, and how many there are. Raises ValueError or KeyError."""
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError("no header")
    entry = json.loads(file.read(length))["images"]
    if entry["dtype"] != "U8" or entry["shape"][1:] != list(shape):
        raise ValueError("pictures of another shape")
    return 8 + length + int(entry["data_offsets"][0]), int(entry["shape"][0])
