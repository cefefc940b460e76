"""vaegan compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.console import event_reporter, print_json, print_table
from vaegan.cli.params import Device, EvaluationDir, Force, JsonFlag, Quiet, with_settings
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.utils.files import real_path

MAX_RUNS_IN_NAME = 4


@with_settings(EvaluateSettings)
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories, checkpoints or .safetensors files.")
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A prepared dataset.", show_default="the dataset that all were trained on"),
    ] = None,
    out: EvaluationDir = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: EvaluateSettings,
) -> None:
    """Compare runs: metrics, samples of the same seeds, and curves over images and time."""
    with event_reporter(quiet) as emit:
        from vaegan.evaluation.compare import compare as compare_runs
        from vaegan.evaluation.compare import write_comparison
        from vaegan.evaluation.results import check_evaluation_dir, table_rows, to_json

        run_names = [real_path(run).name for run in runs[:MAX_RUNS_IN_NAME]]
        out_dir = out or Path("evaluations") / "-".join(["compare", *run_names])
        check_evaluation_dir(out_dir, force)
        result = compare_runs(runs, data, device=device, on_event=emit, **vars(settings))
        write_comparison(result, out_dir, emit)
    if as_json:
        print_json({**result.facts, "caution": result.caution, "columns": to_json(result.metrics)})
    else:
        print_table(("metric", "better", *result.metrics), table_rows(result.metrics))
