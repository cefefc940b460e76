"""Write an evaluation to a directory: evaluation.json, images, and a page with everything."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vaegan.config.options import require_int
from vaegan.data.dataset import is_dataset, open_dataset
from vaegan.errors import VaeganError, printable
from vaegan.evaluation.evaluate import DATASET_FINGERPRINT_KEY, REAL_COLUMN, SAMPLES_COLUMN, Evaluation
from vaegan.evaluation.metric_specs import (
    LEARNED_SPACE,
    MEAN_OF_SCALES,
    METRIC_SPECS,
    MetricDict,
    MetricSpec,
    format_metric,
)
from vaegan.evaluation.per_class import CLASS_HEADER, ClassResult
from vaegan.evaluation.ratings import rate_metric
from vaegan.events import EventHandler, FileWritten
from vaegan.inference.hub import CardEvaluation
from vaegan.inference.latent_files import WEIGHTS_HASH_KEY
from vaegan.report import html_page
from vaegan.report.charts import BarSeries, bar_chart
from vaegan.run_dir import RunDir, find_run, weights_name
from vaegan.run_lookup import recorded_fingerprint
from vaegan.utils.files import (
    atomic_directory,
    check_writable,
    file_sha256,
    note_replaced,
    read_json,
    write_bytes,
    write_json,
)
from vaegan.utils.images import enlarge, make_grid, png_bytes, to_pil

EVALUATION_JSON, EVALUATION_PAGE = "evaluation.json", "report.html"
NEIGHBORS_IMAGE, SAMPLES_IMAGE = "neighbors.png", "samples.png"
EVALUATION_FILES = frozenset((EVALUATION_JSON, EVALUATION_PAGE, NEIGHBORS_IMAGE, SAMPLES_IMAGE))
METRICS_EXPLANATION = (
    "Compare every number with the column of as many real images. Green is as good as real images, yellow visibly off,"
    " red far off. Fine, middle and coarse are random"
    " convolutional features at three scales, which need no download and favor no model. Learned features are trained"
    " to distinguish the images of this dataset."
)
CLASSES_EXPLANATION = (
    "Samples of each class against the validation images of this class, in random features, mean of the three scales."
    " The last column is the value of its training images: about 0, of either sign."
)
DISTANCE_CHART_METRICS = {
    "frechet_fine": "Frechet, fine",
    "frechet_middle": "Frechet, middle",
    "frechet_coarse": "Frechet, coarse",
    f"frechet_{LEARNED_SPACE}": "Frechet, learned",
    "sliced_wasserstein_0": "sliced W., finest",
    "sliced_wasserstein_1": "sliced W., half",
    "sliced_wasserstein_2": "sliced W., quarter",
}
EXAMPLE_COLUMNS = 8
RATIO_HEADING, RATIO_POSITION = "vs real", 4
LEADING_METRICS = ("frechet_mean", "kid_mean", "precision", "coverage", "coverage_fine", "memorized_fraction")
"""What the page shows before the other metrics."""
DIRECTION_TEXTS = {"lower": "lower", "higher": "higher", "real": "as real"}
FRACTION_CHART_METRICS = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class MetricTable:
    """A table of metrics.

    Attributes:
        header: name of each column.
        rows: cells of each row.
        grades: grade of each cell, "" for none (see `vaegan.evaluation.ratings`).
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    grades: list[tuple[str, ...]]


