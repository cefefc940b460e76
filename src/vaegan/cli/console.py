"""Showing events to a person: rich bars on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.events import (
    Alarmed,
    Counted,
    Emit,
    Event,
    Finished,
    Measured,
    Note,
    Progress,
    Retreated,
    Skipped,
    Started,
    Tabled,
    Warned,
    Wrote,
    ignore,
)

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 10.0
QUIETLY_WRITTEN = ("preview", "checkpoint", "best")
KEPT_QUIET = re.compile(r"kid_|kl_axis_|posterior_|.*_per_dim$")
"""Metrics that are for metrics.jsonl and for the end, too many for a line that a person follows."""


def duration(seconds: float) -> str:
    """Say a duration as a person would: 45 seconds, 12 minutes, 3.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def losses(metrics: Mapping[str, float]) -> str:
    """Metrics on one line."""
    shown = {name.replace("_", " "): value for name, value in metrics.items() if not KEPT_QUIET.match(name)}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items())


def speed(event: Counted) -> str:
    """Unit and, where it was measured, speed of countable work."""
    return f"{event.rate:,.0f} {event.unit}/s" if event.rate else event.unit


def counted(event: Counted) -> str:
    """Countable work on one line: how much is done, how fast, and how long the rest takes."""
    parts = [f"{event.label}: {event.done}/{event.total} {event.unit}"]
    if event.rate:
        left = (event.total - event.done) / event.rate
        parts += [speed(event), f"{duration(left)} left"] if event.done < event.total else [speed(event)]
    return ", ".join([*parts, event.detail] if event.detail else parts)


def describe(event: Event) -> str | None:
    """Say an event as one line, or None where it is not worth one."""
    match event:
        case Note(text=text):
            return text
        case Warned(text=text):
            return f"warning: {text}"
        case Alarmed(step=step, text=text):
            return f"warning: at step {step}, {text}"
        case Retreated(text=text):
            return f"warning: {text}"
        case Started(label=label, step=step, total=total, batch_size=batch, rate=rate):
            name = label.upper()
            action = f"Going on with the {name} at step {step}" if step else f"Training the {name}"
            length = f"{total - step} steps, {(total - step) * batch:,} pictures"
            speed = f", about {duration((total - step) * batch / rate)} ({rate:.0f} pictures/s)" if rate else ""
            return f"{action}: {length}{speed}"
        case Measured(metrics=metrics):
            return losses(metrics)
        case Skipped(step=step, skipped=skipped):
            return f"warning: step {step} left out, its gradients are not finite ({skipped} so far)"
        case Wrote(what=what, path=path) if what not in QUIETLY_WRITTEN:
            return f"Wrote {path}"
        case Finished(label=label, seconds=seconds) if seconds:
            return f"Finished the {label.upper()} in {duration(seconds)}"
    return None


class PlainReporter:
    """A line per event; running work is told every few seconds."""

    def __init__(self) -> None:
        """Start the clock."""
        self.told = 0.0

    def __call__(self, event: Event) -> None:
        """Print to stderr."""
        line = describe(event)
        now = time.monotonic()
        if isinstance(event, Tabled):
            line = "\n".join(aligned(event.head, event.rows))
        if isinstance(event, Counted) and (event.done == event.total or now - self.told > PLAIN_SECONDS):
            line, self.told = counted(event), now
        elif isinstance(event, Progress) and event.metrics and (event.ended or now - self.told > PLAIN_SECONDS):
            speed = f"{event.rate:.0f} pictures/s, {duration(event.seconds_left)} left"
            line, self.told = f"step {event.step}/{event.total}  {speed}  {losses(event.metrics)}", now
        if line is not None:
            print(line, file=sys.stderr, flush=True)


class RichReporter:
    """One live bar at a time, with speed, time left and the current losses below it."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", style="dim"),
            console=console,
        )
        self.task: Any = None
        self.label = ""

    def __call__(self, event: Event) -> None:
        """Move the bar, or print a line above it."""
        if isinstance(event, Counted):
            if self.task is None or self.label != event.label:
                self._start(event.label, event.total, 0)
            self._move(event.done, speed(event), event.detail or None)
            if event.done == event.total:
                self.close()
            return
        if isinstance(event, Progress):
            self._move(event.step, f"{event.rate:.0f} pictures/s", losses(event.metrics) if event.metrics else None)
            return
        if isinstance(event, Tabled):
            self._table(event)
        line = describe(event)
        if line is not None:
            style = (
                "yellow"
                if isinstance(event, (Warned, Alarmed, Retreated, Skipped))
                else ("dim" if isinstance(event, Measured) else None)
            )
            self.console.print(line, style=style, markup=False, highlight=False)
        if isinstance(event, Started):
            self._start(event.label.upper(), event.total, event.step)
        if isinstance(event, Finished):
            self.close()

    def _table(self, event: Tabled) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in event.head:
            table.add_column(name, justify="right" if name else "left")
        for row in event.rows:
            table.add_row(*row)
        self.console.print(table, markup=False, highlight=False)

    def _start(self, label: str, total: int, done: int) -> None:
        self.close()
        self.label = label
        self.task = self.bars.add_task(label, total=total, completed=done, speed="", losses="")
        self.bars.start()

    def _move(self, done: int, speed: str, shown: str | None) -> None:
        if self.task is not None:
            shown = self.bars.tasks[0].fields["losses"] if shown is None else shown
            self.bars.update(self.task, completed=done, speed=speed, losses=shown)

    def close(self) -> None:
        """Leave the finished bar on the screen and stop drawing."""
        if self.task is not None:
            self.bars.stop()
            self.bars.remove_task(self.task)
            self.task = None


@contextlib.contextmanager
def reporting(quiet: bool) -> Iterator[Emit]:
    """Yield the listener that suits stderr: rich on a terminal, plain lines elsewhere, silence when asked."""
    if quiet:
        yield ignore
    elif sys.stderr.isatty():
        from rich.console import Console

        reporter = RichReporter(Console(stderr=True))
        try:
            yield reporter
        finally:
            reporter.close()
    else:
        yield PlainReporter()


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for name, *cells in (head, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([f"{name:<{widths[0]}}", *numbers]).rstrip()


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout."""
    for line in aligned(head, rows):
        print(line)


def results(paths: Mapping[str, Path | str], as_json: bool, **more: Any) -> None:
    """Print results to stdout: a path per line, or one JSON object."""
    if as_json:
        print(json.dumps({**{name: str(path) for name, path in paths.items()}, **more}, ensure_ascii=False))
    else:
        for path in paths.values():
            print(path)
