"""A training's events for TensorBoard (extra: tensorboard), beside metrics.jsonl."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from vaegan.errors import VaeganError, error_text
from vaegan.events import (
    Event,
    EventHandler,
    FileWritten,
    Rollback,
    TrainingProgress,
    TrainingStarted,
    ValidationMetrics,
    WarningMessage,
)
from vaegan.run_dir import TENSORBOARD_DIR, RunDir
from vaegan.utils.files import ensure_within
from vaegan.utils.images import from_pil

TENSORBOARD_INSTALL_HINT = "pip install 'vaegan[tensorboard]'"


@contextlib.contextmanager
def tensorboard_logger(on_event: EventHandler, run_dir: RunDir, is_enabled: bool) -> Iterator[EventHandler]:
    """Yield `on_event`, or where it is wanted a listener that also writes what TensorBoard shows.

    With several processes only the first one's listener ever hears anything. Raises VaeganError when the extra is
    missing, before the run is touched.
    """
    if not is_enabled:
        yield on_event
        return
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise VaeganError(
            f"--tensorboard needs the extra of that name ({error_text(error)}): {TENSORBOARD_INSTALL_HINT}"
        ) from None
    log = _TensorBoardHandler(run_dir)

    def both(event: Event) -> None:
        on_event(event)
        log(event)

    try:
        yield both
    finally:
        log.close()


class _TensorBoardHandler:
    """Writes to RUN/tensorboard from the step on at which training starts, and hides what was logged after it."""

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir, self.latest_step = run_dir, 0
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        """Log numbers as scalars, previews as images, warnings as text."""
        if isinstance(event, TrainingStarted):
            self._open(event.step)
        if self.writer is None:
            return
        if isinstance(event, (TrainingProgress, ValidationMetrics)):
            self.latest_step = event.step
            group = "training" if isinstance(event, TrainingProgress) else "measured"
            for name, value in event.metrics.items():
                self.writer.add_scalar(f"{group}/{name}", value, event.step)
            if isinstance(event, TrainingProgress) and event.metrics:
                self.writer.add_scalar("training/images_per_second", event.images_per_second, event.step)
        elif isinstance(event, FileWritten) and event.kind == "preview":
            with Image.open(event.path) as picture:
                self.writer.add_image("preview", from_pil(picture), event.step)
        elif isinstance(event, (WarningMessage, Rollback)):
            self.writer.add_text("warnings", event.text, self.latest_step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = ensure_within(self.run_dir.path / TENSORBOARD_DIR, self.run_dir.path)
        try:
            self.writer = SummaryWriter(str(place), purge_step=step + 1 if step else 0)
        except OSError as error:
            raise VaeganError(f"cannot write {place}: {error_text(error)}") from error
        self.latest_step = step

    def close(self) -> None:
        """Write out what is left."""
        if self.writer is not None:
            self.writer.close()
