"""Progress as plain lines, for logs and notebooks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from vaegan.events import Event, Summary, TaskProgress, TextTable, TrainingProgress, ValidationMetrics
from vaegan.progress.measurements import MeasurementTable
from vaegan.progress.text import (
    describe_event,
    format_summary,
    format_table,
    format_task_progress,
    format_training_progress,
)

PLAIN_INTERVAL_SECONDS = 10.0


class PlainReporter:
    """Print one line per event, and progress at most every `PLAIN_INTERVAL_SECONDS`."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.file = file  # sys.stderr without one, looked up at each line, because it may be redirected
        self.last_print_time = 0.0
        self.table = MeasurementTable()

    def __call__(self, event: Event) -> None:
        self._print(self._lines(event))

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
                yield from self.table.lines_before(event)
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
        self._print(self.table.flush())

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            print(line, file=self.file or sys.stderr, flush=True)
