"""Save and load weights and checkpoints as safetensors files.

A weights file describes its model in its metadata, so it can be used alone. Users name one by a run directory, a
checkpoint directory inside it, or the .safetensors file itself.

torch is imported inside the functions, so that runs can be listed and described without it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from vaegan.config.model_config import ModelConfig
from vaegan.config.options import build_settings, require_int
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.errors import VaeganError, error_text, printable
from vaegan.utils.files import (
    atomic_write,
    check_writable,
    ensure_within,
    file_sha256,
    open_regular,
    read_json,
    require_unicode,
)
from vaegan.version import __version__

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS_FORMAT_VERSION = 2
MODEL_KINDS = ("vae", "gan")
METADATA_KEY = "vaegan"
"""Name of the entry in the metadata of safetensors and ONNX files that describes the model, as JSON."""
BEST_KID_STATE_KEY = "quick_eval.best"
"""Name of a tensor of the training state: best KID, infinite at first, and its step."""
MAX_STATE_VALUE = 1e15
MAX_SAFETENSORS_HEADER_BYTES = 2**20
WEIGHTS_FILE = "model.safetensors"
TRAINING_STATE_FILE = "training.safetensors"
CHECKPOINT_STATE_FILE = "state.json"


@dataclass(frozen=True)
class WeightsInfo:
    """Description of a weights file, read from its metadata."""

    path: Path
    kind: str
    config: ModelConfig
    step: int
    images_seen: int
    vaegan_version: str
    image_options: Mapping[str, Any] | None = None
    """Options of preprocess that cropped and resized the training images, or None if the file does not say."""
    kid: float | None = None
    """Kernel inception distance of the weights, or None if it was not measured."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to a safetensors file atomically; see `atomic_write`.

    Args:
        path: file to write.
        tensors: tensors by name, of any shape and device.
        metadata: text by name, for the file's header.

    Raises:
        VaeganError: if the file cannot be written.
    """
    from safetensors.torch import save_file

    require_unicode(path)

    def write(partial: Path) -> None:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            # Safetensors creates files that only the owner can read: restore the mode that the umask asks for.
            partial.touch()
            mode = partial.stat().st_mode
            save_file(contiguous, partial, metadata=dict(metadata))
            partial.chmod(mode)
        except SafetensorError as error:
            raise OSError(error_text(error)) from error

    atomic_write(path, write)


@contextmanager
def open_safetensors(path: Path, framework: str = "pt") -> Iterator[Any]:
    """Open a safetensors file from an untrusted source.

    The header's length is checked first, so a small file cannot make the process allocate much memory.

    Args:
        path: file to open.
        framework: "pt" for tensors of torch; "numpy" does not import torch, which takes a second.

    Yields:
        the open file of the safetensors library, with `keys`, `get_tensor`, `get_slice` and `metadata`.

    Raises:
        VaeganError: if the file is missing, damaged or not a safetensors file, also while its tensors are read.
    """
    require_unicode(path)
    try:
        with open_regular(path) as stream:
            (header_bytes,) = struct.unpack("<Q", stream.read(8))
        if header_bytes > MAX_SAFETENSORS_HEADER_BYTES:
            raise ValueError(f"a header of {header_bytes} bytes")
        with safe_open(path, framework=framework) as file:
            yield file
    except (OSError, SafetensorError, struct.error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise VaeganError(
            f"{path} is damaged, truncated or not a safetensors file ({printable(error_text(error), 200)})"
        ) from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Args:
        path: file to read.

    Returns:
        the tensors by name, on the CPU.

    Raises:
        VaeganError: if the file is missing, damaged or not a safetensors file.
    """
    with open_safetensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def verify_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file holds exactly these tensors, bit for bit.

    Args:
        path: safetensors file.
        tensors: what it must hold, by name.

    Raises:
        VaeganError: if it holds anything else, or cannot be read.
    """
    import torch

    with open_safetensors(path) as file:
        is_equal = set(file.keys()) == tensors.keys() and all(
            torch.equal(_as_bytes(file.get_tensor(name)), _as_bytes(tensor)) for name, tensor in tensors.items()
        )
    if not is_equal:
        raise VaeganError(f"{path} differs from what was written to it: the disk may be failing")


def _as_bytes(tensor: Tensor) -> Tensor:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)


def save_model(
    path: Path,
    model: nn.Module,
    kind: str,
    config: ModelConfig,
    step: int,
    images_seen: int,
    kid: float | None = None,
    image_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's state_dict as a .safetensors file whose metadata holds all that is needed to use it.

    Args:
        path: file to write.
        model: network whose state_dict is saved.
        kind: "vae" or "gan".
        config: sizes of the model.
        step: optimizer steps done.
        images_seen: training images seen.
        kid: kernel inception distance of these weights, if it was measured.
        image_options: options of preprocess that cropped and resized the training images.

    Raises:
        VaeganError: if the file cannot be written.
    """
    metadata = {
        "format_version": WEIGHTS_FORMAT_VERSION,
        "kind": kind,
        "config": config.to_json(),
        "step": step,
        "images_seen": images_seen,
        "vaegan_version": __version__,
    }
    if kid is not None:
        metadata["kid"] = kid
    if image_options is not None:
        metadata["image_options"] = dict(image_options)
    # A single entry, because safetensors writes several in random order, and equal runs should give equal files.
    save_tensors(path, model.state_dict(), {METADATA_KEY: json.dumps(metadata)})


