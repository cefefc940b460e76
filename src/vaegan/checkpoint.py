"""Weights on disk: safetensors whose metadata says what they are, and the three ways to name them.

A checkpoint is named by a run directory, a checkpoint directory inside it, or one .safetensors file.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vaegan.config import build
from vaegan.errors import VaeganError, reason
from vaegan.files import write_atomically
from vaegan.settings import ModelConfig
from vaegan.version import __version__

FORMAT_VERSION = 1
KINDS = ("vae", "gan")
METADATA = "vaegan"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Weights:
    """A published weights file: where it is, what it holds, and what it was made by."""

    path: Path
    kind: str
    config: ModelConfig
    step: int
    images: int
    vaegan: str


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors atomically. Raises VaeganError when the disk refuses; an older file is then kept."""

    def write(place: Path) -> None:
        dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(dense, place, metadata=dict(metadata))
        except SafetensorError as error:
            raise OSError(reason(error)) from error

    write_atomically(path, write)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a file. Raises VaeganError when it is missing, truncated or no safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, struct.error, ValueError) as error:
        raise VaeganError(f"{path} is damaged or cut short ({reason(error)})") from error


def publish(
    path: Path, model: nn.Module, kind: str, config: ModelConfig, step: int, images: int, kid: float | None = None
) -> None:
    """Write a model's weights so that the file alone is enough to use it; `kid` is what they scored, if measured."""
    said = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "config": asdict(config),
        "step": step,
        "images": images,
        "vaegan": __version__,
    }
    if kid is not None:
        said["kid"] = kid
    # one entry: safetensors writes several in no fixed order, and equal runs should be equal files
    save_tensors(path, model.state_dict(), {METADATA: json.dumps(said)})


def find_weights(path: Path) -> Path:
    """Return the weights file that `path` (run, checkpoint or file) means. Raises VaeganError if there is none."""
    if path.is_dir():
        if (path / "set.json").is_file():
            raise VaeganError(f"{path} is a prepared set, not a checkpoint; train on it with: vaegan train-vae {path}")
        if (path / WEIGHTS).is_file():
            return path / WEIGHTS
        newest = sorted(path.glob(f"checkpoints/step-*/{WEIGHTS}"))
        if newest:
            return newest[-1]
        raise VaeganError(f"{path} holds no {WEIGHTS}: give a run, a checkpoint or a .safetensors file")
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a run, a checkpoint or a .safetensors file")
    return path


def read_weights(path: Path) -> Weights:
    """Read what a weights file says of itself. Raises VaeganError for any file that is not ours or too new."""
    path = find_weights(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError, ValueError) as error:
        raise VaeganError(f"{path} is damaged, cut short or no safetensors file ({reason(error)})") from error
    if METADATA not in metadata:
        raise VaeganError(f"{path} is not a model of vaegan: its metadata has no entry {METADATA!r}")
    try:
        said = json.loads(metadata[METADATA])
        version, kind = int(said["format_version"]), str(said["kind"])
        if version > FORMAT_VERSION:
            raise VaeganError(f"format {version}, this vaegan reads up to {FORMAT_VERSION}: upgrade vaegan")
        if kind not in KINDS:
            raise VaeganError(f"kind {kind!r}, expected one of {', '.join(KINDS)}")
        config = build(ModelConfig, said["config"])
        return Weights(path, kind, config, int(said["step"]), int(said["images"]), str(said.get("vaegan", "?")))
    except (VaeganError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise VaeganError(f"{path} cannot be used: its metadata says {reason(error)}") from error


def score_of(path: Path) -> float:
    """What published weights scored in training (KID), infinite where they do not say.

    Raises VaeganError when they are missing or damaged.
    """
    read_weights(path)
    with safe_open(path, framework="pt") as file:
        value = json.loads((file.metadata() or {})[METADATA]).get("kid")
    return float(value) if isinstance(value, (int, float)) and not math.isnan(value) else math.inf


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put `tensors` into `model`. Raises VaeganError unless names, shapes and types all fit."""
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or extra:
        what = f"{missing[0]} is missing" if missing else f"{extra[0]} is not known"
        raise VaeganError(f"{path} does not fit its own config: tensor {what}")
    for name, place in wanted.items():
        if tensors[name].shape != place.shape or tensors[name].dtype != place.dtype:
            raise VaeganError(
                f"{path} does not fit its own config: tensor {name} is {_kind(tensors[name])}, expected {_kind(place)}"
            )
    with torch.no_grad():
        for name, place in wanted.items():
            place.copy_(tensors[name])


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Name the tensors of nested mappings by their path: {"a": {"b": t}} -> {"a.b": t}."""
    flat: dict[str, Tensor] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with "prefix.", without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
