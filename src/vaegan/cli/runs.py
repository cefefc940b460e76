"""vaegan runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaegan.cli.console import print_json, print_table
from vaegan.cli.params import JsonFlag
from vaegan.errors import VaeganError
from vaegan.progress.text import format_duration

if TYPE_CHECKING:
    from vaegan.inference.listing import DatasetEntry, RunEntry


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that holds runs/ and data/.", show_default="this folder")
    ] = Path(),
    as_json: JsonFlag = False,
) -> None:
    """List the runs and datasets of a folder: kind, images seen, KID, age.

    Examples:
        vaegan runs
        vaegan runs vaegan-demo
    """
    from vaegan.inference.listing import list_datasets, list_runs

    run_entries, dataset_entries = list_runs(folder / "runs"), list_datasets(folder / "data")
    if as_json:
        print_json({"runs": list(map(_to_json, run_entries)), "datasets": list(map(_to_json, dataset_entries))})
        return
    if not run_entries and not dataset_entries:
        raise VaeganError(f"{folder} holds no runs/ and no data/: make a dataset with vaegan preprocess FOLDER")
    if dataset_entries:
        print_table(("dataset", "pixels", "train", "val", "age"), list(map(_dataset_row, dataset_entries)))
    if run_entries and dataset_entries:
        print()
    if run_entries:
        header = ("run", "kind", "images seen", "state", "KID x1000", "best", "age")
        print_table(header, list(map(_run_row, run_entries)))


def _to_json(entry: RunEntry | DatasetEntry) -> dict[str, Any]:
    return {**asdict(entry), "path": str(entry.path), "seconds_ago": round(entry.seconds_ago)}


def _run_row(entry: RunEntry) -> list[str]:
    kids = ("-" if kid is None else f"{kid * 1000:.1f}" for kid in (entry.kid, entry.best_kid))
    age = format_duration(entry.seconds_ago)
    return [str(entry.path), entry.kind.upper(), f"{entry.images_seen:,}", entry.state, *kids, age]


def _dataset_row(entry: DatasetEntry) -> list[str]:
    counts = [str(entry.size), f"{entry.train_images:,}", f"{entry.val_images:,}"]
    return [
        str(entry.path),
        *(["-", "-", entry.problem] if entry.problem else counts),
        format_duration(entry.seconds_ago),
    ]
