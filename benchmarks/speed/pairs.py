"""Taking turns, and what comes of it: medians of paired ratios."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.material import Material
from benchmarks.speed.sides import Taken, Worker, run_command

Turn = Callable[[], Taken]


@dataclass(frozen=True)
class Effort:
    """How much is measured: pairs of turns, seconds of a worker's turn, and the short version of every row or not."""

    pairs: int
    seconds: float
    quick: bool
    pictures: int
    minutes: float


@dataclass(frozen=True)
class Bench:
    """What a row needs."""

    effort: Effort
    material: Material

    def number(self, full: int, quick: int) -> int:
        """A count for the full and for the quick version."""
        return quick if self.effort.quick else full


@dataclass
class Found:
    """A row's result. Turns are in the order in which they were taken; a side that there is not has none.

    peaks: measured rates of the roofline in operations a second, a turn each; operations: those of a picture, of both
    sides; notes: in words, such as what was measured at which size.
    """

    unit: str
    ours: list[Taken] = field(default_factory=list)
    reference: list[Taken] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    operations: tuple[float, float] = (0.0, 0.0)
    notes: str = ""

    def value(self, taken: Taken) -> float:
        """What the row is about: pictures a second, seconds, CPU seconds, or bytes."""
        kinds = {"pictures/s": taken.rate, "s": taken.seconds, "CPU s": taken.cpu, "MB": taken.memory / 1e6}
        return kinds[self.unit]

    def values(self, side: list[Taken]) -> list[float]:
        """The value of every turn."""
        return [self.value(taken) for taken in side]

    def ratios(self) -> list[float]:
        """Of each pair: how many times better ours is."""
        pairs = zip(self.values(self.ours), self.values(self.reference), strict=False)
        return [ours / theirs if self.unit == "pictures/s" else theirs / ours for ours, theirs in pairs]

    def shares(self) -> list[float]:
        """Of each pair: the share of the measured peak that ours computes at."""
        return [taken.rate * self.operations[0] / peak for taken, peak in zip(self.ours, self.peaks, strict=False)]

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        ratios, shares = self.ratios(), self.shares()
        return {
            "unit": self.unit,
            "ours": self.values(self.ours),
            "reference": self.values(self.reference),
            "ratios": ratios,
            "ratio": statistics.median(ratios) if ratios else None,
            "memory_ours": max((taken.memory for taken in self.ours), default=None),
            "memory_reference": max((taken.memory for taken in self.reference), default=None),
            "peak_operations_per_second": self.peaks,
            "share_of_peak": statistics.median(shares) if shares else None,
            "operations_per_picture": list(self.operations) if any(self.operations) else None,
            "notes": self.notes,
        }


def in_turn(found: Found, pairs: int, reference: Turn | None, ours: Turn) -> Found:
    """Reference, ours, reference, ours, ..."""
    for _ in range(pairs):
        if reference is not None:
            found.reference.append(reference())
        found.ours.append(ours())
    return found


def workers(
    bench: Bench,
    reference: str,
    ours: str,
    options: dict[str, Any],
    roofline: bool = False,
    differing: tuple[dict[str, Any], dict[str, Any]] = ({}, {}),
) -> Found:
    """Two processes that take turns at units of work; with `roofline`, the machine's peak is a third in every round.

    differing: options of the one and of the other.
    """
    sides = [Worker(reference, options | differing[0]), Worker(ours, options | differing[1])]
    sides += [Worker("ours.peak", {})] if roofline else []
    found, seconds = Found("pictures/s"), bench.effort.seconds
    try:
        theirs, mine = sides[:2]
        for side in sides:
            side.turn(0)  # past what only happens once
        for _ in range(bench.effort.pairs):
            in_turn(found, 1, lambda: theirs.turn(seconds), lambda: mine.turn(seconds))
            if roofline:
                found.peaks.append(sides[2].turn(min(1.0, seconds)).rate * 1e6)
        if roofline:
            found.operations = (mine.ask("operations"), theirs.ask("operations"))
    finally:
        for side in sides:
            side.close()
    return found


def commands(
    bench: Bench, unit: str, pictures: int, reference: Callable[[], list[str]] | None, ours: Callable[[], list[str]]
) -> Found:
    """Whole commands in turn, each with its start; the arguments are made anew for every turn."""
    if not bench.effort.quick:
        run_command(ours(), pictures)  # fill the file cache
    return in_turn(
        Found(unit),
        bench.effort.pairs,
        None if reference is None else lambda: run_command(reference(), pictures),
        lambda: run_command(ours(), pictures),
    )
