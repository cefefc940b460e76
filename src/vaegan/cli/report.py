"""vaegan report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Device, Force, JsonFlag, Quiet


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
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's page: settings, curves, previews, samples, latent axes, reconstructions, neighbours."""
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(run, emit)
        from vaegan.report.run_report import check_report_path
        from vaegan.report.run_report import write_run_report as write

        if out is not None:
            check_report_path(out, force)
        place = write(path, out, device=device)
    print_results({"report": place}, as_json)