def metric_table(
    metrics: Mapping[str, MetricDict], is_leading: bool | None = None, max_stderr_columns: int | None = None
) -> MetricTable:
    """Return metrics as a table; unmeasured metrics are left out.

    The table of an evaluation has the real images beside the samples, and the ratio of both. That of a comparison has
    them last, and grades the value of each run.

    Args:
        metrics: metrics by column, with one of real images.
        is_leading: only the metrics of LEADING_METRICS, or only the others; None for all.
        max_stderr_columns: largest number of columns with standard errors, the first ones; None for all.

    Returns:
        the table: metric, better direction, and a cell per column.
    """
    real, is_evaluation = metrics[REAL_COLUMN], SAMPLES_COLUMN in metrics
    first = [SAMPLES_COLUMN, REAL_COLUMN] if is_evaluation else []
    columns = [*first, *(name for name in metrics if name not in first)]
    names = columns if max_stderr_columns is None else columns[:max_stderr_columns]
    header = ["metric", "better", *columns]
    if is_evaluation:
        header.insert(RATIO_POSITION, RATIO_HEADING)
    table = MetricTable(tuple(header), [], [])
    for spec, label in _shown_specs(metrics, is_leading):
        ratings = {name: rate_metric(spec, metrics[name], real) for name in columns if name != REAL_COLUMN}
        cells = [format_metric(spec, metrics[name], name in names) for name in columns]
        row = [label, DIRECTION_TEXTS[spec.direction], *cells]
        if is_evaluation:
            row.insert(RATIO_POSITION, ratings[SAMPLES_COLUMN].text)
            grades = [ratings[SAMPLES_COLUMN].grade if index == RATIO_POSITION else "" for index in range(len(row))]
        else:
            grades = ["", "", *(ratings[name].grade if name in ratings else "" for name in columns)]
        table.rows.append(tuple(row))
        table.grades.append(tuple(grades))
    return table


def _shown_specs(metrics: Mapping[str, MetricDict], is_leading: bool | None) -> Iterator[tuple[MetricSpec, str]]:
    """Yield the metrics to show with their labels, whole ones where the row above is missing."""
    parent, shown_parent = "", ""
    for spec in METRIC_SPECS.values():
        is_indented = spec.label.startswith(" ")
        if not is_indented:
            parent = spec.label
        is_measured = any(column.get(spec.name) is not None for column in metrics.values())
        if not is_measured or is_leading not in (None, spec.name in LEADING_METRICS):
            continue
        if is_indented and shown_parent != parent:
            yield spec, f"{parent.partition(',')[0]} {spec.label.strip()}"
        else:
            shown_parent = parent
            yield spec, spec.label


def to_json(metrics: Mapping[str, MetricDict]) -> dict[str, MetricDict]:
    """Replace infinite values, which JSON does not have, by None.

    Args:
        metrics: metrics by column.

    Returns:
        the same with None.
    """
    return {
        name: {key: value if value is None or math.isfinite(value) else None for key, value in column.items()}
        for name, column in metrics.items()
    }


def find_evaluation(weights: Path) -> CardEvaluation | None:
    """Find the newest evaluation of a weights file, by its SHA-256, as a model card shows it.

    It is looked for in the folders "evaluations" here and beside the folder of the run. Where the run tells what the
    weights were trained on, evaluations on other images do not count.

    Args:
        weights: weights file.

    Returns:
        its leading metrics and remarks, or None if there is none that can be read.
    """
    run = find_run(weights)
    project = (weights.resolve().parent if run is None else run.path).parent.parent
    folders = dict.fromkeys((Path("evaluations").resolve(), project / "evaluations"))
    paths = [path for folder in folders for path in folder.glob(f"*/{EVALUATION_JSON}") if path.is_file()]
    weights_hash, fingerprint = file_sha256(weights), recorded_fingerprint(weights)
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(VaeganError, KeyError, TypeError, AttributeError, ValueError, OverflowError):
            content = read_json(path)
            is_on_its_data = fingerprint is None or content.get(DATASET_FINGERPRINT_KEY, fingerprint) == fingerprint
            if content.get(WEIGHTS_HASH_KEY) == weights_hash and is_on_its_data:
                return _card_evaluation(content)
    return None


def _card_evaluation(content: Mapping[str, Any]) -> CardEvaluation:
    """Read the content of evaluation.json. Raises an error of Python's own if it is damaged."""
    samples, real = (_finite_metrics(content["columns"][name]) for name in (SAMPLES_COLUMN, REAL_COLUMN))
    specs = [METRIC_SPECS[name] for name in LEADING_METRICS if name in samples]
    labels = {spec.name: _card_label(spec) for spec in specs}
    remarks = [*content["verdict"], content["caution"], *content["warnings"]]
    return CardEvaluation(
        num_images=require_int(content, "num_images"),
        rows=[
            (
                labels[spec.name],
                DIRECTION_TEXTS[spec.direction],
                format_metric(spec, samples),
                format_metric(spec, real),
            )
            for spec in specs
        ],
        values={spec.name: (labels[spec.name], samples[spec.name] * spec.display_scale) for spec in specs},
        remarks=[printable(text, 500) for text in remarks if text],
    )


