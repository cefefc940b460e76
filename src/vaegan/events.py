"""What long work tells whoever listens: the work emits events, reporters print, draw or write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Note:
    """Something worth saying once: a default that was chosen, a transfer report, a hint."""

    text: str


@dataclass(frozen=True)
class WarningMessage:
    """Something the user should look at, in words."""

    text: str


@dataclass(frozen=True)
class TaskProgress:
    """`done` of `total` items of countable work are finished, e.g. pictures prepared.

    rate: items per second where it was measured, else 0; detail: what else to show, e.g. how many were kept.
    """

    label: str
    done: int
    total: int
    unit: str = "pictures"
    rate: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class TextTable:
    """Numbers that are read beside each other: a head, and rows of as many cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class TrainingStarted:
    """Training begins (or goes on) at `step` of `total`; `rate` is the measured pictures per second."""

    label: str
    step: int
    total: int
    batch_size: int
    images_per_second: float | None = None


@dataclass(frozen=True)
class TrainingProgress:
    """`step` of `total` is done; `metrics` are means since the last such event."""

    step: int
    total: int
    images_seen: int
    images_per_second: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_last(self) -> bool:
        """Say whether this is the last step."""
        return self.step == self.total

    @property
    def seconds_left(self) -> float:
        """What the rest takes at this rate."""
        return (self.total - self.step) * self.images_seen / max(self.step, 1) / max(self.images_per_second, 1e-9)


@dataclass(frozen=True)
class ValidationMetrics:
    """Numbers that were worked out beside the steps, e.g. on held-out pictures."""

    step: int
    images_seen: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Alarm:
    """What was measured warns of something: which alarm it is, and in words what is wrong and what to do."""

    step: int
    images_seen: int
    name: str
    text: str


@dataclass(frozen=True)
class Rollback:
    """The run goes on from `step`, back from a later one where there is an earlier checkpoint, with gentler settings.

    times: how often so far; text: why, and what is gentler now.
    """

    step: int
    images_seen: int
    num_rollbacks: int
    text: str


@dataclass(frozen=True)
class SkippedStep:
    """The step that would have been number `step` was left out: not all its numbers were finite; `skipped` so far."""

    step: int
    num_skipped: int


@dataclass(frozen=True)
class FileWritten:
    """A file or directory is whole on the disk; `what` is "preview", "checkpoint", "weights", ..."""

    kind: str
    path: Path
    step: int = 0


@dataclass(frozen=True)
class TrainingFinished:
    """The work ended as planned after `seconds`."""

    label: str
    seconds: float
    step: int = 0
    images_seen: int = 0


Event = (
    Note
    | WarningMessage
    | TaskProgress
    | TextTable
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
    """Listen to nothing."""
