"""vaegan compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.completion import complete_checkpoint
from vaegan.cli.console import event_reporter, print_json, print_table
from vaegan.cli.params import Device, EvaluationDir, Force, JsonFlag, Quiet, dataset_option, with_settings
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.events import Summary
from vaegan.utils.files import real_path

MAX_RUNS_IN_NAME = 4
MAX_STDERR_COLUMNS = 2
"""So many runs fit beside each other with their standard errors in a terminal of 100 columns."""


@with_settings(EvaluateSettings)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...",
            help="Run directories, checkpoints or .safetensors files.",
            autocompletion=complete_checkpoint,
        ),
    ],
    data: Annotated[Path | None, dataset_option("A prepared dataset.", "the dataset that all were trained on")] = None,
    out: EvaluationDir = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: EvaluateSettings,
) -> None:
    """Compare runs: metrics, samples of the same seeds, and curves.

    Examples:
        vaegan compare runs/gan runs/gan-2
        vaegan compare runs/vae runs/gan --data data/faces-64
    """
    with event_reporter(quiet) as emit:
        from vaegan.evaluation.compare import compare as compare_runs
        from vaegan.evaluation.compare import write_comparison
        from vaegan.evaluation.results import EVALUATION_PAGE, check_evaluation_dir, metric_table, to_json

        run_names = [real_path(run).name for run in runs[:MAX_RUNS_IN_NAME]]
        out_dir = out or Path("evaluations") / "-".join(["compare", *run_names])
        check_evaluation_dir(out_dir, force)
        result = compare_runs(runs, data, device=device, on_event=emit, **vars(settings))
        write_comparison(result, out_dir, emit)
    if as_json:
        print_json({**result.facts, "caution": result.caution, "columns": to_json(result.metrics)})
    else:
        table = metric_table(result.metrics, max_stderr_columns=len(runs) if len(runs) <= MAX_STDERR_COLUMNS else 0)
        print_table(table.header, table.rows, table.grades)
    emit(Summary(f"Comparison of {', '.join(map(str, runs))}", [("look at", str(out_dir / EVALUATION_PAGE))]))
