"""vaegan compare."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import reporting, show_table
from vaegan.cli.params import Device, Force, Json, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import EvaluateSettings


@takes(EvaluateSettings)
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
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Measure several runs side by side: a table, the same seeds, curves over pictures and seconds."""
    build(EvaluateSettings, options)
    with reporting(quiet) as emit:
        from vaegan.evaluation.compare import compare as measure
        from vaegan.evaluation.compare import write_comparison
        from vaegan.evaluation.results import check_place, plain, rows

        place = out or Path("evaluations") / "-".join(["compare", *(run.resolve().name for run in runs[:4])])
        check_place(place, force)
        found = measure(runs, data, device=device, on_event=emit, **options)
        write_comparison(found, place, emit)
    if json:
        print(encoder.dumps({**found.facts, "columns": plain(found.columns)}, ensure_ascii=False))
    else:
        show_table(("measure", "better", *found.columns), rows(found.columns))
