"""TensorBoard logs of a training run (extra: tensorboard), next to metrics.jsonl."""

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
    """Yield a handler that also writes events to RUN/tensorboard.

    If it is not enabled, that is `on_event` itself. With several processes, only the main process receives events.

    Args:
        on_event: handler to call as well.
        run_dir: the run.
        is_enabled: value of --tensorboard.

    Yields:
        the handler.

    Raises:
        VaeganError: the extra is not installed. Nothing is written then.
    """
    if not is_enabled:
        yield on_event
        return
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise VaeganError(
            f"--tensorboard needs the extra tensorboard ({error_text(error)}): {TENSORBOARD_INSTALL_HINT}"
        ) from None
    handler = _TensorBoardHandler(run_dir)

    def handle(event: Event) -> None:
        on_event(event)
        handler(event)

    try:
        yield handle
    finally:
        handler.close()


class _TensorBoardHandler:
    """Writes metrics as scalars, previews as images and warnings as text.

    The log is opened when training starts. It then hides what an earlier, killed process logged after this step.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir, self.latest_step = run_dir, 0
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._open(event.step)
        if self.writer is None:
            return
        if isinstance(event, (TrainingProgress, ValidationMetrics)):
            self.latest_step = event.step
            group = "train" if isinstance(event, TrainingProgress) else "val"
            for name, value in event.metrics.items():
                self.writer.add_scalar(f"{group}/{name}", value, event.step)
            if isinstance(event, TrainingProgress) and event.metrics:
                self.writer.add_scalar("train/images_per_second", event.images_per_second, event.step)
        elif isinstance(event, FileWritten) and event.kind == "preview":
            with Image.open(event.path) as image:
                self.writer.add_image("preview", from_pil(image), event.step)
        elif isinstance(event, (WarningMessage, Rollback)):
            self.writer.add_text("warnings", event.text, self.latest_step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = ensure_within(self.run_dir.path / TENSORBOARD_DIR, self.run_dir.path)
        try:
            self.writer = SummaryWriter(str(path), purge_step=step + 1 if step else 0)
        except OSError as error:
            raise VaeganError(f"cannot write {path}: {error_text(error)}") from error
        self.latest_step = step

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
