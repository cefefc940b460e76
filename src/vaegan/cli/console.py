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
    Alarm,
    Event,
    EventHandler,
    FileWritten,
    Note,
    Rollback,
    SkippedStep,
    TaskProgress,
    TextTable,
    TrainingFinished,
    TrainingProgress,
    TrainingStarted,
    ValidationMetrics,
    WarningMessage,
    ignore_event,
)

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_INTERVAL_SECONDS = 10.0
UNREPORTED_FILE_KINDS = ("preview", "checkpoint", "best")
HIDDEN_METRICS = re.compile(r"kid_|kl_axis_|posterior_|.*_per_dim$")
"""Metrics that are for metrics.jsonl and for the end, too many for a line that a person follows."""


def format_duration(seconds: float) -> str:
    """Say a duration as a person would: 45 seconds, 12 minutes, 3.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics on one line."""
    shown = {name.replace("_", " "): value for name, value in metrics.items() if not HIDDEN_METRICS.match(name)}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items())


def format_speed(event: TaskProgress) -> str:
    """Unit and, where it was measured, speed of countable work."""
    return f"{event.rate:,.0f} {event.unit}/s" if event.rate else event.unit


def format_task_progress(event: TaskProgress) -> str:
    """Countable work on one line: how much is done, how fast, and how long the rest takes."""
    parts = [f"{event.label}: {event.done}/{event.total} {event.unit}"]
    if event.rate:
        left = (event.total - event.done) / event.rate
        parts += (
            [format_speed(event), f"{format_duration(left)} left"]
            if event.done < event.total
            else [format_speed(event)]
        )
    return ", ".join([*parts, event.detail] if event.detail else parts)


def describe_event(event: Event) -> str | None:
    """Say an event as one line, or None where it is not worth one."""
    match event:
        case Note(text=text):
            return text
        case WarningMessage(text=text):
            return f"warning: {text}"
        case Alarm(step=step, text=text):
            return f"warning: at step {step}, {text}"
        case Rollback(text=text):
            return f"warning: {text}"
        case TrainingStarted(label=label, step=step, total=total, batch_size=batch, images_per_second=rate):
            name = label.upper()
            action = f"Going on with the {name} at step {step}" if step else f"Training the {name}"
            length = f"{total - step} steps, {(total - step) * batch:,} pictures"
            speed = f", about {format_duration((total - step) * batch / rate)} ({rate:.0f} pictures/s)" if rate else ""
            return f"{action}: {length}{speed}"
        case ValidationMetrics(metrics=metrics):
            return format_metrics(metrics)
        case SkippedStep(step=step, num_skipped=skipped):
            return f"warning: step {step} left out, its gradients are not finite ({skipped} so far)"
        case FileWritten(kind=what, path=path) if what not in UNREPORTED_FILE_KINDS:
            return f"Wrote {path}"
        case TrainingFinished(label=label, seconds=seconds) if seconds:
            return f"Finished the {label.upper()} in {format_duration(seconds)}"
    return None


class PlainReporter:
    """A line per event; running work is told every few seconds."""

    def __init__(self) -> None:
        """Start the clock."""
        self.last_print_time = 0.0

    def __call__(self, event: Event) -> None:
        """Print to stderr."""
        line = describe_event(event)
        now = time.monotonic()
        if isinstance(event, TextTable):
            line = "\n".join(format_table(event.header, event.rows))
        if isinstance(event, TaskProgress) and (
            event.done == event.total or now - self.last_print_time > PLAIN_INTERVAL_SECONDS
        ):
            line, self.last_print_time = format_task_progress(event), now
        elif (
            isinstance(event, TrainingProgress)
            and event.metrics
            and (event.is_last or now - self.last_print_time > PLAIN_INTERVAL_SECONDS)
        ):
            speed = f"{event.images_per_second:.0f} pictures/s, {format_duration(event.seconds_left)} left"
            line, self.last_print_time = (
                f"step {event.step}/{event.total}  {speed}  {format_metrics(event.metrics)}",
                now,
            )
        if line is not None:
            print(line, file=sys.stderr, flush=True)


class RichReporter:
    """One live bar at a time, with speed, time left and the current losses below it."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.console = console
        self.progress = Bars(
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
        if isinstance(event, TaskProgress):
            if self.task is None or self.label != event.label:
                self._start_bar(event.label, event.total, 0)
            self._update_bar(event.done, format_speed(event), event.detail or None)
            if event.done == event.total:
                self.close()
            return
        if isinstance(event, TrainingProgress):
            self._update_bar(
                event.step,
                f"{event.images_per_second:.0f} pictures/s",
                format_metrics(event.metrics) if event.metrics else None,
            )
            return
        if isinstance(event, TextTable):
            self._print_table(event)
        line = describe_event(event)
        if line is not None:
            style = (
                "yellow"
                if isinstance(event, (WarningMessage, Alarm, Rollback, SkippedStep))
                else ("dim" if isinstance(event, ValidationMetrics) else None)
            )
            self.console.print(line, style=style, markup=False, highlight=False)
        if isinstance(event, TrainingStarted):
            self._start_bar(event.label.upper(), event.total, event.step)
        if isinstance(event, TrainingFinished):
            self.close()

    def _print_table(self, event: TextTable) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in event.header:
            table.add_column(name, justify="right" if name else "left")
        for row in event.rows:
            table.add_row(*row)
        self.console.print(table, markup=False, highlight=False)

    def _start_bar(self, label: str, total: int, done: int) -> None:
        self.close()
        self.label = label
        self.task = self.progress.add_task(label, total=total, completed=done, speed="", losses="")
        self.progress.start()

    def _update_bar(self, done: int, speed: str, metrics_text: str | None) -> None:
        if self.task is not None:
            metrics_text = self.progress.tasks[0].fields["losses"] if metrics_text is None else metrics_text
            self.progress.update(self.task, completed=done, speed=speed, losses=metrics_text)

    def close(self) -> None:
        """Leave the finished bar on the screen and stop drawing."""
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None


@contextlib.contextmanager
def event_reporter(quiet: bool) -> Iterator[EventHandler]:
    """Yield the listener that suits stderr: rich on a terminal, plain lines elsewhere, silence when asked."""
    if quiet:
        yield ignore_event
    elif sys.stderr.isatty():
        from rich.console import Console

        reporter = RichReporter(Console(stderr=True))
        try:
            yield reporter
        finally:
            reporter.close()
    else:
        yield PlainReporter()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table: names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for name, *cells in (header, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([f"{name:<{widths[0]}}", *numbers]).rstrip()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout."""
    for line in format_table(header, rows):
        print(line)


def print_results(paths: Mapping[str, Path | str], as_json: bool, **extra: Any) -> None:
    """Print results to stdout: a path per line, or one JSON object."""
    if as_json:
        print(json.dumps({**{name: str(path) for name, path in paths.items()}, **extra}, ensure_ascii=False))
    else:
        for path in paths.values():
            print(path)
