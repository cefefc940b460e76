"""Choose how events are shown."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from vaegan.events import Alarm, Event, EventHandler, Rollback, SkippedStep, WarningMessage
from vaegan.progress.live import LiveReporter
from vaegan.progress.plain import PlainReporter
from vaegan.progress.text import describe_event

logger = logging.getLogger("vaegan")


@contextlib.contextmanager
def terminal_reporter(prints_results: bool = False) -> Iterator[EventHandler]:
    """Yield a handler that shows events on stderr: a live bar if it is a terminal, else plain lines.

    Args:
        prints_results: whether the caller prints the paths of what it writes to stdout. Where that is a terminal too,
            the handler does not name them a second time.

    Yields:
        the handler; it falls silent once stderr cannot be written.
    """
    reporter: LiveReporter | PlainReporter = PlainReporter()
    if sys.stderr.isatty():
        from rich.console import Console

        console = Console(stderr=True)
        if not console.is_dumb_terminal:  # TERM=dumb, as in some editors, cannot draw over a line
            reporter = LiveReporter(console, names_files=not (prints_results and sys.stdout.isatty()))
    try:
        yield _until_closed(reporter)
    finally:
        with contextlib.suppress(OSError):
            reporter.close()


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


@contextlib.contextmanager
def default_reporter(on_event: EventHandler | None) -> Iterator[EventHandler]:
    """Yield `on_event`; without one, a handler for calls from Python.

    It shows progress on a terminal and in a notebook. Elsewhere only warnings are logged, by the logger "vaegan".

    Args:
        on_event: the caller's handler, or None.

    Yields:
        the handler.
    """
    if on_event is not None:
        yield on_event
    elif _is_notebook():
        notebook_reporter = PlainReporter(sys.stdout)  # notebooks show stderr like errors
        try:
            yield notebook_reporter
        finally:
            notebook_reporter.close()
    elif sys.stderr.isatty():
        with terminal_reporter() as reporter:
            yield reporter
    else:
        yield log_warnings


def log_warnings(event: Event) -> None:
    """Log warnings, alarms, rollbacks and skipped steps by the logger "vaegan"; ignore other events.

    Args:
        event: any event.
    """
    if isinstance(event, (WarningMessage, Alarm, Rollback, SkippedStep)):
        logger.warning("%s", (describe_event(event) or "").removeprefix("warning: "))


def _is_notebook() -> bool:
    """Return whether this code runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
