"""Print events to stderr and results to stdout."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaegan.cli.output import can_print, print_line
from vaegan.events import EventHandler, ignore_event
from vaegan.progress.reporter import terminal_reporter
from vaegan.progress.text import format_table


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
    with terminal_reporter() as reporter:
        yield reporter


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout.

    Args:
        header: names of the columns.
        rows: cells.
    """
    for line in format_table(header, rows):
        print_line(line)


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
