"""Progress on a terminal: a bar that is drawn again and again below the lines of other events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vaegan.events import (
    Alarm,
    Event,
    FileWritten,
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
)
from vaegan.progress.measurements import MeasurementTable, format_losses
from vaegan.progress.text import describe_event, format_clock, format_speed

if TYPE_CHECKING:  # importing rich takes longer than a short command
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.spinner import Spinner

REFRESHES_PER_SECOND = 5


class LiveReporter:
    """Show a bar with step, speed and time left, and the losses and the newest preview below it.

    Other events are shown above the bar. Where there is no bar, a spinner shows that something is being loaded or
    computed. With `names_files`, a line names each file that is written.
    """

    def __init__(self, console: Console, names_files: bool = True) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        self.console, self.names_files = console, names_files
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
                speed = f"{event.images_per_second:,.0f} images/s"
                self._update_bar(event.step, event.total, speed, event.seconds_left)
            case ValidationMetrics():
                self._print_lines(self.table.add(event))
            case TextTable():
                self._print_table(event)
            case Summary():
                self.close()
                self._print_summary(event)
            case _:
                self._print_lines(self.table.lines_before(event))
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
        if isinstance(event, FileWritten) and not self.names_files:
            return
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
        self._update_bar(event.done, event.total, format_speed(event), seconds_left)
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

    def _update_bar(self, done: int, total: int, speed: str, seconds_left: float | None) -> None:
        if self.bar is None:
            return
        if seconds_left is None:  # not measured by the task itself
            seconds_left = self.bar.tasks[0].time_remaining
        left = "" if seconds_left is None else f"{format_clock(seconds_left)} left"
        self.bar.update(self.bar.task_ids[0], completed=done, total=total, speed=speed, left=left)

    def _stop_bar(self) -> None:
        """Replace the bar by the spinner."""
        self.bar, self.losses, self.preview = None, "", ""
        if self.spinner is not None:
            self.spinner.update(text="Working ...")
        self.live.refresh()

    def close(self) -> None:
        """Print the measurements that wait for others of the same step, and stop drawing."""
        self._print_lines(self.table.flush())
        self.spinner = None
        self._stop_bar()
        self.live.stop()
