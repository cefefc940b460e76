"""vaegan export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Force, JsonFlag, Quiet
from vaegan.errors import UsageError
from vaegan.events import EventHandler, Note

if TYPE_CHECKING:  # torch takes long to import
    from vaegan.inference.model import Model


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
        vaegan export runs/gan --hub my-faces                          # a folder to upload
        vaegan export runs/gan --hub my-faces --push ann/my-faces      # and its upload
    """
    is_onnx = onnx or hub is None
    if push is not None and hub is None:
        raise UsageError(f"--push {push} goes with --hub: name the folder to write and upload")
    if out is not None and not is_onnx:
        raise UsageError(f"--out {out} names ONNX files, and --hub writes none: add --onnx for both")
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights_info
        from vaegan.inference.export import OPSET, check_export, export_onnx
        from vaegan.inference.hub import check_hub_folder, check_push
        from vaegan.inference.model import load

        # Refuse everything before anything is written.
        weights = read_weights_info(path).path
        onnx_paths = check_export(out or Path("exports") / weights_slug(weights), force) if is_onnx else {}
        if hub is not None:
            check_hub_folder(hub, force)
        if push is not None:
            check_push(push)
        model = load(path, "cpu")
        results: dict[str, Path | str] = {}
        details: dict[str, object] = {}
        if is_onnx:
            max_abs_diff = export_onnx(model, onnx_paths, emit)
            results |= {name: onnx_paths[name] for name in max_abs_diff}
            details = {"opset": OPSET, "max_abs_diff": max_abs_diff}
        if hub is not None:
            results |= _export_hub(model, hub, push, force, emit)
    print_results(results, as_json, **details)


def _export_hub(model: Model, hub: Path, push: str | None, force: bool, emit: EventHandler) -> dict[str, Path | str]:
    """Write the folder for the hub and, if asked for, upload it; return what to print."""
    from vaegan.evaluation.results import find_evaluation
    from vaegan.inference.hub import push_hub_folder, write_hub_folder

    evaluation = find_evaluation(model.info.path)
    if evaluation is None:
        emit(Note("No evaluation of these weights under evaluations/: for metrics in the card, run vaegan evaluate"))
    names = write_hub_folder(model, hub, emit, evaluation, push, force)
    if push is None:
        emit(Note(f"Next: choose a license in {hub / 'README.md'}, then run this again with --push USER/NAME"))
        return {"hub": hub}
    return {"hub": hub, "repository": push_hub_folder(hub, names, push, emit)}
