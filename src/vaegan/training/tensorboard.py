"""A training's events for TensorBoard (extra: tensorboard), beside metrics.jsonl."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from vaegan.errors import VaeganError, reason
from vaegan.events import Emit, Event, Measured, Progress, Retreated, Started, Warned, Wrote
from vaegan.run_dir import TENSORBOARD, Run
from vaegan.utils.files import inside
from vaegan.utils.images import from_pil

HINT = "pip install 'vaegan[tensorboard]'"


@contextlib.contextmanager
def logging_too(on_event: Emit, run: Run, wanted: bool) -> Iterator[Emit]:
    """Yield `on_event`, or where it is wanted a listener that also writes what TensorBoard shows.

    With several processes only the first one's listener ever hears anything. Raises VaeganError when the extra is
    missing, before the run is touched.
    """
    if not wanted:
        yield on_event
        return
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise VaeganError(f"--tensorboard needs the extra of that name ({reason(error)}): {HINT}") from None
    log = _Log(run)

    def both(event: Event) -> None:
        on_event(event)
        log(event)

    try:
        yield both
    finally:
        log.close()


class _Log:
    """Writes to RUN/tensorboard from the step on at which training starts, and hides what was logged after it."""

    def __init__(self, run: Run) -> None:
        self.run, self.step = run, 0
        self.writer: Any = None

    def __call__(self, event: Event) -> None:
        """Log numbers as scalars, previews as images, warnings as text."""
        if isinstance(event, Started):
            self._open(event.step)
        if self.writer is None:
            return
        if isinstance(event, (Progress, Measured)):
            self.step = event.step
            group = "training" if isinstance(event, Progress) else "measured"
            for name, value in event.metrics.items():
                self.writer.add_scalar(f"{group}/{name}", value, event.step)
            if isinstance(event, Progress) and event.metrics:
                self.writer.add_scalar("training/images_per_second", event.rate, event.step)
        elif isinstance(event, Wrote) and event.what == "preview":
            with Image.open(event.path) as picture:
                self.writer.add_image("preview", from_pil(picture), event.step)
        elif isinstance(event, (Warned, Retreated)):
            self.writer.add_text("warnings", event.text, self.step)

    def _open(self, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = inside(self.run.path / TENSORBOARD, self.run.path)
        try:
            self.writer = SummaryWriter(str(place), purge_step=step + 1 if step else 0)
        except OSError as error:
            raise VaeganError(f"cannot write {place}: {reason(error)}") from error
        self.step = step

    def close(self) -> None:
        """Write out what is left."""
        if self.writer is not None:
            self.writer.close()
