"""Events that long work emits, for a handler to print, draw or log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """A line of information, such as a default that was chosen or the next command to run."""

    text: str


@dataclass(frozen=True)
class WarningMessage:
    """A line that the user should read."""

    text: str


@dataclass(frozen=True)
class TaskProgress:
    """Progress of a task: `done` of `total` items. `rate` is items per second, 0 if not measured."""

    label: str
    done: int
    total: int
    unit: str = "images"
    rate: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class TextTable:
    """A table of numbers: a header, and rows with as many cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Summary:
    """The end of a command.

    `lines` say what was made, how good it is and what to do next, as pairs of a word and a line.
    """

    title: str
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TrainingStarted:
    """Training starts, or resumes, at `step` of `total`. `label` is "vae" or "gan".

    `num_train_images` is the number of different images, 0 if it is unknown.
    """

    label: str
    step: int
    total: int
    batch_size: int
    images_per_second: float | None = None
    num_train_images: int = 0


@dataclass(frozen=True)
class TrainingProgress:
    """Optimizer step `step` of `total` is done. `metrics` are means since the last event with metrics."""

    step: int
    total: int
    images_seen: int
    images_per_second: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Whether this is the last step."""
        return self.step == self.total

    @property
    def seconds_left(self) -> float:
        """Expected seconds to the end of the training."""
        return (self.total - self.step) * self.images_seen / max(self.step, 1) / max(self.images_per_second, 1e-9)


@dataclass(frozen=True)
class ValidationMetrics:
    """Metrics computed between optimizer steps, e.g. on validation images."""

    step: int
    images_seen: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Alarm:
    """A metric indicates a problem. `text` says what is wrong and what to do."""

    step: int
    images_seen: int
    name: str
    text: str


@dataclass(frozen=True)
class Rollback:
    """Training continues from the checkpoint of `step`, with gentler settings. `text` says why.

    When there is no earlier checkpoint, `step` is the current one and only the settings change.
    """

    step: int
    images_seen: int
    num_rollbacks: int
    text: str


@dataclass(frozen=True)
class SkippedStep:
    """An optimizer step was skipped because a gradient was not finite. `num_skipped` counts them all."""

    step: int
    num_skipped: int


@dataclass(frozen=True)
class FileWritten:
    """A file or directory is complete on disk. `kind` is "preview", "checkpoint", "weights" etc."""

    kind: str
    path: Path
    step: int = 0


@dataclass(frozen=True)
class TrainingFinished:
    """Training reached its last step after `seconds`."""

    label: str
    seconds: float
    step: int = 0
    images_seen: int = 0


Event = (
    Note
    | WarningMessage
    | TaskProgress
    | TextTable
    | Summary
    | TrainingStarted
    | TrainingProgress
    | ValidationMetrics
    | Alarm
    | Rollback
    | SkippedStep
    | FileWritten
    | TrainingFinished
)
EventHandler = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing: the event handler for silent calls.

    Args:
        event: any event.
    """
