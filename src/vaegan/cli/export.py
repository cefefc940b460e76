"""vaegan export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Force, JsonFlag, Quiet


def export(
    ckpt: CheckpointArg,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write ONNX files, the one format there is; needs vaegan[export].")
    ] = True,
    out: Annotated[
        str | None,  # a Path would lose the slash at the end
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Path NAME of the files NAME-decoder.onnx, NAME-encoder.onnx and NAME-prior.onnx, or a folder DIR/.",
            show_default="exports/...",
        ),
    ] = None,
    best: Best = False,
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Export decoder, encoder and prior as ONNX files.

    The outputs of the files are compared with those of PyTorch.

    Examples:
        vaegan export runs/gan
    """
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights_info
        from vaegan.inference.export import OPSET, check_export, export_onnx
        from vaegan.inference.model import load

        paths = check_export(out or Path("exports") / weights_slug(read_weights_info(path).path), force)
        max_abs_diff = export_onnx(load(path, "cpu"), paths, emit)
    print_results({name: paths[name] for name in max_abs_diff}, as_json, opset=OPSET, max_abs_diff=max_abs_diff)
