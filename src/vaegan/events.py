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
class Warned:
    """Something the user should look at, in words."""

    text: str


@dataclass(frozen=True)
class Counted:
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
class Tabled:
    """Numbers that are read beside each other: a head, and rows of as many cells."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Started:
    """Training begins (or goes on) at `step` of `total`; `rate` is the measured pictures per second."""

    label: str
    step: int
    total: int
    batch_size: int
    rate: float | None = None


@dataclass(frozen=True)
class Progress:
    """`step` of `total` is done; `metrics` are means since the last such event."""

    step: int
    total: int
    images: int
    rate: float
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Say whether this is the last step."""
        return self.step == self.total

    @property
    def seconds_left(self) -> float:
        """What the rest takes at this rate."""
        return (self.total - self.step) * self.images / max(self.step, 1) / max(self.rate, 1e-9)


@dataclass(frozen=True)
class Measured:
    """Numbers that were worked out beside the steps, e.g. on held-out pictures."""

    step: int
    images: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Alarmed:
    """What was measured warns of something: which alarm it is, and in words what is wrong and what to do."""

    step: int
    images: int
    name: str
    text: str


@dataclass(frozen=True)
class Retreated:
    """The run goes on from `step`, back from a later one where there is an earlier checkpoint, with gentler settings.

    times: how often so far; text: why, and what is gentler now.
    """

    step: int
    images: int
    times: int
    text: str


@dataclass(frozen=True)
class Skipped:
    """The step that would have been number `step` was left out: not all its numbers were finite; `skipped` so far."""

    step: int
    skipped: int


@dataclass(frozen=True)
class Wrote:
    """A file or directory is whole on the disk; `what` is "preview", "checkpoint", "weights", ..."""

    what: str
    path: Path
    step: int = 0


@dataclass(frozen=True)
class Finished:
    """The work ended as planned after `seconds`."""

    label: str
    seconds: float
    step: int = 0
    images: int = 0


Event = (
    Note | Warned | Counted | Tabled | Started | Progress | Measured | Alarmed | Retreated | Skipped | Wrote | Finished
)
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
