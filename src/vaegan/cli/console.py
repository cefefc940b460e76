"""Print events to stderr (progress bars on a terminal, else plain lines) and results to stdout."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.cli.output import can_print, print_line
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
MIN_PASSES_SHOWN = 100
"""So many passes over a dataset are worth a word: it is small for this length."""
UNREPORTED_FILE_KINDS = ("preview", "checkpoint", "best")
HIDDEN_METRICS = re.compile(r"kid_|kl_per_dim_|agg_posterior_|.*_per_dim$")
"""Metrics that are only logged to metrics.jsonl: with them, a progress line would be too long."""


def format_duration(seconds: float) -> str:
    """Return a duration in its best unit.

    Args:
        seconds: the duration.

    Returns:
        such as "45 seconds", "12 minutes", "3.5 hours" or "5 days".
    """
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Return metrics on one line, without the hidden ones.

    Args:
        metrics: value by name.

    Returns:
        the line.
    """
    visible = {name.replace("_", " "): value for name, value in metrics.items() if not HIDDEN_METRICS.match(name)}
    return "  ".join(f"{name} {value:.4g}" for name, value in visible.items())


def format_speed(event: TaskProgress) -> str:
    """Return the speed of a task, or only its unit when the speed was not measured.

    Args:
        event: the event.

    Returns:
        such as "120 images/s".
    """
    return f"{event.rate:,.0f} {event.unit}/s" if event.rate else event.unit


def format_task_progress(event: TaskProgress) -> str:
    """Return the progress of a task on one line, with speed and time left when they are known.

    Args:
        event: the event.

    Returns:
        the line.
    """
    parts = [f"{event.label}: {event.done}/{event.total} {event.unit}"]
    if event.rate:
        parts.append(format_speed(event))
        if event.done < event.total:
            parts.append(f"{format_duration((event.total - event.done) / event.rate)} left")
    return ", ".join([*parts, event.detail] if event.detail else parts)


def format_training_progress(event: TrainingProgress) -> str:
    """Return the progress of a training on one line: step, speed, time left and metrics.

    Args:
        event: the event.

    Returns:
        the line.
    """
    speed = f"{event.images_per_second:.0f} images/s, {format_duration(event.seconds_left)} left"
    return f"step {event.step}/{event.total}  {speed}  {format_metrics(event.metrics)}"


def _format_training_start(event: TrainingStarted) -> str:
    name, num_images = event.label.upper(), (event.total - event.step) * event.batch_size
    action = f"Resuming the {name} at step {event.step}" if event.step else f"Training the {name}"
    line = f"{action}: {event.total - event.step} steps, {num_images:,} images"
    num_passes = num_images // event.num_train_images if event.num_train_images else 0
    if num_passes >= MIN_PASSES_SHOWN:
        line += f" (each of {event.num_train_images:,} about {num_passes:,} times)"
    if not event.images_per_second:
        return line
    duration = format_duration(num_images / event.images_per_second)
    return f"{line}, about {duration} ({event.images_per_second:.0f} images/s)"


def describe_event(event: Event) -> str | None:
    """Return an event as one line.

    Args:
        event: any event.

    Returns:
        the line; None for events that are not printed as a line of their own.
    """
    match event:
        case Note(text=text):
            return text
        case WarningMessage(text=text) | Rollback(text=text):
            return f"warning: {text}"
        case Alarm(step=step, text=text):
            return f"warning: at step {step}, {text}"
        case TrainingStarted():
            return _format_training_start(event)
        case ValidationMetrics(metrics=metrics):
            return format_metrics(metrics)
        case SkippedStep(step=step, num_skipped=num_skipped):
            return f"warning: step {step} skipped, its gradients are not finite ({num_skipped} so far)"
        case FileWritten(kind=kind, path=path) if kind not in UNREPORTED_FILE_KINDS:
            return f"Wrote {path}"
        case TrainingFinished(label=label, seconds=seconds) if seconds:
            return f"Finished the {label.upper()} in {format_duration(seconds)}"
    return None


