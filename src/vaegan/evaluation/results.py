"""Evaluations as files: numbers, charts, sheets, and one page that holds them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaegan.data.dataset import is_prepared
from vaegan.errors import VaeganError
from vaegan.evaluation import plots
from vaegan.evaluation.evaluate import REAL, Evaluation
from vaegan.evaluation.metric_specs import MEASURES, told
from vaegan.evaluation.reference import Numbers
from vaegan.events import Emit, Note, Wrote
from vaegan.report import html_page
from vaegan.run_dir import Run
from vaegan.utils.files import directory_atomically, write_bytes, write_json
from vaegan.utils.images import enlarge, grid, png_bytes, to_pil

NUMBERS = "evaluation.json"
OURS = frozenset(
    (NUMBERS, "report.html", "evaluation.png", "neighbours.png", "samples.png", "comparison.png", "curves.png")
)
EXPLAINED = (
    "Every number is to be read beside the last column: what as many real pictures get. Fine, middle and coarse are"
    " random convolutional features at three scales, which need no download and favour no model; learned features tell"
    " the pictures of this set apart."
)


def rows(columns: Mapping[str, Numbers]) -> list[tuple[str, ...]]:
    """The table: a measure, the way that is better, and a cell for each column; measures with no number left out."""
    marks = {"lower": "lower", "higher": "higher", "real": "as real"}
    return [
        (measure.label, marks[measure.better], *(told(measure, numbers) for numbers in columns.values()))
        for measure in MEASURES.values()
        if any(numbers.get(measure.name) is not None for numbers in columns.values())
    ]


def plain(columns: Mapping[str, Numbers]) -> dict[str, dict[str, float | None]]:
    """Columns as JSON holds them: an infinite number (no pair found) is null."""
    return {
        name: {key: value if value is None or math.isfinite(value) else None for key, value in numbers.items()}
        for name, numbers in columns.items()
    }


def check_place(place: Path, force: bool) -> None:
    """Raise VaeganError when `place` holds something that no evaluation wrote; `force` allows all but runs and sets."""
    if place.exists() and not place.is_dir():
        raise VaeganError(f"--out {place} is a file: name a folder")
    for what, there in (("run", Run(place).exists()), ("prepared set", is_prepared(place))):
        if there:
            raise VaeganError(f"--out {place} is a {what}: name another folder")
    if place.is_dir() and any(place.iterdir()) and not (place / NUMBERS).is_file() and not force:
        raise VaeganError(f"{place} exists and holds no evaluation: choose another --out, or add --force")


def write_files(
    place: Path,
    title: str,
    facts: Mapping[str, Any],
    columns: Mapping[str, Numbers],
    warnings: list[str],
    pictures: Mapping[str, tuple[bytes, str]],
    charts: Mapping[str, tuple[bytes, str]],
    emit: Emit,
) -> None:
    """Write numbers, pictures and charts (name -> PNG, what it shows), and the page, into the folder `place`.

    An older evaluation's files give way, all at once where nothing else lies there; what else does stays.
    """
    if not charts:
        emit(Note(plots.HINT))
    head = ("measure", "better", *columns)
    sections = [html_page.paragraph(EXPLAINED, soft=True), *(html_page.warning(text) for text in warnings)]
    sections += [html_page.picture(png, text) for png, text in charts.values()]
    sections.append(html_page.table(head, rows(columns)))
    for png, text in pictures.values():
        sections += [html_page.heading(text), html_page.picture(png, text, pixels=True)]
    sections += [html_page.heading("What was compared"), html_page.facts(facts)]
    drawn = {name: png for name, (png, _) in {**pictures, **charts}.items()}

    def write(folder: Path) -> None:
        for name, png in drawn.items():
            write_bytes(folder / name, png)
        html_page.write_page(folder / "report.html", title, sections)
        write_json(folder / NUMBERS, {**facts, "warnings": warnings, "columns": plain(columns)})

    if place.is_dir() and any(path.name not in OURS for path in place.iterdir()):
        for name in OURS - drawn.keys():
            (place / name).unlink(missing_ok=True)
        write(place)
    else:
        with directory_atomically(place) as folder:
            write(folder)
    for name in (*charts, "report.html"):
        emit(Wrote("evaluation", place / name))


def write_evaluation(evaluation: Evaluation, place: Path, emit: Emit) -> None:
    """Write one checkpoint's evaluation into the folder `place`."""
    sheet = enlarge(grid(evaluation.neighbours, columns=8), 2)
    neighbours = png_bytes(to_pil(sheet), f"nearest neighbours of {evaluation.facts['checkpoint']}")
    charts = {}
    if plots.available():
        charts["evaluation.png"] = (plots.bars(evaluation.columns, REAL), "Distances and shares beside real pictures")
    said = "Samples that come nearest to a training picture, each followed by that picture"
    write_files(
        place,
        f"Evaluation of {evaluation.facts['checkpoint']}",
        evaluation.facts,
        evaluation.columns,
        evaluation.warnings,
        {"neighbours.png": (neighbours, said)},
        charts,
        emit,
    )
