"""vaegan compare."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import event_reporter, print_table
from vaegan.cli.params import Device, Force, JsonFlag, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import EvaluateSettings


@with_settings(EvaluateSettings)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Runs, checkpoints or weights files.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A prepared set.", show_default="the set that all were trained on"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for numbers, charts and page.", show_default="evaluations/..."),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Measure several runs side by side: a table, the same seeds, curves over pictures and seconds."""
    build_settings(EvaluateSettings, options)
    with event_reporter(quiet) as emit:
        from vaegan.evaluation.compare import compare as measure
        from vaegan.evaluation.compare import write_comparison
        from vaegan.evaluation.results import check_evaluation_dir, table_rows, to_json

        place = out or Path("evaluations") / "-".join(["compare", *(run.resolve().name for run in runs[:4])])
        check_evaluation_dir(place, force)
        found = measure(runs, data, device=device, on_event=emit, **options)
        write_comparison(found, place, emit)
    if as_json:
        print(encoder.dumps({**found.facts, "columns": to_json(found.metrics)}, ensure_ascii=False))
    else:
        print_table(("measure", "better", *found.metrics), table_rows(found.metrics))
