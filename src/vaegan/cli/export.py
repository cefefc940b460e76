"""vaegan export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Force, JsonFlag, Quiet


def export(
    ckpt: CheckpointArg,
    onnx: Annotated[
        bool,
        typer.Option(
            "--onnx",
            help="Write ONNX files; needs vaegan[export]. Give it with --hub to write both.",
            show_default="unless --hub is given",
        ),
    ] = False,
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
    hub: Annotated[
        Path | None,
        typer.Option(
            "--hub",
            metavar="DIR",
            help="Write a folder for the Hugging Face hub: weights, config.json, model card and a sheet of samples.",
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            "--push",
            metavar="USER/NAME",
            help="Upload the folder of --hub to this repository, which is private if new; needs vaegan[hub].",
        ),
    ] = None,
    best: Best = False,
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Export a model as ONNX files, or as a folder for the Hugging Face hub.

    ONNX files hold decoder, encoder and prior. Their outputs are compared with those of PyTorch.

    Examples:
        vaegan export runs/gan
        vaegan export runs/gan --hub my-faces  # a folder to upload
        vaegan export runs/gan --hub my-faces --push ann/my-faces
    """
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.exporting import export_files
        from vaegan.inference.export import OPSET

        exported = export_files(path, out, onnx, hub, push, force, emit)
    details = {"opset": OPSET, "max_abs_diff": exported.max_abs_diff} if exported.max_abs_diff else {}
    print_results(exported.results, as_json, **details)
