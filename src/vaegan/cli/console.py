"""Print events to stderr and results to stdout."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaegan.cli.output import can_print, print_line
from vaegan.events import EventHandler, ignore_event
from vaegan.progress.reporter import terminal_reporter
from vaegan.progress.text import COLUMN_GAP, align_cells, format_table


@contextlib.contextmanager
def event_reporter(quiet: bool) -> Iterator[EventHandler]:
    """Print events to stderr: a live bar on a terminal, plain lines elsewhere.

    Args:
        quiet: print nothing.

    Yields:
        the event handler.
    """
    if quiet:
        yield ignore_event
        return
    with terminal_reporter(prints_results=True) as reporter:
        yield reporter


MIN_TEXT_WIDTH = 20
GRADE_STYLES = {"good": "green", "fair": "yellow", "poor": "red"}


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], grades: Sequence[Sequence[str]] | None = None
) -> None:
    """Print a table to stdout.

    Args:
        header: names of the columns.
        rows: cells.
        grades: for each cell "good", "fair", "poor" or "", which gives its color on a terminal; None for no colors.
    """
    if grades is not None and sys.stdout.isatty():
        _print_colored_table(header, rows, grades)
        return
    for line in format_table(header, rows):
        print_line(line)


def _print_colored_table(header: Sequence[str], rows: Sequence[Sequence[str]], grades: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console, heading, *lines = Console(highlight=False), *align_cells(header, rows)
    console.print(Text(COLUMN_GAP.join(heading).rstrip(), "bold"), soft_wrap=True)
    for cells, row_grades in zip(lines, grades, strict=True):
        parts = [Text(cell, GRADE_STYLES.get(grade, "")) for cell, grade in zip(cells, row_grades, strict=True)]
        console.print(Text(COLUMN_GAP).join(parts), soft_wrap=True)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values to stdout, one per line; on a terminal long values are broken into lines.

    Args:
        facts: value by name.
    """
    name_width = max(map(len, facts)) + len(COLUMN_GAP)
    width = shutil.get_terminal_size().columns - name_width if sys.stdout.isatty() else 0
    for name, value in facts.items():
        # paths stay whole, so that they can be copied
        wrap = textwrap.TextWrapper(max(width, 1), break_long_words=False, break_on_hyphens=False).wrap
        lines = wrap(value) if width > MIN_TEXT_WIDTH else [value]
        for index, line in enumerate(lines or [""]):
            print_line(f"{'' if index else name:<{name_width}}{line}".rstrip())


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout, on one line.

    Args:
        values: values with a JSON form by name.
    """
    text = json.dumps(values, ensure_ascii=False)
    print_line(text if can_print(text) else json.dumps(values))


def print_results(paths: Mapping[str, Path | str], as_json: bool, **extra: Any) -> None:
    """Print results to stdout: one path per line, or one JSON object.

    Args:
        paths: path by name.
        as_json: print JSON.
        **extra: further values of the JSON object.
    """
    if as_json:
        print_json({**{name: str(path) for name, path in paths.items()}, **extra})
    else:
        for path in paths.values():
            print_line(str(path))