def _finite_metrics(column: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in column.items() if value is not None and math.isfinite(value)}


def _card_label(spec: MetricSpec) -> str:
    """Return a label that does not depend on the one above it, and that nobody takes for that of Inception features."""
    if spec.name.endswith(f"_{MEAN_OF_SCALES}"):
        return f"{spec.label} of random features"
    if not spec.label.startswith(" "):
        return spec.label
    return f"{METRIC_SPECS[spec.name.rpartition('_')[0]].label} {spec.label.strip()}"


def metric_bar_charts(metrics: Mapping[str, MetricDict]) -> list[str]:
    """Draw distances as multiples of the real images' values, and fractions beside those values.

    Args:
        metrics: metrics by column.

    Returns:
        HTML figures.
    """
    real = metrics[REAL_COLUMN]
    columns = {name: column for name, column in metrics.items() if name != REAL_COLUMN}
    charts = []
    names = [name for name in DISTANCE_CHART_METRICS if all((column.get(name) or 0) > 0 for column in metrics.values())]
    if names:
        ratios = [
            BarSeries(label, [(column[name] or 0.0) / (real[name] or 1.0) for name in names])
            for label, column in columns.items()
        ]
        labels = [DISTANCE_CHART_METRICS[name] for name in names]
        description = "as multiples of real images' distances; 1 is best; logarithmic"
        charts.append(bar_chart("Distances", description, labels, ratios, baseline=1.0, is_log=True))
    names = [
        name for name in FRACTION_CHART_METRICS if all(column.get(name) is not None for column in metrics.values())
    ]
    if names:
        fractions = [
            BarSeries(label, [column[name] or 0.0 for name in names], is_reference=label == REAL_COLUMN)
            for label, column in (*columns.items(), (REAL_COLUMN, real))
        ]
        charts.append(bar_chart("Quality and coverage", "in learned features, beside real images", names, fractions))
    return charts


def default_evaluation_dir(weights: Path, data: Path | None) -> Path:
    """Return where an evaluation is written unless the user names a directory.

    Args:
        weights: weights file.
        data: prepared dataset; None for the one that the weights were trained on.

    Returns:
        "evaluations/gan" for the weights of runs/gan, and "evaluations/gan-on-other" for another dataset data/other.

    Raises:
        VaeganError: if `data` is not a prepared dataset.
    """
    name = weights_name(weights)
    if data is not None:
        dataset = open_dataset(data)
        if recorded_fingerprint(weights) not in (None, dataset.fingerprint):
            name = f"{name}-on-{dataset.path.resolve().name}"
    return Path("evaluations") / name


