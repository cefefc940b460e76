"""Print events to stderr (progress bars on a terminal, else plain lines) and results to stdout."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan.cli.measurements import MeasurementTable, format_losses
from vaegan.events import (
    Alarm,
    Event,
    EventHandler,
    FileWritten,
    Note,
    Rollback,
    SkippedStep,
    Summary,
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
    from rich.console import Console, RenderableType
    from rich.progress import Progress

PLAIN_INTERVAL_SECONDS = 10.0
UNREPORTED_FILE_KINDS = ("preview", "checkpoint", "best")
REFRESHES_PER_SECOND = 5


def format_duration(seconds: float) -> str:
    """Return a duration in its best unit: 45 seconds, 12 minutes, 3.5 hours, 5 days."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def format_clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def format_speed(event: TaskProgress) -> str:
    """Return the speed of a task, or only its unit when the speed was not measured."""
    return f"{event.rate:,.0f} {event.unit}/s" if event.rate else event.unit


def format_task_progress(event: TaskProgress) -> str:
    """Return the progress of a task on one line, with speed and time left when they are known."""
    parts = [f"{event.label}: {event.done:,}/{event.total:,} {event.unit}"]
    if event.rate:
        parts.append(format_speed(event))
        if event.done < event.total:
            parts.append(f"{format_duration((event.total - event.done) / event.rate)} left")
    return ", ".join([*parts, event.detail] if event.detail else parts)


def format_training_progress(event: TrainingProgress) -> str:
    """Return the progress of a training on one line: step, speed, time left and losses."""
    speed = f"{event.images_per_second:,.0f} images/s, {format_duration(event.seconds_left)} left"
    return f"step {event.step:,}/{event.total:,}, {speed}: {format_losses(event.metrics)}"


def _format_training_start(event: TrainingStarted) -> str:
    name, num_images = event.label.upper(), (event.total - event.step) * event.batch_size
    action = f"Resuming the {name} at step {event.step}" if event.step else f"Training the {name}"
    line = f"{action}: {event.total - event.step:,} steps, {num_images:,} images"
    if not event.images_per_second:
        return line
    duration = format_duration(num_images / event.images_per_second)
    return f"{line}, about {duration} ({event.images_per_second:.0f} images/s)"


def describe_event(event: Event) -> str | None:
    """Return an event as one line, or None for events that are not printed as a line of their own."""
    match event:
        case Note(text=text):
            return text
        case WarningMessage(text=text) | Rollback(text=text):
            return f"warning: {text}"
        case Alarm(step=step, text=text):
            return f"warning: at step {step}, {text}"
        case TrainingStarted():
            return _format_training_start(event)
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
        self.table = MeasurementTable()

    def __call__(self, event: Event) -> None:
        for line in self._lines(event):
            print(line, file=sys.stderr, flush=True)

    def _lines(self, event: Event) -> Iterator[str]:
        match event:
            case TrainingProgress():
                yield from self.table.flush_before(event)
                yield from self._progress_lines(format_training_progress(event), event.is_last, bool(event.metrics))
            case TaskProgress():
                yield from self._progress_lines(format_task_progress(event), event.done == event.total)
            case ValidationMetrics():
                yield from self.table.add(event)
            case TextTable():
                yield from format_table(event.header, event.rows)
            case Summary():
                yield from format_summary(event)
            case _:
                yield from start_or_finish_table(self.table, event)
                if (line := describe_event(event)) is not None:
                    yield line

    def _progress_lines(self, line: str, is_last: bool, is_complete: bool = True) -> Iterator[str]:
        """Yield the line unless it is incomplete or the last one is too recent."""
        now = time.monotonic()
        if is_complete and (is_last or now - self.last_print_time > PLAIN_INTERVAL_SECONDS):
            self.last_print_time = now
            yield line

    def close(self) -> None:
        """Print the measurements that wait for others of the same step."""
        for line in self.table.flush():
            print(line, file=sys.stderr, flush=True)


def start_or_finish_table(table: MeasurementTable, event: Event) -> list[str]:
    """Start the table of a training that starts; return the last lines of one that ends with notes."""
    if isinstance(event, TrainingStarted):
        table.start(event)
    return table.flush() if isinstance(event, (Note, TrainingFinished)) else []


