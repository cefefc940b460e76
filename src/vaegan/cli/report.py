"""vaegan report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vaegan.cli.checkpoint_args import resolve_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Device, Force, JsonFlag, OptionalRunArg, Quiet, out_option


def report(
    run: OptionalRunArg = None,
    out: Annotated[Path | None, out_option("The HTML file to write.", "RUN/report.html")] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Write the page of a run: curves, previews, samples, latent axes.

    Examples:
        vaegan report runs/gan
    """
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(run, emit)
        from vaegan.report.run_report import check_report_path, write_run_report

        if out is not None:
            check_report_path(out, force)
        report_path = write_run_report(path, out, device=device)
    print_results({"report": report_path}, as_json)
