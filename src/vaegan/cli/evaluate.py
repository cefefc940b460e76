"""vaegan evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_json, print_table
from vaegan.cli.params import (
    Best,
    Device,
    EvaluationDir,
    Force,
    JsonFlag,
    OptionalCheckpointArg,
    Quiet,
    dataset_argument,
    with_settings,
)
from vaegan.cli.summaries import evaluation_summary
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.events import WarningMessage


@with_settings(EvaluateSettings)
def evaluate(
    ckpt: OptionalCheckpointArg = None,
    data: Annotated[Path | None, dataset_argument("A prepared dataset.", "the dataset that it was trained on")] = None,
    vae_encoder: Annotated[
        bool,
        typer.Option(
            "--vae-encoder",
            help="Also compute distances in features of the VAE's encoder, which favor the GAN that started from it.",
        ),
    ] = False,
    best: Best = False,
    out: EvaluationDir = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: EvaluateSettings,
) -> None:
    """Compare samples with validation images: quality, coverage, copies.

    Examples:
        vaegan evaluate
        vaegan evaluate runs/gan --best
    """
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights_info
        from vaegan.evaluation.evaluate import evaluate as evaluate_model
        from vaegan.evaluation.per_class import CLASS_HEADER
        from vaegan.evaluation.results import (
            EVALUATION_PAGE,
            check_evaluation_dir,
            default_evaluation_dir,
            metric_table,
            to_json,
            write_evaluation,
        )

        out_dir = out or default_evaluation_dir(read_weights_info(path).path, data)
        check_evaluation_dir(out_dir, force)
        result = evaluate_model(path, data, vae_encoder=vae_encoder, device=device, on_event=emit, **vars(settings))
        write_evaluation(result, out_dir, emit)
        for text in result.warnings:
            emit(WarningMessage(text))
    if as_json:
        print_json(
            {
                **result.facts,
                "caution": result.caution,
                "verdict": result.verdict,
                "warnings": result.warnings,
                **({"classes": [item.to_json() for item in result.classes]} if result.classes else {}),
                "columns": to_json(result.metrics),
            }
        )
    else:
        table = metric_table(result.metrics, max_stderr_columns=1)
        print_table(table.header, table.rows, table.grades)
        if result.classes:
            print_table(CLASS_HEADER, [item.table_row() for item in result.classes])
    emit(evaluation_summary(result, out_dir / EVALUATION_PAGE))
