"""Weights on disk: safetensors whose metadata says what they are, and the three ways to name them.

A checkpoint is named by a run directory, a checkpoint directory inside it, or one .safetensors file.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vaegan.config.model_config import ModelConfig
from vaegan.config.options import build_settings, require_int
from vaegan.errors import VaeganError, error_text, printable
from vaegan.utils.files import atomic_write, ensure_within, file_sha256, read_json
from vaegan.version import __version__

WEIGHTS_FORMAT_VERSION = 2
MODEL_KINDS = ("vae", "gan")
METADATA_KEY = "vaegan"
MAX_SAFETENSORS_HEADER_BYTES = 2**20
WEIGHTS_FILE = "model.safetensors"
TRAINING_STATE_FILE = "training.safetensors"


@dataclass(frozen=True)
class WeightsInfo:
    """A published weights file: where it is, what it holds, and what it was made by."""

    path: Path
    kind: str
    config: ModelConfig
    step: int
    images_seen: int
    vaegan_version: str


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors atomically. Raises VaeganError when the disk refuses; an older file is then kept."""

    def write(place: Path) -> None:
        dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            place.touch()
            mode = place.stat().st_mode  # safetensors writes for the owner alone, whatever the user's mask says
            save_file(dense, place, metadata=dict(metadata))
            place.chmod(mode)
        except SafetensorError as error:
            raise OSError(error_text(error)) from error

    atomic_write(path, write)


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file whose header has a length that can be ours. Raises VaeganError for any other file.

    What a file says is not trusted: nothing is allocated that is not in it, and nothing but tensors and text is read.
    """
    try:
        with path.open("rb") as start:
            (length,) = struct.unpack("<Q", start.read(8))
        if length > MAX_SAFETENSORS_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise VaeganError(
            f"{path} is damaged, cut short or no safetensors file ({printable(error_text(error), 200)})"
        ) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a file. Raises VaeganError when it is missing, truncated or no safetensors file."""
    with open_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def verify_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Read a file back. Raises VaeganError unless it holds exactly these tensors, bit for bit."""
    with open_safetensors(path) as file:
        same = set(file.keys()) == tensors.keys() and all(
            torch.equal(_as_bytes(file.get_tensor(name)), _as_bytes(tensor)) for name, tensor in tensors.items()
        )
    if not same:
        raise VaeganError(f"{path} reads back other than it was written: the disk is failing")


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def save_model(
    path: Path, model: nn.Module, kind: str, config: ModelConfig, step: int, images_seen: int, kid: float | None = None
) -> None:
    """Write a model's weights so that the file alone is enough to use it; `kid` is what they scored, if measured."""
    said = {
        "format_version": WEIGHTS_FORMAT_VERSION,
        "kind": kind,
        "config": asdict(config),
        "step": step,
        "images_seen": images_seen,
        "vaegan_version": __version__,
    }
    if kid is not None:
        said["kid"] = kid
    # one entry: safetensors writes several in no fixed order, and equal runs should be equal files
    save_tensors(path, model.state_dict(), {METADATA_KEY: json.dumps(said)})


def find_weights(path: Path) -> Path:
    """Return the weights file that `path` (run, checkpoint or file) means. Raises VaeganError if there is none."""
    if path.is_dir():
        if (path / "set.json").is_file():
            raise VaeganError(f"{path} is a prepared set, not a checkpoint; train on it with: vaegan train-vae {path}")
        if (path / WEIGHTS_FILE).is_file():
            return ensure_within(path / WEIGHTS_FILE, path)
        newest = sorted(path.glob(f"checkpoints/step-*/{WEIGHTS_FILE}"), key=lambda found: parse_step(found.parent))
        if newest:
            return ensure_within(newest[-1], path)
        raise VaeganError(f"{path} holds no {WEIGHTS_FILE}: give a run, a checkpoint or a .safetensors file")
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a run, a checkpoint or a .safetensors file")
    return path


