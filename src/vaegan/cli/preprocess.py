"""vaegan preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import reporting, results
from vaegan.cli.params import Anew, Json, Quiet, takes
from vaegan.config.settings import PrepareSettings


@takes(PrepareSettings)
def preprocess(
    src: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Folders (searched recursively), pictures, .zip and .tar archives."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The prepared set.", show_default="data/<name>-<size>")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of every file; write nothing.")
    ] = False,
    force: Anew = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Make a prepared set of squares from pictures of any shape."""
    with reporting(quiet) as emit:
        from vaegan.data.preprocess.preprocess import prepare_and_count

        path, summary = prepare_and_count(src, out, force, dry_run, emit, options)
    counts = {**summary.sides, "skipped": summary.reasons.total(), "enlarged": summary.enlarged}
    results({} if dry_run else {"set": path}, json, counts=counts, reasons=dict(sorted(summary.reasons.items())))
