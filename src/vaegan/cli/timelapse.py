"""vaegan timelapse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import checkpoint
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Force, Json, Out, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import TimelapseSettings


@takes(TimelapseSettings)
def timelapse(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run.", show_default="newest GAN run under runs/, else VAE run"),
    ] = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Show a training as an animation of its previews: GIF, WebP or MP4."""
    settings = build(TimelapseSettings, options)
    with reporting(quiet) as emit:
        path = checkpoint(run, emit)
        from vaegan.inference.timelapse import write_timelapse
        from vaegan.run_dir import Run

        place = out or Path("samples") / f"{path.resolve().name}-timelapse"
        made, count = write_timelapse(Run(path), settings, place, force, emit)
    results({"timelapse": made}, json, previews=count)
