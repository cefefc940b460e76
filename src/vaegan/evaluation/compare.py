"""Compare several runs: the same metrics, the same seeds, and the KID during training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from vaegan.checkpoint import WeightsInfo, read_weights_info
from vaegan.config.model_config import ModelConfig
from vaegan.config.option_types import EvaluateOptions
from vaegan.config.options import build_settings
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.errors import UsageError, VaeganError
from vaegan.evaluation.evaluate import REAL_COLUMN, Evaluator
from vaegan.evaluation.metric_specs import MetricDict
from vaegan.evaluation.results import SAMPLES_IMAGE, metric_bar_charts, write_evaluation_files
from vaegan.events import EventHandler, Note, TaskProgress
from vaegan.inference.model import load
from vaegan.metrics_log import read_metrics
from vaegan.progress.reporter import default_reporter
from vaegan.report.charts import Series, line_chart
from vaegan.report.training_charts import MAX_PLOTTED_VALUE
from vaegan.run_dir import find_run
from vaegan.run_lookup import check_dataset_fits, dataset_for
from vaegan.utils.device import choose_device
from vaegan.utils.files import real_path
from vaegan.utils.images import enlarge, make_grid, png_bytes, to_pil

SAMPLES_PER_ROW = 12


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`: metrics for each run and for "real", and curves of runs that logged their KID.

    `sample_images` are uint8 [R * P, C, S, S]: P samples per run with the same seeds, then P validation images. A curve
    is the KID over images seen, and over minutes, which include the training of the VAE.
    """

    metrics: dict[str, MetricDict]
    facts: dict[str, Any]
    caution: str
    sample_images: Tensor
    kid_curves: list[tuple[Series, Series]]


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that are all different."""
    resolved = [real_path(path).parts for path in paths]
    for length in range(1, max(map(len, resolved)) + 1):
        names = ["/".join(parts[-length:]) for parts in resolved]
        if len(set(names)) == len(names):
            return names
    raise UsageError(f"{paths[0]} was named twice: give different runs")


def _common_dataset(weights: Sequence[WeightsInfo], data: Path | None, emit: EventHandler) -> PreparedDataset:
    """Return the dataset to compare on. Raises VaeganError if the runs were trained on different ones."""
    if data is not None:
        dataset = open_dataset(data)
    else:
        dataset = dataset_for(weights[0], None, emit)
        for other in weights[1:]:
            run_dir = find_run(other.path)
            trained_on = run_dir.read_config()["data"] if run_dir is not None else {}
            if trained_on and trained_on.get("fingerprint") != dataset.fingerprint:
                raise VaeganError(
                    f"{weights[0].path} was trained on {dataset.path}, {other.path} on {trained_on.get('path')}:"
                    f" {_data_hint(weights[0].config, other.config)}"
                )
    for info in weights:
        check_dataset_fits(dataset, info.config, info.path)
    return dataset


def _data_hint(config: ModelConfig, other: ModelConfig) -> str:
    """Say how models of two configurations can be compared."""
    shapes = [(config.size, config.channels), (other.size, other.channels)]
    if shapes[0] == shapes[1]:
        return "name one dataset for both with --data"
    texts = [f"{size}x{size} pixels, {'grayscale' if channels == 1 else 'color'}" for size, channels in shapes]
    return f"no dataset fits both, their images differ ({' and '.join(texts)})"


def _read_kid_curve(name: str, weights: WeightsInfo) -> tuple[Series, Series] | None:
    """Return the KID over images and over minutes; None if the run did not log it, or the weights are in no run."""
    run_dir = find_run(weights.path)
    if run_dir is None:
        return None
    keys = ("kid", "train_seconds", "images_seen")
    lines = [
        line
        for line in read_metrics(run_dir.path)
        if all(abs(line.get(key, math.nan)) < MAX_PLOTTED_VALUE for key in keys)
    ]
    if not lines:
        return None
    vae_seconds = float((run_dir.read_config().get("from_vae") or {}).get("train_seconds", 0.0))
    kid = [line["kid"] for line in lines]
    minutes = [(vae_seconds + line["train_seconds"]) / 60 for line in lines]
    return Series(name, [line["images_seen"] for line in lines], kid), Series(name, minutes, kid)


def compare(
    runs: Sequence[Path | str],
    data: Path | str | None = None,
    *,
    device: str = "auto",
    on_event: EventHandler | None = None,
    **options: Unpack[EvaluateOptions],
) -> Comparison:
    """Compare several runs on one dataset, with the same seeds and the same real images.

    Args:
        runs: at least two runs, checkpoints or weights files.
        data: prepared dataset; by default the one that all were trained on.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        on_event: is called with every event. By default progress is shown in a terminal and in a notebook.
        **options: fields of EvaluateSettings.

    Returns:
        metrics, samples and curves of all runs.

    Raises:
        UsageError: if there are fewer than two runs, or an option is invalid.
        VaeganError: if a run cannot be read, or the dataset does not fit them all.
    """
    with default_reporter(on_event) as emit:
        return _compare(runs, data, device, emit, dict(options))


def _compare(
    runs: Sequence[Path | str],
    data: Path | str | None,
    device: str,
    on_event: EventHandler,
    options: dict[str, Any],
) -> Comparison:
    settings = build_settings(EvaluateSettings, options)
    if len(runs) < 2:
        raise UsageError("expected two runs or more, such as: vaegan compare runs/a runs/b")
    paths = [Path(path) for path in runs]
    weights = dict(zip(_unique_names(paths), map(read_weights_info, paths), strict=True))
    dataset = _common_dataset(list(weights.values()), None if data is None else Path(data), on_event)
    evaluator = Evaluator(dataset, settings, choose_device(device), None, on_event)

    metrics: dict[str, MetricDict] = {}
    image_rows = []
    for index, (name, info) in enumerate(weights.items()):
        samples = evaluator.generate_samples(load(info.path, device))
        image_rows.append(samples.images[:SAMPLES_PER_ROW])
        metrics[name] = evaluator.compute_metrics(samples)
        on_event(TaskProgress("Computing metrics", index + 1, len(weights) + 1, "columns"))
    image_rows.append(evaluator.reference.val.images[:SAMPLES_PER_ROW])
    metrics[REAL_COLUMN] = evaluator.real_metrics()
    on_event(TaskProgress("Computing metrics", len(weights) + 1, len(weights) + 1, "columns"))

    curves = [_read_kid_curve(name, info) for name, info in weights.items()]
    if None in curves:
        on_event(
            Note("No KID chart for runs without periodic evaluations (--evaluate-every 0) and single weights files")
        )
    facts = {
        "runs": {name: str(info.path) for name, info in weights.items()},
        "steps": {name: info.step for name, info in weights.items()},
        "dataset": str(dataset.path),
        "num_images": evaluator.num_images,
        "num_val_images": len(evaluator.reference.val.images),
        "seed": settings.seed,
    }
    num_columns = min(map(len, image_rows))
    sample_images = torch.cat([row[:num_columns] for row in image_rows])
    return Comparison(
        metrics, facts, evaluator.caution, sample_images, [curve for curve in curves if curve is not None]
    )


def write_comparison(comparison: Comparison, out_dir: Path, emit: EventHandler) -> None:
    """Write metrics, samples and charts into a directory; see `write_evaluation_files`.

    Args:
        comparison: from `compare`.
        out_dir: directory to write into.
        emit: receives a FileWritten for each file.

    Raises:
        VaeganError: if a file cannot be written.
    """
    names = [name for name in comparison.metrics if name != REAL_COLUMN]
    text = f"Samples, the same seeds in each row: {', '.join(names)}; the last row are validation images"
    num_columns = len(comparison.sample_images) // len(comparison.metrics)
    grid = enlarge(make_grid(comparison.sample_images, columns=num_columns), 2)
    write_evaluation_files(
        out_dir,
        f"Comparison of {', '.join(names)}",
        comparison.facts,
        comparison.metrics,
        comparison.caution,
        [],
        metric_bar_charts(comparison.metrics) + _kid_charts(comparison.kid_curves),
        (SAMPLES_IMAGE, png_bytes(to_pil(grid), text), text),
        emit,
    )


def _kid_charts(curves: Sequence[tuple[Series, Series]]) -> list[str]:
    if not curves:
        return []
    over_images, over_time = zip(*curves, strict=True)
    return [
        line_chart("KID during training", "over images seen, lower is better", over_images),
        line_chart("KID over training time", "including the VAE, lower is better", over_time, x_unit="minutes"),
    ]
