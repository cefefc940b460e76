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

from vaegan.checkpoint import METADATA
from vaegan.errors import VaeganError, reason
from vaegan.events import Emit, Note, Wrote
from vaegan.inference.model import Model
from vaegan.models.vae import Encoder
from vaegan.utils.files import refuse_nameless, write_bytes

OPSET = 18
TOLERANCE = 1e-4
CHECKED = (1, 7, 32)
"""Batch sizes that are checked: the batch is no fixed number in the files."""
HINT = "pip install 'vaegan[export]'"
PICTURES = "float32 [batch, channels, size, size] in -1 to 1 (black to white), channels in the order R, G, B"
ABOUT = {
    "decoder": f"latents: float32 [batch, latent_dim], drawn from the config's prior; pictures: {PICTURES}",
    "encoder": (
        f"pictures: {PICTURES}; mean, log_var: float32 [batch, latent_dim]; mix: float32 [latent_dim, latent_dim]."
        " A picture's latent is mean; a draw of its posterior is mean + mix (exp(log_var / 2) * noise)"
    ),
    "prior": (
        "noise: float32 [batch, latent_dim + directions + 1], standard normal; latents: float32 [batch, latent_dim],"
        " draws of the mixture of normals that the decoder was trained on"
    ),
}


@dataclass(frozen=True)
class Exported:
    """One file: "decoder", "encoder" or "prior", where it is, and the largest difference of any number from torch's."""

    name: str
    path: Path
    difference: float


class _Posterior(nn.Module):
    """An encoder whose outputs are tensors, the mixing matrix that folding left among them."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Picture float [B, C, S, S] -> mean [B, d], log variance [B, d], mix [d, d]."""
        posterior = self.encoder(pictures)
        return posterior.mean, posterior.log_var, self.encoder.mix


@dataclass(frozen=True)
class _Part:
    """A network to export: names of its input and outputs, and inputs to check it with."""

    module: nn.Module
    input: str
    outputs: tuple[str, ...]
    inputs: tuple[Tensor, ...]


def check_export(base: Path, force: bool) -> dict[str, Path]:
    """Where the parts go. Raises VaeganError where they may not, or the extra is missing; costs nothing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise VaeganError(f"exporting needs onnx, onnxruntime and onnxscript ({reason(error)}): {HINT}") from None
    refuse_nameless(base)
    stem = base.with_suffix("") if base.suffix.lower() == ".onnx" else base
    paths = {name: stem.with_name(f"{stem.name}-{name}.onnx") for name in ABOUT}
    for path in paths.values():
        if path.is_dir():
            raise VaeganError(f"{path} is a directory: choose another --out")
        if path.exists() and not force and not _is_ours(path):
            raise VaeganError(f"{path} exists and was not made by vaegan: choose another --out, or add --force")
    return paths


def _is_ours(path: Path) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        found = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError):
        return False
    return any(entry.key == METADATA for entry in found.metadata_props)


def export_onnx(model: Model, paths: dict[str, Path], emit: Emit) -> list[Exported]:
    """Write a model's decoder and, where it has them, its encoder and its mixture, each whole in one file.

    See `check_export`. model: on the CPU. All are compared with torch by onnxruntime on random latents and what they
    decode to, at several batch sizes, before any is written. Raises VaeganError when a number differs by more than
    1e-4.
    """
    found = []
    for name, part in _parts(model).items():
        content = _exported(name, part, model)
        found.append((Exported(name, paths[name], _difference(content, part)), content))
    for exported, _ in found:
        if exported.difference > TOLERANCE:
            raise VaeganError(
                f"the exported {exported.name} differs from torch's by {exported.difference:.2g}, more than"
                f" {TOLERANCE:g}: nothing was written; try other versions of onnxruntime and torch"
            )
    for exported, content in found:
        write_bytes(exported.path, content)
        emit(Wrote("onnx", exported.path))
        emit(
            Note(
                f"{exported.name}: opset {OPSET}, {len(content) / 2**20:.1f} MiB, largest difference from torch"
                f" {exported.difference:.2g}"
            )
        )
    written = {exported.name for exported, _ in found}
    for name, path in paths.items():  # of another model that was exported there
        if name not in written and path.exists():
            path.unlink()
            emit(Note(f"{path}, of an older export, was removed: this model has no {name}"))
    if model.encoder is None:
        emit(Note(f"{model.weights.path} holds no encoder, as a GAN from scratch: only the decoder was exported"))
    return [exported for exported, _ in found]


@torch.no_grad()
def _parts(model: Model) -> dict[str, _Part]:
    generator = torch.Generator().manual_seed(0)
    latents = tuple(torch.randn(count, model.latent_dim, generator=generator) for count in CHECKED)
    parts = {"decoder": _Part(model.decoder, "latents", ("pictures",), latents)}
    if model.encoder is not None:
        pictures = tuple(model.decoder(part).contiguous() for part in latents)
        outputs = ("mean", "log_var", "mix")
        parts["encoder"] = _Part(_Posterior(model.encoder).eval(), "pictures", outputs, pictures)
    if model.prior.kind == "mixture":
        noise = tuple(torch.randn(count, model.prior.columns, generator=generator) for count in CHECKED)
        parts["prior"] = _Part(model.prior, "noise", ("latents",), noise)
    return parts


def _exported(name: str, part: _Part, model: Model) -> bytes:
    """The bytes of an ONNX file, weights inside, that says what it is."""
    import onnx

    example = part.inputs[1]  # of two rows at least: a batch of one would be taken for a fixed number
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
            input_names=[part.input],
            output_names=list(part.outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _forget_places(proto.graph)
    weights = model.weights
    said = {
        "kind": weights.kind,
        "part": name,
        "config": asdict(weights.config),
        "step": weights.step,
        "images": weights.images,
        "vaegan": weights.vaegan,
    }
    onnx.helper.set_model_props(proto, {METADATA: json.dumps(said)})
    proto.doc_string = ABOUT[name]
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content


def _forget_places(graph: Any) -> None:
    """Drop the exporter's notes, which name files and lines of the machine that it ran on."""
    for entries in ([graph], graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in entries:
            del entry.metadata_props[:]


@torch.no_grad()
def _difference(content: bytes, part: _Part) -> float:
    """The largest difference between what onnxruntime and torch make of the part's inputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows in part.inputs:
        expected = part.module(rows)
        found: Sequence[Any] = session.run(list(part.outputs), {part.input: rows.numpy()})
        for mine, theirs in zip(found, [expected] if isinstance(expected, Tensor) else expected, strict=True):
            worst = max(
                worst, float((torch.from_numpy(mine) - theirs).abs().nan_to_num(torch.inf).max())
            )  # not a number: worst
    return worst
