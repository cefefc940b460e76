"""vaegan evaluate."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_table
from vaegan.cli.params import Best, Device, Force, JsonFlag, OptionalCheckpointArg, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import EvaluateSettings
from vaegan.events import WarningMessage


@with_settings(EvaluateSettings)
def evaluate(
    ckpt: OptionalCheckpointArg = None,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="A prepared set.", show_default="the set that it was trained on"),
    ] = None,
    vae_encoder: Annotated[
        bool,
        typer.Option("--vae-encoder", help="Also distances in the VAE's own encoder, which favours its own GAN."),
    ] = False,
    best: Best = False,
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
    """Compare samples with held-out pictures: distances, coverage, memorisation, beside what real pictures get."""
    build_settings(EvaluateSettings, options)
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights_info
        from vaegan.evaluation.evaluate import evaluate as measure
        from vaegan.evaluation.results import check_evaluation_dir, table_rows, to_json, write_evaluation

        place = out or Path("evaluations") / weights_slug(read_weights_info(path).path)
        check_evaluation_dir(place, force)
        found = measure(path, data, vae_encoder=vae_encoder, device=device, on_event=emit, **options)
        write_evaluation(found, place, emit)
        if as_json:
            said = {**found.facts, "warnings": found.warnings, "columns": to_json(found.metrics)}
            print(encoder.dumps(said, ensure_ascii=False))
        else:
            print_table(("measure", "better", *found.metrics), table_rows(found.metrics))
        for text in found.warnings:
            emit(WarningMessage(text))
