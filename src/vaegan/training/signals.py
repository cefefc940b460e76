"""Signals become a wish to stop, which the loop grants after the step at hand."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vaegan.errors import Interrupted

# Windows has neither SIGHUP nor SIGUSR1 (which schedulers send before they take a machine away) but SIGBREAK
STOP_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
DEBOUNCE_SECONDS = 3.0


def find_stop_signals() -> list[signal.Signals]:
    """Signals of this system that ask to stop, without those that the user had ignored (nohup ignores SIGHUP)."""
    found = [getattr(signal, name) for name in STOP_SIGNAL_NAMES if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


class StopRequest:
    """A wish to stop.

    patient: a second signal within a few seconds is the same wish. torchrun passes a Ctrl-C on to processes that the
    terminal has already told.
    """

    def __init__(self, debounce: bool = False) -> None:
        """Nothing is wished yet."""
        self.requested = False
        self._interrupts_from = 0.0
        self._debounce_seconds = DEBOUNCE_SECONDS if debounce else 0.0

    def request(self, signum: int = 0, frame: object = None) -> None:
        """Ask for a stop, as a signal's handler does. Raises Interrupted the second time."""
        if self.requested and time.monotonic() >= self._interrupts_from:
            raise Interrupted("interrupted at once: the last checkpoint is whole, the steps since are lost")
        if not self.requested:
            self.requested, self._interrupts_from = True, time.monotonic() + self._debounce_seconds

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Let the stop signals wish; a second one interrupts at once. Only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.request) for number in find_stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
