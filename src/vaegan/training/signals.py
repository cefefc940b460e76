"""SIGINT, SIGTERM etc. request a graceful stop after the current step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vaegan.errors import Interrupted

# Windows has neither SIGHUP nor SIGUSR1 (sent by job schedulers before they take a machine away) but SIGBREAK.
STOP_SIGNAL_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")
DEBOUNCE_SECONDS = 3.0


def find_stop_signals() -> list[signal.Signals]:
    """Return this system's signals that request a stop, without the ignored ones (nohup ignores SIGHUP).

    Returns:
        the signals.
    """
    signals = [getattr(signal, name) for name in STOP_SIGNAL_NAMES if hasattr(signal, name)]
    return [signum for signum in signals if signal.getsignal(signum) is not signal.SIG_IGN]


class StopRequest:
    """Whether a stop was requested.

    Args:
        debounce: treat a second signal within a few seconds as the same request. torchrun forwards a Ctrl-C to
            processes that have already received it from the terminal.
    """

    def __init__(self, debounce: bool = False) -> None:
        self.requested = False
        self._interrupts_from = 0.0
        self._debounce_seconds = DEBOUNCE_SECONDS if debounce else 0.0

    def request(self, signum: int = 0, frame: object = None) -> None:
        """Request a stop (a signal handler).

        Args:
            signum: number of the signal.
            frame: not used.

        Raises:
            Interrupted: the second time.
        """
        if self.requested and time.monotonic() >= self._interrupts_from:
            raise Interrupted("interrupted at once: the last checkpoint is valid, the steps since then are lost")
        if not self.requested:
            self.requested, self._interrupts_from = True, time.monotonic() + self._debounce_seconds

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Install `request` as the handler of the stop signals. Does nothing outside the main thread.

        Yields:
            nothing, while the handler is installed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous_handlers = {signum: signal.signal(signum, self.request) for signum in find_stop_signals()}
        try:
            yield
        finally:
            for signum, handler in previous_handlers.items():
                signal.signal(signum, handler)
