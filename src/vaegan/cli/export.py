"""vaegan export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Force, Json, Model, Quiet
from vaegan.errors import UsageError


def export(
    ckpt: Model,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX files; needs vaegan[export].")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="NAME of NAME-decoder.onnx and NAME-encoder.onnx.", show_default="exports/..."
        ),
    ] = None,
    best: Best = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write decoder and encoder as ONNX files, checked against PyTorch."""
    if not onnx:
        raise UsageError("export to what? ONNX is the one format there is: add --onnx")
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights
        from vaegan.inference.export import OPSET, check_export, export_onnx
        from vaegan.inference.model import load

        paths = check_export(out or Path("exports") / label(read_weights(path).path), force)
        made = export_onnx(load(path, "cpu"), paths, emit)
    differences = {one.name: one.difference for one in made}
    results({one.name: one.path for one in made}, json, opset=OPSET, largest_difference=differences)
