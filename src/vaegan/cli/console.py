"""Print events to stderr and results to stdout."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vaegan.events import EventHandler, ignore_event
from vaegan.progress.reporter import terminal_reporter
from vaegan.progress.text import format_table


@contextlib.contextmanager
def event_reporter(quiet: bool) -> Iterator[EventHandler]:
    """Yield the event handler for stderr: a live bar on a terminal, plain lines elsewhere, nothing if `quiet`."""
    if quiet:
        yield ignore_event
        return
    with terminal_reporter() as reporter:
        yield reporter


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout."""
    for line in format_table(header, rows):
        print(line)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout, on one line."""
    print(json.dumps(values, ensure_ascii=False))


def print_results(paths: Mapping[str, Path | str], as_json: bool, **extra: Any) -> None:
    """Print results to stdout: one path per line, or one JSON object with `extra`."""
    if as_json:
        print_json({**{name: str(path) for name, path in paths.items()}, **extra})
    else:
        for path in paths.values():
            print(path)
