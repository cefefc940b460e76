"""Evaluations as files: numbers, charts, sheets, and one page that holds them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaegan.data.dataset import is_dataset
from vaegan.errors import VaeganError
from vaegan.evaluation import plots
from vaegan.evaluation.evaluate import REAL_COLUMN, Evaluation
from vaegan.evaluation.metric_specs import METRIC_SPECS, format_metric
from vaegan.evaluation.reference import MetricDict
from vaegan.events import EventHandler, FileWritten, Note
from vaegan.report import html_page
from vaegan.run_dir import RunDir
from vaegan.utils.files import atomic_directory, write_bytes, write_json
from vaegan.utils.images import enlarge, make_grid, png_bytes, to_pil

EVALUATION_JSON = "evaluation.json"
EVALUATION_FILES = frozenset(
    (EVALUATION_JSON, "report.html", "evaluation.png", "neighbours.png", "samples.png", "comparison.png", "curves.png")
)
METRICS_EXPLANATION = (
    "Every number is to be read beside the last column: what as many real pictures get. Fine, middle and coarse are"
    " random convolutional features at three scales, which need no download and favour no model; learned features tell"
    " the pictures of this set apart."
)


def table_rows(metrics: Mapping[str, MetricDict]) -> list[tuple[str, ...]]:
    """The table: a measure, the way that is better, and a cell for each column; measures with no number left out."""
    marks = {"lower": "lower", "higher": "higher", "real": "as real"}
    return [
        (measure.label, marks[measure.direction], *(format_metric(measure, numbers) for numbers in metrics.values()))
        for measure in METRIC_SPECS.values()
        if any(numbers.get(measure.name) is not None for numbers in metrics.values())
    ]


def to_json(metrics: Mapping[str, MetricDict]) -> dict[str, dict[str, float | None]]:
    """Columns as JSON holds them: an infinite number (no pair found) is null."""
    return {
        name: {key: value if value is None or math.isfinite(value) else None for key, value in numbers.items()}
        for name, numbers in metrics.items()
    }


def check_evaluation_dir(out_dir: Path, force: bool) -> None:
    """Raise VaeganError when `place` holds something that no evaluation wrote; `force` allows all but runs and sets."""
    if out_dir.exists() and not out_dir.is_dir():
        raise VaeganError(f"--out {out_dir} is a file: name a folder")
    for what, there in (("run", RunDir(out_dir).exists()), ("prepared set", is_dataset(out_dir))):
        if there:
            raise VaeganError(f"--out {out_dir} is a {what}: name another folder")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / EVALUATION_JSON).is_file() and not force:
        raise VaeganError(f"{out_dir} exists and holds no evaluation: choose another --out, or add --force")


def write_evaluation_files(
    out_dir: Path,
    title: str,
    facts: Mapping[str, Any],
    metrics: Mapping[str, MetricDict],
    warnings: list[str],
    images: Mapping[str, tuple[bytes, str]],
    charts: Mapping[str, tuple[bytes, str]],
    emit: EventHandler,
) -> None:
    """Write numbers, pictures and charts (name -> PNG, what it shows), and the page, into the folder `place`.

    An older evaluation's files give way, all at once where nothing else lies there; what else does stays.
    """
    if not charts:
        emit(Note(plots.MATPLOTLIB_HINT))
    head = ("measure", "better", *metrics)
    sections = [
        html_page.paragraph(METRICS_EXPLANATION, is_muted=True),
        *(html_page.warning_box(text) for text in warnings),
    ]
    sections += [html_page.image_tag(png, text) for png, text in charts.values()]
    sections.append(html_page.data_table(head, table_rows(metrics)))
    for png, text in images.values():
        sections += [html_page.heading(text), html_page.image_tag(png, text, is_pixelated=True)]
    sections += [html_page.heading("What was compared"), html_page.fact_table(facts)]
    drawn = {name: png for name, (png, _) in {**images, **charts}.items()}

    def write(folder: Path) -> None:
        for name, png in drawn.items():
            write_bytes(folder / name, png)
        html_page.write_page(folder / "report.html", title, sections)
        write_json(folder / EVALUATION_JSON, {**facts, "warnings": warnings, "columns": to_json(metrics)})

    if out_dir.is_dir() and any(path.name not in EVALUATION_FILES for path in out_dir.iterdir()):
        for name in EVALUATION_FILES - drawn.keys():
            (out_dir / name).unlink(missing_ok=True)
        write(out_dir)
    else:
        with atomic_directory(out_dir) as folder:
            write(folder)
    for name in (*charts, "report.html"):
        emit(FileWritten("evaluation", out_dir / name))


def write_evaluation(evaluation: Evaluation, out_dir: Path, emit: EventHandler) -> None:
    """Write one checkpoint's evaluation into the folder `place`."""
    sheet = enlarge(make_grid(evaluation.neighbors, columns=8), 2)
    neighbours = png_bytes(to_pil(sheet), f"nearest neighbours of {evaluation.facts['checkpoint']}")
    charts = {}
    if plots.is_matplotlib_available():
        charts["evaluation.png"] = (
            plots.draw_metric_bars(evaluation.metrics, REAL_COLUMN),
            "Distances and shares beside real pictures",
        )
    said = "Samples that come nearest to a training picture, each followed by that picture"
    write_evaluation_files(
        out_dir,
        f"Evaluation of {evaluation.facts['checkpoint']}",
        evaluation.facts,
        evaluation.metrics,
        evaluation.warnings,
        {"neighbours.png": (neighbours, said)},
        charts,
        emit,
    )