def check_weights_path(path: Path, force: bool) -> None:
    """Check that a weights file may be written.

    Args:
        path: the file.
        force: allow to replace a file that is no weights file of vaegan.

    Raises:
        VaeganError: if the name does not end with .safetensors, or it is a folder or such a file.
    """
    if path.suffix != ".safetensors":
        raise VaeganError(f"{path}: the name of a weights file ends with .safetensors")
    if path.is_dir():
        raise VaeganError(f"{path} is a folder: name a .safetensors file")
    if path.exists() and not force:
        try:
            read_weights_info(path)
        except VaeganError:
            raise VaeganError(
                f"{path} exists and is no weights file of vaegan: choose another name, or force=True"
            ) from None
    check_writable(path)


def find_weights(path: Path) -> Path:
    """Return the weights file of a run or a checkpoint directory, or the file itself.

    Args:
        path: run directory, checkpoint directory or weights file.

    Returns:
        the path of the weights file; of a run that has no model.safetensors, that of its newest checkpoint.

    Raises:
        VaeganError: if `path` does not exist, is a dataset or holds no weights.
    """
    if path.is_dir():
        if (path / "set.json").is_file():
            raise VaeganError(f"{path} is a dataset, not a checkpoint; train on it with: vaegan train-vae {path}")
        if (path / WEIGHTS_FILE).is_file():
            return ensure_within(path / WEIGHTS_FILE, path)
        paths = list(path.glob(f"checkpoints/step-*/{WEIGHTS_FILE}"))
        if paths:
            return ensure_within(max(paths, key=lambda weights: parse_step(weights.parent)), path)
        raise VaeganError(f"{path} holds no {WEIGHTS_FILE}: give a run, a checkpoint or a .safetensors file")
    if not path.exists():
        raise VaeganError(f"{path} does not exist: give a run, a checkpoint or a .safetensors file")
    return path


