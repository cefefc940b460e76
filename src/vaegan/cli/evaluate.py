"""vaegan evaluate."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, show_table
from vaegan.cli.params import Best, Checkpoint, Device, Force, Json, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import EvaluateSettings
from vaegan.events import Warned


@takes(EvaluateSettings)
def evaluate(
    ckpt: Checkpoint = None,
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
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Compare samples with held-out pictures: distances, coverage, memorisation, beside what real pictures get."""
    build(EvaluateSettings, options)
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.checkpoint import read_weights
        from vaegan.evaluation.evaluate import evaluate as measure
        from vaegan.evaluation.results import check_place, plain, rows, write_evaluation

        place = out or Path("evaluations") / label(read_weights(path).path)
        check_place(place, force)
        found = measure(path, data, vae_encoder=vae_encoder, device=device, on_event=emit, **options)
        write_evaluation(found, place, emit)
        if json:
            said = {**found.facts, "warnings": found.warnings, "columns": plain(found.columns)}
            print(encoder.dumps(said, ensure_ascii=False))
        else:
            show_table(("measure", "better", *found.columns), rows(found.columns))
        for text in found.warnings:
            emit(Warned(text))
