"""vaegan preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.options import Force, Json, Quiet, takes
from vaegan.cli.reporting import reporting, results
from vaegan.settings import PrepareSettings


@takes(PrepareSettings)
def preprocess(
    src: Annotated[
        list[Path], typer.Argument(metavar="SRC...", help="Folders of pictures (searched recursively) or files.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The prepared set.", show_default="data/<name>-<size>")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Make a prepared set of squares from pictures of any shape."""
    with reporting(quiet) as emit:
        from vaegan.data.preprocess import prepare
        from vaegan.data.store import open_set

        path = prepare(src, out, force=force, on_event=emit, **options)
    results({"set": path}, json, counts=open_set(path).counts)
