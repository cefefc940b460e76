"""Shards of uint8 images: safetensors files that are written one image at a time.

A safetensors file is an 8-byte header length, a JSON header and the tensors' bytes. This module does not import
torch, so that preprocessing does not need it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from vaegan.utils.files import open_regular

MAX_SHARD_BYTES = 2**27
MAX_HEADER_BYTES = 2**16
ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def shard_name(index: int) -> str:
    """Return the file name of a shard.

    Args:
        index: from 0.

    Returns:
        the name.
    """
    return f"images-{index:05d}.safetensors"


def write_shard(path: Path, images: Iterable[bytes], splits: bytes, shape: ImageShape, digest: Any) -> None:
    """Write one shard with the tensors "images", uint8 [N, C, S, S], and "split", uint8 [N].

    Args:
        path: file to write.
        images: N images, uint8 [C, S, S] each.
        splits: N bytes, TRAIN or VAL.
        shape: [C, S, S].
        digest: hashlib hash, updated with all that is written after the header.

    Raises:
        OSError: if the file cannot be written.
    """
    count, num_image_bytes = len(splits), len(splits) * math.prod(shape)
    header = json.dumps(
        {
            "images": {"dtype": "U8", "shape": [count, *shape], "data_offsets": [0, num_image_bytes]},
            "split": {"dtype": "U8", "shape": [count], "data_offsets": [num_image_bytes, num_image_bytes + count]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for image in images:
            file.write(image)
            digest.update(image)
        file.write(splits)
    digest.update(splits)


def hash_shard(path: Path, digest: Any) -> None:
    """Update a hash with a shard's bytes after the header, as `write_shard` does.

    Args:
        path: the shard.
        digest: hashlib hash.

    Raises:
        OSError: if the file cannot be read.
    """
    with open_regular(path) as file:
        header_length = int.from_bytes(file.read(8), "little")
        file.seek(8 + min(header_length, MAX_HEADER_BYTES))
        while chunk := file.read(2**20):
            digest.update(chunk)


def images_offset(file: BinaryIO) -> int:
    """Return the position of an open shard's images.

    Args:
        file: the shard, at its start.

    Returns:
        bytes from the start of the file.

    Raises:
        ValueError: if the header is damaged.
        KeyError: if it describes no images.
    """
    header_length = int.from_bytes(file.read(8), "little")
    if header_length > MAX_HEADER_BYTES:
        raise ValueError("the header is too long")
    return 8 + header_length + int(json.loads(file.read(header_length))["images"]["data_offsets"][0])
