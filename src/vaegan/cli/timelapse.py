"""vaegan timelapse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Force, JsonFlag, Out, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import TimelapseSettings


@with_settings(TimelapseSettings)
def timelapse(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run.", show_default="newest GAN run under runs/, else VAE run"),
    ] = None,
    out: Out = None,
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Show a training as an animation of its previews: GIF, WebP or MP4."""
    settings = build_settings(TimelapseSettings, options)
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(run, emit)
        from vaegan.inference.timelapse import write_timelapse
        from vaegan.run_dir import RunDir

        place = out or Path("samples") / f"{path.resolve().name}-timelapse"
        made, count = write_timelapse(RunDir(path), settings, place, force, emit)
    print_results({"timelapse": made}, as_json, previews=count)
