"""Describe files of latents without torch, whose import takes a second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.checkpoint import METADATA_KEY, open_safetensors

LATENTS_KEY, NAMES_KEY, CLASSES_KEY = "latents", "names", "classes"
WEIGHTS_HASH_KEY, ENCODER_HASH_KEY = "weights_sha256", "encoder_sha256"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
MAX_TEXT_BYTES = 2**26


@dataclass(frozen=True)
class LatentsInfo:
    """Description of a file of latents.

    Attributes:
        count: number of latents.
        latent_dim: their dimensions.
        dtype: their type, such as "float32".
        names: names of the encoded images; empty for a file of another program.
        classes: class of each image, for a conditional model.
        metadata: what the file says of the model that encoded the images; it may be anything.
    """

    count: int
    latent_dim: int
    dtype: str
    names: list[str]
    classes: list[str]
    metadata: dict[str, Any]


def read_latents_info(path: Path) -> LatentsInfo | None:
    """Read the description of a file of latents.

    Args:
        path: .safetensors file of any program.

    Returns:
        the description; None if the file holds something else.

    Raises:
        VaeganError: if it is damaged or no safetensors file.
    """
    with open_safetensors(path, "numpy") as file:
        keys, metadata = set(file.keys()), _parse_metadata(file)
        if LATENTS_KEY not in keys or "format_version" in metadata:  # only weights have one
            return None
        tensor = file.get_slice(LATENTS_KEY)
        shape, dtype = tensor.get_shape(), DTYPES.get(tensor.get_dtype())
        if len(shape) != 2 or dtype is None:
            return None
        names, classes = (_read_texts(file, key) if key in keys else [] for key in (NAMES_KEY, CLASSES_KEY))
    return LatentsInfo(shape[0], shape[1], dtype, names, classes, metadata)


def read_latents_metadata(path: Path) -> dict[str, Any]:
    """Read what a file of latents says of the model that encoded the images.

    Args:
        path: .safetensors file.

    Returns:
        the metadata; {} for a file of another program.

    Raises:
        VaeganError: if it is damaged or no safetensors file.
    """
    with open_safetensors(path, "numpy") as file:
        return _parse_metadata(file)


def _parse_metadata(file: Any) -> dict[str, Any]:
    try:
        metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _read_texts(file: Any, key: str) -> list[str]:
    """Return the texts in a tensor of bytes: a JSON list. Those that are too large or damaged are empty."""
    tensor = file.get_slice(key)
    shape = tensor.get_shape()
    if tensor.get_dtype() != "U8" or len(shape) != 1 or shape[0] > MAX_TEXT_BYTES:
        return []
    try:
        texts = json.loads(file.get_tensor(key).tobytes())
    except (ValueError, RecursionError):
        return []
    is_list = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    return texts if is_list else []
