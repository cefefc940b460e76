"""A model as ONNX files, for whatever runs them: browsers, phones, other languages. Checked against torch."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaegan.checkpoint import METADATA_KEY
from vaegan.errors import VaeganError, error_text
from vaegan.events import EventHandler, FileWritten, Note
from vaegan.inference.model import Model
from vaegan.models.vae import Encoder
from vaegan.utils.files import check_has_file_name, write_bytes

OPSET = 18
MAX_ONNX_DIFF = 1e-4
CHECKED_BATCH_SIZES = (1, 7, 32)
"""Batch sizes that are checked: the batch is no fixed number in the files."""
EXPORT_INSTALL_HINT = "pip install 'vaegan[export]'"
IMAGES_FORMAT = "float32 [batch, channels, size, size] in -1 to 1 (black to white), channels in the order R, G, B"
PART_DESCRIPTIONS = {
    "decoder": f"latents: float32 [batch, latent_dim], drawn from the config's prior; pictures: {IMAGES_FORMAT}",
    "encoder": (
        f"pictures: {IMAGES_FORMAT}; mean, log_var: float32 [batch, latent_dim]; mix: float32 [latent_dim, latent_dim]."
        " A picture's latent is mean; a draw of its posterior is mean + mix (exp(log_var / 2) * noise)"
    ),
    "prior": (
        "noise: float32 [batch, latent_dim + directions + 1], standard normal; latents: float32 [batch, latent_dim],"
        " draws of the mixture of normals that the decoder was trained on"
    ),
}


@dataclass(frozen=True)
class ExportedPart:
    """One file: "decoder", "encoder" or "prior", where it is, and the largest difference of any number from torch's."""

    name: str
    path: Path
    max_abs_diff: float


class _PosteriorOutputs(nn.Module):
    """An encoder whose outputs are tensors, the mixing matrix that folding left among them."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Picture float [B, C, S, S] -> mean [B, d], log variance [B, d], mix [d, d]."""
        posterior = self.encoder(images)
        return posterior.mean, posterior.log_var, self.encoder.cov_factor


@dataclass(frozen=True)
class _ExportPart:
    """A network to export: names of its input and outputs, and inputs to check it with."""

    module: nn.Module
    input_name: str
    output_names: tuple[str, ...]
    example_inputs: tuple[Tensor, ...]


def check_export(base: Path, force: bool) -> dict[str, Path]:
    """Where the parts go. Raises VaeganError where they may not, or the extra is missing; costs nothing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VaeganError(
            f"exporting needs onnx, onnxruntime and onnxscript ({error_text(error)}): {EXPORT_INSTALL_HINT}"
        ) from None
    check_has_file_name(base)
    stem = base.with_suffix("") if base.suffix.lower() == ".onnx" else base
    paths = {name: stem.with_name(f"{stem.name}-{name}.onnx") for name in PART_DESCRIPTIONS}
    for path in paths.values():
        if path.is_dir():
            raise VaeganError(f"{path} is a directory: choose another --out")
        if path.exists() and not force and not _is_made_by_vaegan(path):
            raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")
    return paths


def _is_made_by_vaegan(path: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        found = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return False
    return any(entry.key == METADATA_KEY for entry in found.metadata_props)


def export_onnx(model: Model, paths: dict[str, Path], emit: EventHandler) -> list[ExportedPart]:
    """Write a model's decoder and, where it has them, its encoder and its mixture, each whole in one file.

    See `check_export`. model: on the CPU. All are compared with torch by onnxruntime on random latents and what they
    decode to, at several batch sizes, before any is written. Raises VaeganError when a number differs by more than
    1e-4.
    """
    found = []
    for name, part in _make_parts(model).items():
        content = _to_onnx_bytes(name, part, model)
        found.append((ExportedPart(name, paths[name], _max_abs_diff(content, part)), content))
    for exported, _ in found:
        if exported.max_abs_diff > MAX_ONNX_DIFF:
            raise VaeganError(
                f"the exported {exported.name} differs from torch's by {exported.max_abs_diff:.2g}, more than"
                f" {MAX_ONNX_DIFF:g}: nothing was written; try other versions of onnxruntime and torch"
            )
    for exported, content in found:
        write_bytes(exported.path, content)
        emit(FileWritten("onnx", exported.path))
        emit(
            Note(
                f"{exported.name}: opset {OPSET}, {len(content) / 2**20:.1f} MiB, largest difference from torch"
                f" {exported.max_abs_diff:.2g}"
            )
        )
    written = {exported.name for exported, _ in found}
    for name, path in paths.items():  # of another model that was exported there
        if name not in written and path.exists():
            path.unlink()
            emit(Note(f"{path}, of an older export, was removed: this model has no {name}"))
    if model.encoder is None:
        emit(Note(f"{model.info.path} holds no encoder, as a GAN from scratch: only the decoder was exported"))
    return [exported for exported, _ in found]


@torch.no_grad()
def _make_parts(model: Model) -> dict[str, _ExportPart]:
    generator = torch.Generator().manual_seed(0)
    latents = tuple(torch.randn(count, model.latent_dim, generator=generator) for count in CHECKED_BATCH_SIZES)
    parts = {"decoder": _ExportPart(model.decoder, "latents", ("pictures",), latents)}
    if model.encoder is not None:
        pictures = tuple(model.decoder(part).contiguous() for part in latents)
        outputs = ("mean", "log_var", "mix")
        parts["encoder"] = _ExportPart(_PosteriorOutputs(model.encoder).eval(), "pictures", outputs, pictures)
    if model.prior.kind == "mixture":
        noise = tuple(torch.randn(count, model.prior.noise_dim, generator=generator) for count in CHECKED_BATCH_SIZES)
        parts["prior"] = _ExportPart(model.prior, "noise", ("latents",), noise)
    return parts


def _to_onnx_bytes(name: str, part: _ExportPart, model: Model) -> bytes:
    """The bytes of an ONNX file, weights inside, that says what it is."""
    import onnx

    example = part.example_inputs[1]  # of two rows at least: a batch of one would be taken for a fixed number
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # the exporter's talk about its own workings
        program = torch.onnx.export(
            part.module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[part.input_name],
            output_names=list(part.output_names),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _strip_source_locations(proto.graph)
    weights = model.info
    said = {
        "kind": weights.kind,
        "part": name,
        "config": asdict(weights.config),
        "step": weights.step,
        "images_seen": weights.images_seen,
        "vaegan_version": weights.vaegan_version,
    }
    onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(said)})
    proto.doc_string = PART_DESCRIPTIONS[name]
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


def _strip_source_locations(graph: Any) -> None:
    """Drop the exporter's notes, which name files and lines of the machine that it ran on."""
    for entries in ([graph], graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in entries:
            del entry.metadata_props[:]


@torch.no_grad()
def _max_abs_diff(content: bytes, part: _ExportPart) -> float:
    """The largest difference between what onnxruntime and torch make of the part's inputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in part.example_inputs:
        expected = part.module(rows)
        found: Sequence[Any] = session.run(list(part.output_names), {part.input_name: rows.numpy()})
        for mine, theirs in zip(found, [expected] if isinstance(expected, Tensor) else expected, strict=True):
            worst = max(
                worst, float((torch.from_numpy(mine) - theirs).abs().nan_to_num(torch.inf).max())
            )  # not a number: worst
    return worst