def parse_step(path: Path, prefix: str = "step") -> int:
    """Step of a checkpoint directory's name, which `kind` and a hyphen begin; -1 where it names none."""
    digits = path.name.removeprefix(f"{prefix}-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else -1


def read_weights_info(path: Path) -> WeightsInfo:
    """Read what a weights file says of itself. Raises VaeganError for any file that is not ours or too new."""
    path = find_weights(path)
    with open_safetensors(path) as file:
        metadata = file.metadata() or {}
    if METADATA_KEY not in metadata:
        raise VaeganError(f"{path} is not a model of vaegan: its metadata has no entry {METADATA_KEY!r}")
    try:
        said = json.loads(metadata[METADATA_KEY])
        version, kind = require_int(said, "format_version"), said["kind"]
        if version < WEIGHTS_FORMAT_VERSION:
            raise VaeganError(f"format {version}, of vaegan 0.1, which is no longer read: train the model again")
        if version > WEIGHTS_FORMAT_VERSION:
            raise VaeganError(f"format {version}, this vaegan reads up to {WEIGHTS_FORMAT_VERSION}: upgrade vaegan")
        if kind not in MODEL_KINDS:
            raise VaeganError(f"kind {printable(kind)!r}, expected one of {', '.join(MODEL_KINDS)}")
        config = build_settings(ModelConfig, said["config"])
        by = printable(said.get("vaegan_version", "?"), 40)
        return WeightsInfo(path, kind, config, require_int(said, "step"), require_int(said, "images_seen"), by)
    except (VaeganError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise VaeganError(f"{path} cannot be used: its metadata says {printable(error_text(error), 300)}") from error


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, read: where, at which step, and the tensors that going on needs."""

    path: Path
    step: int
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises VaeganError when it is damaged."""
    return Checkpoint(path, verify_checksums(path), load_tensors(path / TRAINING_STATE_FILE))


def verify_checksums(path: Path) -> int:
    """Return the step of the checkpoint directory `path`.

    Raises VaeganError unless every file has the checksum that state.json says.
    """
    try:
        state = read_json(ensure_within(path / "state.json", path))
        sums = state["sha256"]
        for name in (TRAINING_STATE_FILE, WEIGHTS_FILE):
            if file_sha256(ensure_within(path / name, path)) != sums[name]:
                raise VaeganError(f"{path / name}: its checksum is another")
        return require_int(state, "step")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise VaeganError(f"{path}: {error_text(error)}") from error


def has_flag(path: Path, flag: str) -> bool:
    """Say whether a checkpoint is `what`: "scheduled", by the run's cadence, or "best", for its score.

    Without any interruption the run has the same of both.
    """
    try:
        return read_json(path / "state.json").get(flag, flag == "scheduled") is True
    except VaeganError:
        return False


def load_into_meta_model(model: nn.Module, path: Path) -> None:
    """Give a model that was built on the "meta" device the tensors of a weights file, read as they are.

    Raises VaeganError unless names, shapes and types all fit; until that is known nothing is allocated, so a small file
    that claims to be a giant model costs nothing.
    """
    wanted = model.state_dict()
    with open_safetensors(path) as file:
        shapes = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        _check_compatible(
            {name: _dtype_and_shape(tensor.dtype, tensor.shape) for name, tensor in wanted.items()},
            {
                name: _dtype_and_shape(_SAFETENSORS_DTYPES.get(found.get_dtype()), found.get_shape())
                for name, found in shapes.items()
            },
            path,
        )
        tensors = {name: file.get_tensor(name) for name in wanted}
    model.load_state_dict(tensors, assign=True)


_SAFETENSORS_DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}


def _check_compatible(expected: Mapping[str, str], found: Mapping[str, str], path: Path) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        what = f"{missing[0]} is missing" if missing else f"{printable(extra[0])} is not known"
        raise VaeganError(f"{path} does not fit its own config: tensor {what}")
    for name, kind in expected.items():
        if found[name] != kind:
            raise VaeganError(f"{path} does not fit its own config: tensor {name} is {found[name]}, expected {kind}")


def saved_kid(path: Path) -> float:
    """What published weights scored in training (KID), infinite where they do not say.

    Raises VaeganError when they are missing or damaged.
    """
    read_weights_info(path)
    with open_safetensors(path) as file:
        value = json.loads((file.metadata() or {})[METADATA_KEY]).get("kid")
    return value if isinstance(value, float) and math.isfinite(value) else math.inf


def load_strict(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put `tensors` into `model`. Raises VaeganError unless names, shapes and types all fit."""
    wanted = model.state_dict()
    _check_compatible(
        {name: _dtype_and_shape(tensor.dtype, tensor.shape) for name, tensor in wanted.items()},
        {name: _dtype_and_shape(tensor.dtype, tensor.shape) for name, tensor in tensors.items()},
        path,
    )
    with torch.no_grad():
        for name, place in wanted.items():
            place.copy_(tensors[name])


def _dtype_and_shape(dtype: torch.dtype | None, shape: Iterable[int]) -> str:
    return f"{str(dtype or 'of another type').removeprefix('torch.')} {list(shape)}"


def flatten_tensors(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Name the tensors of nested mappings by their path: {"a": {"b": t}} -> {"a.b": t}."""
    flat: dict[str, Tensor] = {}
    for name, value in tree.items():
        flat |= flatten_tensors(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with "prefix.", without it."""
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
