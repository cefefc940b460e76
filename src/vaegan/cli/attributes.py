"""vaegan attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vaegan.cli.checkpoint_args import load_model
from vaegan.cli.console import event_reporter, print_results, print_table
from vaegan.cli.params import Best, Device, JsonFlag, OptionalCheckpointArg, Quiet, dataset_argument
from vaegan.events import FileWritten, Note

if TYPE_CHECKING:  # torch takes long to import
    from vaegan.inference.attributes import AttributeSet

MAX_MOVED_SHOWN = 2
MAX_REJECTED_SHOWN = 8


def attributes(
    ckpt: OptionalCheckpointArg = None,
    data: Annotated[
        Path | None, dataset_argument("A prepared dataset with labels.", "the one it was trained on")
    ] = None,
    best: Best = False,
    device: Device = "auto",
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Learn the attributes of a dataset from its labels.

    Edits and samples can then ask for them. The dataset needs labels: vaegan preprocess --labels.

    Prints how well each attribute is told on images that were left out, and what else moves with it.

    Examples:
        vaegan attributes
        vaegan attributes runs/gan data/faces-64
    """
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.attribute_files import attribute_records, attributes_path, keep_marked, save_attributes
        from vaegan.inference.attribute_fitting import fit_attributes
        from vaegan.report.run_report import refresh_run_report
        from vaegan.run_lookup import dataset_for

        dataset = dataset_for(model.info, data, emit)
        path = attributes_path(model.info.path)
        found = keep_marked(path, model, fit_attributes(model, dataset, emit), emit)
        save_attributes(path, found)
        emit(FileWritten("attributes", path))
        report = refresh_run_report(model, emit)
        if report is not None:
            emit(Note(f"A strip of each is in {report}"))
        rejected = [attribute for attribute in found.attributes if attribute.reason]
        for attribute in rejected[:MAX_REJECTED_SHOWN]:
            emit(Note(f"Not offered: {attribute.title}: {attribute.reason}"))
        if len(rejected) > MAX_REJECTED_SHOWN:
            emit(Note(f"Not offered: {len(rejected) - MAX_REJECTED_SHOWN} more; the report and --json list them"))
        if next(iter(found), None) is not None:
            example = _example(found)
            emit(Note(f"Next: vaegan edit {model.info.path.parent} IMAGES --set {example}"))
            emit(Note(f"      vaegan sample {model.info.path.parent} --where {example}"))
            emit(Note('What else moves with an attribute is in "moves also"; vaegan edit --hold NAME keeps it'))
    print_results({"attributes": path}, as_json, records=attribute_records(found))
    if not as_json:
        header, *rows = _table_lines(found)
        print_table(header, rows)


def _example(found: AttributeSet) -> str:
    first = next(iter(found))
    return f"{first.name}={first.value or format(first.on_score, '.3g')}"


def _table_lines(found: AttributeSet) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("attribute", "held out", "95 % interval", "examples", "moves also")]
    for attribute in found:
        moved = found.describe_entanglement(attribute, MAX_MOVED_SHOWN)
        lines.append((attribute.title, *attribute.describe_quality(), f"{attribute.num_positive:,}", moved))
    width = max(len(line[-1]) for line in lines)
    return [(*line[:-1], f"{line[-1]:<{width}}") for line in lines]  # words, so left-aligned