def check_evaluation_dir(out_dir: Path, force: bool) -> None:
    """Check that an evaluation may be written into a directory.

    Args:
        out_dir: the directory.
        force: allow all but runs and datasets.

    Raises:
        VaeganError: if it holds anything but an evaluation.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise VaeganError(f"--out {out_dir} is a file: name a directory")
    if RunDir(out_dir).exists() or is_dataset(out_dir):
        kind = "run" if RunDir(out_dir).exists() else "prepared dataset"
        raise VaeganError(f"--out {out_dir} is a {kind}: name another directory")
    if out_dir.is_dir() and any(out_dir.iterdir()) and not (out_dir / EVALUATION_JSON).is_file() and not force:
        raise VaeganError(f"{out_dir} exists and holds no evaluation: choose another --out, or add --force")
    check_writable(out_dir / EVALUATION_JSON)
    check_writable(out_dir)


def write_evaluation_files(
    out_dir: Path,
    title: str,
    facts: Mapping[str, Any],
    metrics: Mapping[str, MetricDict],
    caution: str,
    warnings: list[str],
    charts: list[str],
    image: tuple[str, bytes, str],
    emit: EventHandler,
    verdict: Sequence[str] = (),
    introduction: Sequence[str] = (),
    classes: Sequence[ClassResult] = (),
) -> None:
    """Write metrics, image and page into a directory.

    Files of an older evaluation are replaced, all others stay.

    Args:
        out_dir: the directory.
        title: title of the page.
        facts: what was evaluated.
        metrics: metrics by column.
        caution: what to keep in mind, or empty.
        warnings: warnings.
        charts: HTML figures of `vaegan.report.charts`.
        image: a file name, a PNG, and what it shows.
        emit: receives a FileWritten for each file.
        verdict: sentences on the quality, for the JSON file.
        introduction: HTML that comes first on the page, after the caution.
        classes: result of each class of a conditional model.

    Raises:
        VaeganError: if a file cannot be written.
    """
    image_name, png, image_text = image
    leading, others = (metric_table(metrics, is_leading) for is_leading in (True, False))
    sections = [
        *([html_page.warning_box(caution)] if caution else []),
        *introduction,
        *(html_page.warning_box(text) for text in warnings),
        html_page.data_table(leading.header, leading.rows, leading.grades),
        html_page.details(
            f"{len(others.rows)} more metrics", html_page.data_table(others.header, others.rows, others.grades)
        ),
        html_page.paragraph(METRICS_EXPLANATION, is_muted=True),
        *_class_section(classes),
        html_page.chart_grid(charts),
        html_page.heading(image_text),
        html_page.image_tag(png, image_text, is_pixelated=True),
        html_page.heading("What was compared"),
        html_page.fact_table(facts),
    ]

    def write(directory: Path) -> None:
        write_bytes(directory / image_name, png)
        html_page.write_page(directory / EVALUATION_PAGE, title, sections)
        summary = {**facts, "caution": caution, "verdict": list(verdict), "warnings": warnings}
        if classes:
            summary["classes"] = [result.to_json() for result in classes]
        summary["columns"] = to_json(metrics)
        write_json(directory / EVALUATION_JSON, summary)

    note_replaced([out_dir / EVALUATION_JSON], emit)
    if out_dir.is_dir() and any(path.name not in EVALUATION_FILES for path in out_dir.iterdir()):
        for name in EVALUATION_FILES - {image_name}:
            (out_dir / name).unlink(missing_ok=True)
        write(out_dir)
    else:  # it holds nothing else: replace the directory atomically
        with atomic_directory(out_dir) as directory:
            write(directory)
    emit(FileWritten("evaluation", out_dir / EVALUATION_PAGE))


def _class_section(classes: Sequence[ClassResult]) -> list[str]:
    """Return the table of classes below a heading; nothing without classes."""
    if not classes:
        return []
    return [
        html_page.heading("Classes"),
        html_page.data_table(CLASS_HEADER, [result.table_row() for result in classes]),
        html_page.paragraph(CLASSES_EXPLANATION, is_muted=True),
    ]


def write_evaluation(evaluation: Evaluation, out_dir: Path, emit: EventHandler) -> None:
    """Write the evaluation of one checkpoint into a directory.

    Args:
        evaluation: from `evaluate`.
        out_dir: the directory.
        emit: receives a FileWritten for each file.

    Raises:
        VaeganError: if a file cannot be written.
    """
    checkpoint = evaluation.facts["checkpoint"]
    text = "Samples nearest to a training image, each followed by that image"
    grid = enlarge(make_grid(evaluation.neighbors, columns=8), 2)
    write_evaluation_files(
        out_dir,
        f"Evaluation of {evaluation.name}",
        evaluation.facts,
        evaluation.metrics,
        evaluation.caution,
        evaluation.warnings,
        metric_bar_charts(evaluation.metrics),
        (NEIGHBORS_IMAGE, png_bytes(to_pil(grid), f"nearest neighbors of {checkpoint}"), text),
        emit,
        evaluation.verdict,
        [
            html_page.text_list(evaluation.verdict),
            html_page.side_by_side(
                [_examples("Samples", evaluation.samples), _examples("Validation images", evaluation.real)]
            ),
        ],
        evaluation.classes,
    )


def _examples(title: str, images: Tensor) -> str:
    """Return a grid of images below a heading."""
    grid = enlarge(make_grid(images[: EXAMPLE_COLUMNS**2], EXAMPLE_COLUMNS), 2)
    return html_page.heading(title) + html_page.image_tag(png_bytes(to_pil(grid)), title, is_pixelated=True)
