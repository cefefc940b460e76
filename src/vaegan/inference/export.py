"""Export models as ONNX files, which run without PyTorch, and compare their outputs with PyTorch's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.checkpoint import METADATA_KEY
from vaegan.errors import VaeganError, error_text
from vaegan.events import EventHandler, FileWritten, Note
from vaegan.inference.model import Model
from vaegan.models.class_embedding import one_hot
from vaegan.models.prior import Prior
from vaegan.models.vae import Encoder
from vaegan.utils.files import check_has_file_name, check_writable, note_replaced, open_regular, write_bytes

OPSET = 18
MAX_ONNX_DIFF = 1e-4
CHECKED_BATCH_SIZES = (1, 7, 32)  # several, because the batch size of the files is dynamic
EXPORT_INSTALL_HINT = "pip install 'vaegan[export]'"
IMAGES_FORMAT = "float32 [batch, channels, size, size] in -1 to 1 (black to white), channels in the order R, G, B"
CLASS_WEIGHTS_FORMAT = (
    "A model with classes also takes class_weights: float32 [batch, classes], 1 for the class and 0 for the others, in"
    " the order of the config; values between mix classes"
)
PART_DESCRIPTIONS = {
    "decoder": (
        f"latents: float32 [batch, latent_dim], sampled from the config's prior; images: {IMAGES_FORMAT}."
        f" {CLASS_WEIGHTS_FORMAT}"
    ),
    "encoder": (
        f"images: {IMAGES_FORMAT}; mean, log_var: float32 [batch, latent_dim]; cov_factor: float32 [latent_dim,"
        " latent_dim]. An image's latent is mean; a sample of its posterior is mean + cov_factor (exp(log_var / 2) *"
        " noise)"
    ),
    "prior": (
        "noise: float32 [batch, latent_dim + local_dim + 1], standard normal; latents: float32 [batch, latent_dim],"
        " samples of the Gaussian mixture that the decoder was trained on."
        f" {CLASS_WEIGHTS_FORMAT}"
    ),
}
"""Written into the files as their documentation."""


class _PosteriorOutputs(nn.Module):
    """An encoder that returns tensors instead of a distribution object, which ONNX cannot represent."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images to mean [B, d], log variance [B, d] and covariance factor [d, d]."""
        posterior = self.encoder(images)
        return posterior.mean, posterior.log_var, self.encoder.cov_factor


class _ConditionalPrior(nn.Module):
    """A conditional prior whose second input are the class weights."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, noise: Tensor, class_weights: Tensor) -> Tensor:
        """Map noise [B, noise_dim] to latents [B, d] of classes, given by weights [B, num_classes]."""
        latents: Tensor = self.prior(noise, class_weights=class_weights)
        return latents


@dataclass(frozen=True)
class _ExportPart:
    """A network to export, the names of its inputs and outputs, and inputs of CHECKED_BATCH_SIZES rows."""

    module: nn.Module
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    example_inputs: tuple[tuple[Tensor, ...], ...]


def check_export(out: Path | str, force: bool) -> dict[str, Path]:
    """Return the paths of decoder, encoder and prior, and check that they may be written.

    Args:
        out: a directory, or the start of the paths, with or without .onnx at its end.
        force: allow to replace files that vaegan did not make.

    Returns:
        the paths by name of the part: OUT/decoder.onnx and so on for a directory or a path that ends with a slash,
        else OUT-decoder.onnx and so on.

    Raises:
        VaeganError: if one of them may not be written, or the packages for the export are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VaeganError(
            f"exporting needs onnx, onnxruntime and onnxscript ({error_text(error)}): {EXPORT_INSTALL_HINT}"
        ) from None
    base = Path(out)
    if base.is_dir() or str(out).endswith(("/", os.sep)):
        paths = {name: base / f"{name}.onnx" for name in PART_DESCRIPTIONS}
    else:
        check_has_file_name(base)
        stem = base.with_suffix("") if base.suffix.lower() == ".onnx" else base
        paths = {name: stem.with_name(f"{stem.name}-{name}.onnx") for name in PART_DESCRIPTIONS}
    for path in paths.values():
        if path.is_dir():
            raise VaeganError(f"{path} is a directory: choose another --out")
        if path.exists() and not force and not _is_made_by_vaegan(path):
            raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")
        check_writable(path)
    return paths