class PlainReporter:
    """Print one line per event, and progress at most every `PLAIN_INTERVAL_SECONDS`."""

    def __init__(self) -> None:
        self.last_print_time = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, (TaskProgress, TrainingProgress)):
            line = self._progress_line(event)
        elif isinstance(event, TextTable):
            line = "\n".join(format_table(event.header, event.rows))
        else:
            line = describe_event(event)
        if line is not None:
            print(line, file=sys.stderr, flush=True)

    def _progress_line(self, event: TaskProgress | TrainingProgress) -> str | None:
        """Return the line to print, or None when the last one is too recent."""
        if isinstance(event, TaskProgress):
            line, is_last = format_task_progress(event), event.done == event.total
        elif event.metrics:
            line, is_last = format_training_progress(event), event.is_last
        else:
            return None
        now = time.monotonic()
        if not is_last and now - self.last_print_time <= PLAIN_INTERVAL_SECONDS:
            return None
        self.last_print_time = now
        return line


class RichReporter:
    """Show a progress bar with speed, time left and metrics, and print the other events above it."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}", style="dim"),
            console=console,
        )
        self.task: Any = None
        self.label = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskProgress):
            if self.task is None or self.label != event.label:
                self._start_bar(event.label, event.total, 0)
            self._update_bar(event.done, format_speed(event), event.detail)
            if event.done == event.total:
                self.close()
        elif isinstance(event, TrainingProgress):
            self._update_bar(event.step, f"{event.images_per_second:.0f} images/s", format_metrics(event.metrics))
        elif isinstance(event, TextTable):
            self._print_table(event)
        else:
            self._print_line(event)
            if isinstance(event, TrainingStarted):
                self._start_bar(event.label.upper(), event.total, event.step)
            if isinstance(event, TrainingFinished):
                self.close()

    def _print_line(self, event: Event) -> None:
        style = None
        if isinstance(event, (WarningMessage, Alarm, Rollback, SkippedStep)):
            style = "yellow"
        elif isinstance(event, ValidationMetrics):
            style = "dim"
        if (line := describe_event(event)) is not None:
            self.console.print(line, style=style, markup=False, highlight=False)

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
        self.task = self.progress.add_task(label, total=total, completed=done, speed="", metrics="")
        self.progress.start()

    def _update_bar(self, done: int, speed: str, metrics_text: str) -> None:
        """Move the bar. An empty `metrics_text` leaves the last one in place."""
        if self.task is not None:
            metrics_text = metrics_text or self.progress.tasks[0].fields["metrics"]
            self.progress.update(self.task, completed=done, speed=speed, metrics=metrics_text)

    def close(self) -> None:
        """Stop drawing, and leave the finished bar on the screen."""
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None


@contextlib.contextmanager
def event_reporter(quiet: bool) -> Iterator[EventHandler]:
    """Print events to stderr: progress bars on a terminal, plain lines elsewhere.

    Args:
        quiet: print nothing.

    Yields:
        the event handler.
    """
    if quiet:
        yield ignore_event
    elif sys.stderr.isatty():
        from rich.console import Console

        reporter = RichReporter(Console(stderr=True))
        try:
            yield _until_closed(reporter)
        finally:
            with contextlib.suppress(OSError):
                reporter.close()
    else:
        yield _until_closed(PlainReporter())


def _until_closed(report: EventHandler) -> EventHandler:
    """Return `report`, which falls silent once stderr cannot be written: a closed pipe must not end a training."""
    is_open = True

    def report_if_open(event: Event) -> None:
        nonlocal is_open
        if is_open:
            try:
                report(event)
            except OSError:
                is_open = False

    return report_if_open


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Format a table: the first column left-aligned, the others right-aligned.

    Args:
        header: names of the columns.
        rows: cells.

    Yields:
        the lines.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for name, *cells in (header, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([f"{name:<{widths[0]}}", *numbers]).rstrip()


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
