"""Several runs side by side: the same measures, the same seeds, and how each came there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import Weights, read_weights
from vaegan.config.options import build
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import PreparedSet, open_set
from vaegan.errors import UsageError, VaeganError
from vaegan.evaluation import plots
from vaegan.evaluation.evaluate import REAL, Judge
from vaegan.evaluation.reference import Numbers
from vaegan.evaluation.results import write_files
from vaegan.events import Counted, Emit, Note, ignore
from vaegan.inference.model import load
from vaegan.metrics_log import metrics_of
from vaegan.run_dir import run_of
from vaegan.run_lookup import check_dataset_fits, dataset_for
from vaegan.utils.images import enlarge, grid, png_bytes, to_pil

SHOWN = 12


@dataclass(frozen=True)
class Comparison:
    """What was found. `columns`: numbers by measure for each run and for "real".

    sheet: uint8 [rows * 12, C, S, S], or fewer a row; curves: KID over training, of the runs that recorded it; facts:
    what was compared.
    """

    columns: dict[str, Numbers]
    facts: dict[str, Any]
    sheet: Tensor
    curves: list[plots.Curve]


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    resolved = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, resolved)) + 1):
        names = ["/".join(parts[-length:]) for parts in resolved]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{paths[0]} was named twice: give different runs")


def _shared_set(weights: Sequence[Weights], data: Path | None, emit: Emit) -> PreparedSet:
    """The set that all are measured on. Raises VaeganError when they were trained on different ones."""
    if data is not None:
        found = open_set(data)
    else:
        found = dataset_for(weights[0], None, emit)
        for other in weights[1:]:
            run = run_of(other.path)
            theirs = run.config()["data"] if run is not None else {}
            if theirs and theirs.get("fingerprint") != found.fingerprint:
                raise VaeganError(
                    f"{weights[0].path} was trained on {found.path}, {other.path} on {theirs.get('path')}:"
                    " name the set to measure both on with --data"
                )
    for one in weights:
        check_dataset_fits(found, one.config, one.path)
    return found


def _curve(name: str, weights: Weights) -> plots.Curve | None:
    """KID over training, the VAE's seconds before it, where the run recorded them."""
    run = run_of(weights.path)
    if run is None:
        return None
    lines = [line for line in metrics_of(run.path) if {"kid", "seconds", "images"} <= line.keys()]
    before = float((run.config().get("from_vae") or {}).get("seconds", 0.0))
    if not lines:
        return None
    return plots.Curve(
        name,
        [line["images"] for line in lines],
        [before + line["seconds"] for line in lines],
        [line["kid"] for line in lines],
    )


def compare(
    runs: Sequence[Path | str],
    data: Path | str | None = None,
    *,
    device: str = "auto",
    on_event: Emit = ignore,
    **options: Any,
) -> Comparison:
    """Measure several runs (or checkpoints) on one prepared set, with the same seeds and the same real pictures.

    data: a prepared set (the one that all were trained on); options: those of EvaluateSettings. Raises UsageError for
    fewer than two runs, VaeganError for runs that do not fit one set.
    """
    settings = build(EvaluateSettings, options)
    if len(runs) < 2:
        raise UsageError("expected two runs or more, such as: vaegan compare runs/a runs/b")
    paths = [Path(path) for path in runs]
    weights, names = [read_weights(path) for path in paths], _names(paths)
    prepared = _shared_set(weights, None if data is None else Path(data), on_event)
    first = load(weights[0].path, device)
    judge = Judge(prepared, settings, first.device, None, on_event)
    columns: dict[str, Numbers] = {}
    rows = []
    for index, (name, one) in enumerate(zip(names, weights, strict=True)):
        lot = judge.samples(load(one.path, device))
        rows.append(lot.pictures[:SHOWN])
        columns[name] = judge.numbers(lot)
        on_event(Counted("Measuring", index + 1, len(names) + 1, "lots"))
    columns[REAL] = judge.real()
    on_event(Counted("Measuring", len(names) + 1, len(names) + 1, "lots"))
    rows.append(judge.reference.held_out.pictures[:SHOWN])
    curves = [found for name, one in zip(names, weights, strict=True) if (found := _curve(name, one)) is not None]
    if len(curves) < len(names):
        on_event(Note("Runs without light evaluations have no curve (they were off, or the weights lie in no run)"))
    facts = {
        "runs": {name: str(one.path) for name, one in zip(names, weights, strict=True)},
        "steps": {name: one.step for name, one in zip(names, weights, strict=True)},
        "data": str(prepared.path),
        "n": judge.n,
        "held_out": len(judge.reference.held_out.pictures),
        "seed": settings.seed,
    }
    return Comparison(columns, facts, torch.cat([row[: min(map(len, rows))] for row in rows]), curves)


def write_comparison(comparison: Comparison, place: Path, emit: Emit) -> None:
    """Write numbers, sheet, charts and page into the folder `place`."""
    names = [name for name in comparison.columns if name != REAL]
    said = f"The same seeds in each row: {', '.join(names)}; the last row shows held-out pictures"
    columns = len(comparison.sheet) // len(comparison.columns)
    sheet = png_bytes(to_pil(enlarge(grid(comparison.sheet, columns=columns), 2)), said)
    charts = {}
    if plots.available():
        charts["comparison.png"] = (plots.bars(comparison.columns, REAL), "Distances and shares beside real pictures")
        if comparison.curves:
            charts["curves.png"] = (plots.curves(comparison.curves, "KID (lower is better)"), "KID during training")
    title = f"Comparison of {', '.join(names)}"
    pictures = {"samples.png": (sheet, said)}
    write_files(place, title, comparison.facts, comparison.columns, [], pictures, charts, emit)