def parse_step(path: Path, prefix: str = "step") -> int:
    """Return the step in a name such as "step-0001000", or -1 if the name has another form.

    Args:
        path: its last part is read.
        prefix: what precedes the number.

    Returns:
        the step, or -1.
    """
    digits = path.name.removeprefix(f"{prefix}-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else -1


def read_weights_info(path: Path) -> WeightsInfo:
    """Read the description of a weights file, given as in `find_weights`.

    Args:
        path: run directory, checkpoint directory or weights file.

    Returns:
        the description.

    Raises:
        VaeganError: if the file was not written by vaegan, is damaged, or has another format version.
    """
    path = find_weights(path)
    with open_safetensors(path, "numpy") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
    if text is None:
        raise VaeganError(f"{path} is not a model of vaegan: its metadata has no entry {METADATA_KEY!r}")
    try:
        metadata = json.loads(text)
        version, kind = require_int(metadata, "format_version"), metadata["kind"]
        if version < WEIGHTS_FORMAT_VERSION:
            raise VaeganError(f"format {version}, of vaegan 0.1: train the model again")
        if version > WEIGHTS_FORMAT_VERSION:
            raise VaeganError(f"format {version}, this vaegan reads up to {WEIGHTS_FORMAT_VERSION}: upgrade vaegan")
        if kind not in MODEL_KINDS:
            raise VaeganError(f"kind {printable(kind)!r}, expected one of {', '.join(MODEL_KINDS)}")
        return WeightsInfo(
            path=path,
            kind=kind,
            config=build_settings(ModelConfig, metadata["config"]),
            step=require_int(metadata, "step"),
            images_seen=require_int(metadata, "images_seen"),
            vaegan_version=printable(metadata.get("vaegan_version", "?"), 40),
            image_options=_checked_image_options(metadata.get("image_options")),
            kid=None if metadata.get("kid") is None else float(metadata["kid"]),
        )
    except (VaeganError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise VaeganError(f"{path} cannot be used: its metadata says {printable(error_text(error), 300)}") from error


def _checked_image_options(options: Any) -> Mapping[str, Any] | None:
    """Return the options of preprocess in a file's metadata. Raises VaeganError or AttributeError for bad values."""
    if options is None:
        return None
    build_settings(PreprocessSettings, options)
    return dict(options)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: its directory, its step and the tensors of the training state."""

    path: Path
    step: int
    tensors: dict[str, Tensor]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint directory.

    Args:
        path: checkpoint directory.

    Returns:
        the checkpoint, its tensors on the CPU.

    Raises:
        VaeganError: if a file is missing or damaged.
    """
    step, tensors = verify_checksums(path), load_tensors(path / TRAINING_STATE_FILE)
    for name, tensor in tensors.items():
        # checksums do not help against who wrote both; NaN compares false
        if name != BEST_KID_STATE_KEY and not bool((tensor.abs() <= MAX_STATE_VALUE).all()):
            raise VaeganError(f"{path / TRAINING_STATE_FILE} is damaged: {printable(name)} is not finite, or too large")
    return Checkpoint(path, step, tensors)


def state_tensor(
    tensors: Mapping[str, Tensor], name: str, shape: Sequence[int], min_value: float = 0.0
) -> list[float] | None:
    """Return the numbers of a small tensor in a training state, or None if there is none of that name.

    Args:
        tensors: tensors of the training state, by name.
        name: name of the tensor.
        shape: the shape that it must have, such as (2,).
        min_value: lowest allowed number; NaN is never allowed.

    Returns:
        the numbers, or None.

    Raises:
        VaeganError: if the tensor has another shape, or a number that is NaN or below `min_value`.
    """
    tensor = tensors.get(name)
    if tensor is None:
        return None
    if tuple(tensor.shape) != tuple(shape) or not bool((tensor >= min_value).all()):
        raise VaeganError(f"{printable(name)} is not of the shape {list(shape)}, or holds bad numbers")
    values: list[float] = tensor.double().tolist()
    return values


def verify_checksums(path: Path) -> int:
    """Check the files of a checkpoint directory against the checksums in state.json.

    Args:
        path: checkpoint directory.

    Returns:
        the checkpoint's step.

    Raises:
        VaeganError: if a file is missing or has another checksum.
    """
    try:
        state = read_json(ensure_within(path / CHECKPOINT_STATE_FILE, path))
        checksums = state["sha256"]
        for name in (TRAINING_STATE_FILE, WEIGHTS_FILE):
            if file_sha256(ensure_within(path / name, path)) != checksums[name]:
                raise VaeganError(f"{path / name} does not match its checksum")
        if (step := require_int(state, "step")) != parse_step(path):
            raise VaeganError(f"{path / CHECKPOINT_STATE_FILE} says step {step}")
        return step
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise VaeganError(f"{path}: {error_text(error)}") from error


def has_flag(path: Path, flag: str) -> bool:
    """Return whether state.json of a checkpoint sets a flag.

    Args:
        path: checkpoint directory.
        flag: "scheduled" (saved at a regular interval, not because of an interruption) or "is_best" (best KID so far).

    Returns:
        whether it is set; False if state.json cannot be read.
    """
    try:
        return read_json(path / CHECKPOINT_STATE_FILE).get(flag) is True
    except VaeganError:
        return False


def load_into_meta_model(model: nn.Module, path: Path) -> None:
    """Load a weights file into a model that was built on the "meta" device.

    Memory is allocated only after all names, shapes and types were compared. So a small file whose metadata claims a
    giant model costs nothing.

    Args:
        model: network on the "meta" device.
        path: weights file.

    Raises:
        VaeganError: if a tensor is missing, unexpected, or of another shape or type.
    """
    expected = _describe_tensors(model.state_dict())
    with open_safetensors(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        actual = {
            name: f"{_SAFETENSORS_DTYPES.get(part.get_dtype(), 'of another type')} {list(part.get_shape())}"
            for name, part in slices.items()
        }
        _check_compatible(expected, actual, path)
        tensors = {name: file.get_tensor(name) for name in expected}
    model.load_state_dict(tensors, assign=True)


def load_strict(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a model, in place.

    Args:
        model: network to fill.
        tensors: its state_dict.
        path: file that the tensors were read from, for messages.

    Raises:
        VaeganError: if a tensor is missing, unexpected, or of another shape or type.
    """
    import torch

    parameters = model.state_dict()
    _check_compatible(_describe_tensors(parameters), _describe_tensors(tensors), path)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


_SAFETENSORS_DTYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


def _check_compatible(expected: Mapping[str, str], actual: Mapping[str, str], path: Path) -> None:
    """Compare types and shapes by tensor name, e.g. {"conv.bias": "float32 [64]"}."""
    problems = [
        *(f"{name} is missing" for name in sorted(expected.keys() - actual.keys())),
        *(f"{printable(name)} is unexpected" for name in sorted(actual.keys() - expected.keys())),
        *(
            f"{name} is {actual[name]}, expected {expected[name]}"
            for name in expected
            if name in actual and actual[name] != expected[name]
        ),
    ]
    if problems:
        raise VaeganError(f"{path} does not match its model configuration: tensor {problems[0]}")


def _describe_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {
        name: f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}" for name, tensor in tensors.items()
    }


def flatten_tensors(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Flatten nested mappings of tensors by joining their keys: {"a": {"b": t}} becomes {"a.b": t}.

    Args:
        tree: nested mappings with tensors as leaves.
        prefix: start of all names.

    Returns:
        the tensors by joined name.
    """
    flat: dict[str, Tensor] = {}
    for name, value in tree.items():
        flat |= flatten_tensors(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with "PREFIX.", with that part removed.

    Args:
        tensors: tensors by name.
        prefix: first part of the names, without the dot.

    Returns:
        those tensors by the rest of their name.
    """
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")}
