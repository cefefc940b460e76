"""Several runs side by side: the same measures, the same seeds, and how each came there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, read_weights_info
from vaegan.config.options import build_settings
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.errors import UsageError, VaeganError
from vaegan.evaluation import plots
from vaegan.evaluation.evaluate import REAL_COLUMN, Evaluator
from vaegan.evaluation.reference import MetricDict
from vaegan.evaluation.results import write_evaluation_files
from vaegan.events import EventHandler, Note, TaskProgress, ignore_event
from vaegan.inference.model import load
from vaegan.metrics_log import read_metrics
from vaegan.run_dir import find_run
from vaegan.run_lookup import check_dataset_fits, dataset_for
from vaegan.utils.images import enlarge, make_grid, png_bytes, to_pil

SAMPLES_PER_ROW = 12


@dataclass(frozen=True)
class Comparison:
    """What was found. `columns`: numbers by measure for each run and for "real".

    sheet: uint8 [rows * 12, C, S, S], or fewer a row; curves: KID over training, of the runs that recorded it; facts:
    what was compared.
    """

    metrics: dict[str, MetricDict]
    facts: dict[str, Any]
    sample_images: Tensor
    kid_curves: list[plots.MetricCurve]


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    resolved = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, resolved)) + 1):
        names = ["/".join(parts[-length:]) for parts in resolved]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{paths[0]} was named twice: give different runs")


def _common_dataset(weights: Sequence[WeightsInfo], data: Path | None, emit: EventHandler) -> PreparedDataset:
    """The set that all are measured on. Raises VaeganError when they were trained on different ones."""
    if data is not None:
        found = open_dataset(data)
    else:
        found = dataset_for(weights[0], None, emit)
        for other in weights[1:]:
            run = find_run(other.path)
            theirs = run.read_config()["data"] if run is not None else {}
            if theirs and theirs.get("fingerprint") != found.fingerprint:
                raise VaeganError(
                    f"{weights[0].path} was trained on {found.path}, {other.path} on {theirs.get('path')}:"
                    " name the set to measure both on with --data"
                )
    for one in weights:
        check_dataset_fits(found, one.config, one.path)
    return found


def _kid_curve(name: str, weights: WeightsInfo) -> plots.MetricCurve | None:
    """KID over training, the VAE's seconds before it, where the run recorded them."""
    run = find_run(weights.path)
    if run is None:
        return None
    lines = [line for line in read_metrics(run.path) if {"kid", "train_seconds", "images_seen"} <= line.keys()]
    before = float((run.read_config().get("from_vae") or {}).get("train_seconds", 0.0))
    if not lines:
        return None
    return plots.MetricCurve(
        name,
        [line["images_seen"] for line in lines],
        [before + line["train_seconds"] for line in lines],
        [line["kid"] for line in lines],
    )


def compare(
    runs: Sequence[Path | str],
    data: Path | str | None = None,
    *,
    device: str = "auto",
    on_event: EventHandler = ignore_event,
    **options: Any,
) -> Comparison:
    """Measure several runs (or checkpoints) on one prepared set, with the same seeds and the same real pictures.

    data: a prepared set (the one that all were trained on); options: those of EvaluateSettings. Raises UsageError for
    fewer than two runs, VaeganError for runs that do not fit one set.
    """
    settings = build_settings(EvaluateSettings, options)
    if len(runs) < 2:
        raise UsageError("expected two runs or more, such as: vaegan compare runs/a runs/b")
    paths = [Path(path) for path in runs]
    weights, names = [read_weights_info(path) for path in paths], _unique_names(paths)
    prepared = _common_dataset(weights, None if data is None else Path(data), on_event)
    first = load(weights[0].path, device)
    judge = Evaluator(prepared, settings, first.device, None, on_event)
    columns: dict[str, MetricDict] = {}
    rows = []
    for index, (name, one) in enumerate(zip(names, weights, strict=True)):
        lot = judge.generate_samples(load(one.path, device))
        rows.append(lot.images[:SAMPLES_PER_ROW])
        columns[name] = judge.compute_metrics(lot)
        on_event(TaskProgress("Measuring", index + 1, len(names) + 1, "lots"))
    columns[REAL_COLUMN] = judge.real_metrics()
    on_event(TaskProgress("Measuring", len(names) + 1, len(names) + 1, "lots"))
    rows.append(judge.reference.val.images[:SAMPLES_PER_ROW])
    curves = [found for name, one in zip(names, weights, strict=True) if (found := _kid_curve(name, one)) is not None]
    if len(curves) < len(names):
        on_event(Note("Runs without light evaluations have no curve (they were off, or the weights lie in no run)"))
    facts = {
        "runs": {name: str(one.path) for name, one in zip(names, weights, strict=True)},
        "steps": {name: one.step for name, one in zip(names, weights, strict=True)},
        "data": str(prepared.path),
        "n": judge.num_images,
        "held_out": len(judge.reference.val.images),
        "seed": settings.seed,
    }
    return Comparison(columns, facts, torch.cat([row[: min(map(len, rows))] for row in rows]), curves)


def write_comparison(comparison: Comparison, out_dir: Path, emit: EventHandler) -> None:
    """Write numbers, sheet, charts and page into the folder `place`."""
    names = [name for name in comparison.metrics if name != REAL_COLUMN]
    said = f"The same seeds in each row: {', '.join(names)}; the last row shows held-out pictures"
    columns = len(comparison.sample_images) // len(comparison.metrics)
    sheet = png_bytes(to_pil(enlarge(make_grid(comparison.sample_images, columns=columns), 2)), said)
    charts = {}
    if plots.is_matplotlib_available():
        charts["comparison.png"] = (
            plots.draw_metric_bars(comparison.metrics, REAL_COLUMN),
            "Distances and shares beside real pictures",
        )
        if comparison.kid_curves:
            charts["curves.png"] = (
                plots.draw_metric_curves(comparison.kid_curves, "KID (lower is better)"),
                "KID during training",
            )
    title = f"Comparison of {', '.join(names)}"
    pictures = {"samples.png": (sheet, said)}
    write_evaluation_files(out_dir, title, comparison.facts, comparison.metrics, [], pictures, charts, emit)
