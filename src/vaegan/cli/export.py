"""vaegan export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Force, JsonFlag, Quiet
from vaegan.errors import UsageError


def export(
    ckpt: CheckpointArg,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX files; needs vaegan[export].")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="NAME of NAME-decoder.onnx and NAME-encoder.onnx.", show_default="exports/..."
        ),
    ] = None,
    best: Best = False,
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Write decoder and encoder as ONNX files, checked against PyTorch."""
    if not onnx:
        raise UsageError("export to what? ONNX is the one format there is: add --onnx")
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights_info
        from vaegan.inference.export import OPSET, check_export, export_onnx
        from vaegan.inference.model import load

        paths = check_export(out or Path("exports") / weights_slug(read_weights_info(path).path), force)
        made = export_onnx(load(path, "cpu"), paths, emit)
    differences = {one.name: one.max_abs_diff for one in made}
    print_results({one.name: one.path for one in made}, as_json, opset=OPSET, largest_difference=differences)
