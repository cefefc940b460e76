"""vaegan preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import ForcePreprocess, JsonFlag, Quiet, out_option, with_settings
from vaegan.cli.summaries import dataset_summary
from vaegan.config.tool_settings import PreprocessSettings


@with_settings(PreprocessSettings)
def preprocess(
    src: Annotated[
        list[Path],
        typer.Argument(metavar="SRC...", help="Folders (searched recursively), images, .zip and .tar archives."),
    ],
    out: Annotated[Path | None, out_option("Directory of the dataset.", "data/<name>-<size>", "DIR")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the images that would be kept and skipped; write nothing.")
    ] = False,
    force: ForcePreprocess = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Make a dataset of square images from a folder of any images.

    Examples:
        vaegan preprocess ./faces
        vaegan preprocess photos/ album.zip --size 128 --fit smart
        vaegan preprocess ./faces --dry-run
    """
    with event_reporter(quiet) as emit:
        from vaegan.data.preprocess.preprocess import preprocess_with_summary

        path, summary = preprocess_with_summary(src, out, force, dry_run, emit, options)
        if not dry_run:
            emit(dataset_summary(path, summary.split_counts["train"], summary.split_counts["val"]))
    counts = {**summary.split_counts, "skipped": summary.skip_counts.total(), "upscaled": summary.num_upscaled}
    paths = {} if dry_run else {"dataset": path}
    print_results(paths, as_json, counts=counts, skip_reasons=dict(sorted(summary.skip_counts.items())))
