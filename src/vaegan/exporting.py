"""Export a model as ONNX files, as a folder for the Hugging Face hub, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vaegan.checkpoint import read_weights_info
from vaegan.errors import UsageError
from vaegan.evaluation.results import find_evaluation
from vaegan.events import EventHandler, Note
from vaegan.inference.export import check_export, export_onnx
from vaegan.inference.hub import check_hub_folder, check_push, push_hub_folder, write_hub_folder
from vaegan.inference.model import Model, load
from vaegan.progress.reporter import default_reporter
from vaegan.run_dir import best_weights_of, weights_name


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        results: path of each ONNX file by the name of its part, of the folder as "hub", and the address of an upload as
            "repository".
        max_abs_diff: largest absolute difference of an ONNX file's output from PyTorch's, by the name of its part.
    """

    results: Mapping[str, Path | str]
    max_abs_diff: Mapping[str, float]


def export(
    ckpt: Path | str,
    out: Path | str | None = None,
    *,
    onnx: bool = False,
    hub: Path | str | None = None,
    push: str | None = None,
    best: bool = False,
    force: bool = False,
    on_event: EventHandler | None = None,
) -> dict[str, Path | str]:
    """Write a model as ONNX files, as a folder for the Hugging Face hub, or both.

    Args:
        ckpt: run, checkpoint or weights file.
        out: path NAME of the files NAME-decoder.onnx and so on, or a folder with "/" at its end; by default made from
            the run's name, in exports/.
        onnx: write ONNX files with `hub` too; without `hub` they are always written.
        hub: folder to write for the hub.
        push: "USER/NAME" of the repository to upload the folder to.
        best: export the weights with the lowest KID of a run instead of the last ones.
        force: allow to replace files that vaegan did not make.
        on_event: is called with every event (see `vaegan.events`). By default progress is shown in a terminal and in a
            notebook, and warnings are logged elsewhere.

    Returns:
        the path of each ONNX file by the name of its part, of the folder as "hub", and the address of the upload as
        "repository".

    Raises:
        VaeganError: if the model cannot be read, a package is missing, or a file may not be written.
    """
    with default_reporter(on_event) as emit:
        path = best_weights_of(Path(ckpt)) if best else Path(ckpt)
        exported = export_files(path, out, onnx, None if hub is None else Path(hub), push, force, emit)
    return dict(exported.results)


def export_files(
    ckpt: Path, out: Path | str | None, onnx: bool, hub: Path | None, push: str | None, force: bool, emit: EventHandler
) -> Exported:
    """Write ONNX files, a folder for the hub, or both; see `export`.

    Args:
        ckpt: run, checkpoint or weights file.
        out: path of the ONNX files, as in `export`.
        onnx: write ONNX files with `hub` too.
        hub: folder to write for the hub.
        push: repository to upload it to.
        force: allow to replace files that vaegan did not make.
        emit: receives notes and written files.

    Returns:
        what was exported.

    Raises:
        UsageError: if `push` is given without `hub`, or `out` without ONNX files.
        VaeganError: if the model cannot be read, a package is missing, or a file may not be written.
    """
    is_onnx = onnx or hub is None
    if push is not None and hub is None:
        raise UsageError(f"--push {push} goes with --hub: name the folder to write and upload")
    if out is not None and not is_onnx:
        raise UsageError(f"--out {out} names ONNX files, and --hub writes none: add --onnx for both")

    # Refuse everything before anything is written.
    weights = read_weights_info(ckpt).path
    onnx_paths = check_export(out or Path("exports") / weights_name(weights), force) if is_onnx else {}
    if hub is not None:
        check_hub_folder(hub, force)
    if push is not None:
        check_push(push)

    model = load(ckpt, "cpu")
    max_abs_diff = export_onnx(model, onnx_paths, emit) if is_onnx else {}
    results: dict[str, Path | str] = {name: onnx_paths[name] for name in max_abs_diff}
    if hub is not None:
        results |= _export_hub(model, hub, push, force, emit)
    return Exported(results, max_abs_diff)


def _export_hub(model: Model, hub: Path, push: str | None, force: bool, emit: EventHandler) -> dict[str, Path | str]:
    """Write the folder for the hub and, if asked for, upload it."""
    evaluation = find_evaluation(model.info.path)
    if evaluation is None:
        emit(Note("No evaluation of these weights under evaluations/: for metrics in the card, run vaegan evaluate"))
    names = write_hub_folder(model, hub, emit, evaluation, push, force)
    if push is None:
        emit(Note(f"Next: choose a license in {hub / 'README.md'}, then run this again with --push USER/NAME"))
        return {"hub": hub}
    return {"hub": hub, "repository": push_hub_folder(hub, names, push, emit)}