class RichReporter:
    """Show a bar with step, speed and time left, the losses and the newest preview below it, other events above it.

    Until the first bar, a spinner shows that something is being loaded or measured.
    """

    def __init__(self, console: Console) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self.console = console
        self.table = MeasurementTable()
        self.bar: Progress | None = None
        self.losses, self.preview = "", ""
        self.spinner: Spinner | None = Spinner("dots", "Loading ...", style="dim")
        # stdout is for results and may be a file: rich would print it on the terminal
        self.live = Live(
            get_renderable=self._render,
            console=console,
            transient=True,
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
        )
        self.live.start()

    def __call__(self, event: Event) -> None:
        match event:
            case TaskProgress():
                self._show_task(event)
            case TrainingProgress():
                self._print_lines(self.table.flush_before(event))
                self.losses = format_losses(event.metrics) or self.losses
                self._update_bar(event.step, f"{event.images_per_second:,.0f} images/s", event.seconds_left)
            case ValidationMetrics():
                self._print_lines(self.table.add(event))
            case TextTable():
                self._print_table(event)
            case Summary():
                self.close()
                self._print_summary(event)
            case _:
                self._print_lines(start_or_finish_table(self.table, event))
                self._print_event(event)
                if isinstance(event, FileWritten) and event.kind == "preview":
                    self.preview = str(event.path)
                if isinstance(event, TrainingStarted):
                    self._start_bar(event.label.upper(), event.total, event.step)
                if isinstance(event, TrainingFinished):
                    self._stop_bar()

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        if self.bar is None:
            return self.spinner or Group()
        lines = [line for line in (self.losses, self.preview and f"newest preview: {self.preview}") if line]
        return Group(self.bar, *(Text(line, "dim", no_wrap=True, overflow="ellipsis") for line in lines))

    def _print_event(self, event: Event) -> None:
        style = "yellow" if isinstance(event, (WarningMessage, Alarm, Rollback, SkippedStep)) else ""
        if (line := describe_event(event)) is not None:
            self._print_lines([line], style)

    def _print_lines(self, lines: Sequence[str], style: str = "") -> None:
        from rich.text import Text

        for line in lines:
            self.console.print(Text(line, style))

    def _print_table(self, event: TextTable) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in event.header:
            table.add_column(name, justify="right" if name else "left")
        for row in event.rows:
            table.add_row(*row)
        self.console.print(table, markup=False, highlight=False)

    def _print_summary(self, event: Summary) -> None:
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        for word, line in event.lines:
            table.add_row(Text(word, "dim"), Text(line, "bold" if line.startswith("vaegan ") else ""))
        self.console.print(Panel(table, title=event.title, title_align="left", border_style="green", expand=False))

    def _show_task(self, event: TaskProgress) -> None:
        if self.bar is None or self.bar.tasks[0].description != event.label:
            self._start_bar(event.label, event.total, 0)
        self.losses = event.detail
        seconds_left = (event.total - event.done) / event.rate if event.rate else None
        self._update_bar(event.done, format_speed(event), seconds_left)
        if event.done == event.total:
            self._stop_bar()

    def _start_bar(self, label: str, total: int, done: int) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[speed]}", style="green"),
            TextColumn("{task.fields[left]}", style="cyan"),
            console=self.console,
        )
        self.bar.add_task(label, total=total, completed=done, speed="", left="")
        self.losses = ""
        self.live.refresh()

    def _update_bar(self, done: int, speed: str, seconds_left: float | None) -> None:
        if self.bar is None:
            return
        if seconds_left is None:  # not measured by the task itself
            seconds_left = self.bar.tasks[0].time_remaining
        left = "" if seconds_left is None else f"{format_clock(seconds_left)} left"
        self.bar.update(self.bar.task_ids[0], completed=done, speed=speed, left=left)

    def _stop_bar(self) -> None:
        """Remove the bar from the screen, and the spinner for good."""
        self.bar, self.spinner, self.losses, self.preview = None, None, "", ""
        self.live.refresh()

    def close(self) -> None:
        """Print the measurements that wait for others of the same step, and stop drawing."""
        self._print_lines(self.table.flush())
        self._stop_bar()
        self.live.stop()


@contextlib.contextmanager
def event_reporter(quiet: bool) -> Iterator[EventHandler]:
    """Yield the event handler for stderr: progress bars on a terminal, plain lines elsewhere, nothing if `quiet`."""
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
        plain_reporter = PlainReporter()
        try:
            yield plain_reporter
        finally:
            plain_reporter.close()


def format_summary(event: Summary) -> Iterator[str]:
    """Yield the lines of a summary: its title, then one line per word."""
    yield event.title
    width = max((len(word) for word, _ in event.lines), default=0)
    for word, line in event.lines:
        yield f"  {word:<{width}}  {line}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for name, *cells in (header, *rows):
        numbers = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([f"{name:<{widths[0]}}", *numbers]).rstrip()


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