def _is_made_by_vaegan(path: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        with open_regular(path) as file:
            model = onnx.load(file, load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return False
    return any(entry.key == METADATA_KEY for entry in model.metadata_props)


def export_onnx(model: Model, paths: dict[str, Path], emit: EventHandler) -> dict[str, float]:
    """Write a model's decoder and, where it has them, its encoder and its mixture prior as ONNX files.

    Before anything is written, onnxruntime and PyTorch compute all parts for random latents, and for the images that
    these decode to, at several batch sizes.

    Args:
        model: the model, on the CPU.
        paths: those of `check_export`.
        emit: receives a FileWritten for each file.

    Returns:
        The largest absolute difference from PyTorch by name of the part.

    Raises:
        VaeganError: if an output differs by more than MAX_ONNX_DIFF, or a file cannot be written.
    """
    # Convert all parts and compare them with PyTorch.
    contents: dict[str, bytes] = {}
    differences: dict[str, float] = {}
    for name, part in _make_parts(model).items():
        contents[name] = _to_onnx_bytes(name, part, model)
        differences[name] = _max_abs_diff(contents[name], part)
    for name, difference in differences.items():
        if difference > MAX_ONNX_DIFF:
            raise VaeganError(
                f"the exported {name} differs from PyTorch by {difference:.2g}, more than {MAX_ONNX_DIFF:g}: nothing"
                " was written; try other versions of onnxruntime and torch"
            )

    # Write the files.
    note_replaced((paths[name] for name in contents), emit)
    for name, content in contents.items():
        write_bytes(paths[name], content)
        emit(FileWritten("onnx", paths[name]))
        size = f"{len(content) / 2**20:.1f} MiB"
        emit(Note(f"{name}: opset {OPSET}, {size}, largest difference from PyTorch {differences[name]:.2g}"))

    # Remove parts of an older export, which belong to another model.
    for name, path in paths.items():
        if name not in contents and path.exists() and _is_made_by_vaegan(path):
            path.unlink()
            emit(Note(f"{path}, of an older export, was removed: this model has no {name}"))
    if model.encoder is None:
        emit(Note(f"{model.info.path} holds no encoder, as a GAN from scratch: only the decoder was exported"))
    return differences


@torch.no_grad()
def _make_parts(model: Model) -> dict[str, _ExportPart]:
    generator = torch.Generator().manual_seed(0)
    class_inputs = [
        (one_hot(torch.arange(count) % len(model.classes), len(model.classes)),) if model.classes else ()
        for count in CHECKED_BATCH_SIZES
    ]
    class_names = ("class_weights",) if model.classes else ()

    def random_inputs(num_columns: int) -> tuple[tuple[Tensor, ...], ...]:
        return tuple(
            (torch.randn(count, num_columns, generator=generator), *classes)
            for count, classes in zip(CHECKED_BATCH_SIZES, class_inputs, strict=True)
        )

    latents = random_inputs(model.latent_dim)
    parts = {"decoder": _ExportPart(model.decoder, ("latents", *class_names), ("images",), latents)}
    if model.encoder is not None:
        images = tuple((model.decoder(*batch).contiguous(),) for batch in latents)
        encoder = _PosteriorOutputs(model.encoder).eval()
        parts["encoder"] = _ExportPart(encoder, ("images",), ("mean", "log_var", "cov_factor"), images)
    if model.prior.kind == "mixture":
        prior = _ConditionalPrior(model.prior) if model.classes else model.prior
        noise = random_inputs(model.prior.noise_dim)
        parts["prior"] = _ExportPart(prior, ("noise", *class_names), ("latents",), noise)
    return parts


def _to_onnx_bytes(name: str, part: _ExportPart, model: Model) -> bytes:
    """Return the content of an ONNX file with the weights inside, and metadata as in a weights file."""
    import onnx

    batch_dim = torch.export.Dim("batch")
    example = part.example_inputs[1]  # at least two rows: torch.export takes a batch of one for a constant
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # about the exporter's own code
        program = torch.onnx.export(
            part.module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(part.input_names),
            output_names=list(part.output_names),
            dynamic_shapes=tuple({0: batch_dim} for _ in example),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _strip_source_locations(proto.graph)
    info = model.info
    metadata = {
        "kind": info.kind,
        "part": name,
        "config": info.config.to_json(),
        "step": info.step,
        "images_seen": info.images_seen,
        "vaegan_version": info.vaegan_version,
    }
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(metadata)})
    proto.doc_string = PART_DESCRIPTIONS[name]
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


def _strip_source_locations(graph: Any) -> None:
    """Delete the exporter's notes, which name files and lines of this machine."""
    for entries in ([graph], graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in entries:
            del entry.metadata_props[:]


@torch.no_grad()
def _max_abs_diff(content: bytes, part: _ExportPart) -> float:
    """Return the largest absolute difference between the outputs of onnxruntime and PyTorch; infinite for NaN."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for batch in part.example_inputs:
        expected = part.module(*batch)
        inputs = {name: values.numpy() for name, values in zip(part.input_names, batch, strict=True)}
        outputs = session.run(list(part.output_names), inputs)
        for actual, reference in zip(outputs, [expected] if isinstance(expected, Tensor) else expected, strict=True):
            difference = (torch.from_numpy(actual) - reference).abs().nan_to_num(torch.inf)
            largest = max(largest, float(difference.max()))
    return largest
