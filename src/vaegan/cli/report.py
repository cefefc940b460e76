"""vaegan report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import checkpoint
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Device, Force, Json, Quiet


def report(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="A run.", show_default="newest GAN run under runs/, else VAE run"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the page goes.", show_default="RUN/report.html")
    ] = None,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's page: settings, curves, previews, samples, latent axes, reconstructions, neighbours."""
    with reporting(quiet) as emit:
        path = checkpoint(run, emit)
        from vaegan.report.run_report import check_place
        from vaegan.report.run_report import report as write
        from vaegan.vae_diagnostics import of_run

        if out is not None:
            check_place(out, force)
        place = write(path, out, device=device, diagnose=of_run)
    results({"report": place}, json)
