"""Measurements in pairs, reference and vaegan in turn, and the ratios of these pairs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.inputs import Inputs
from benchmarks.speed.processes import Timing, Worker, time_command

Measure = Callable[[], Timing]


@dataclass(frozen=True)
class BenchOptions:
    """How much to measure.

    Args:
        pairs: Measurements of each side.
        seconds: Duration of one measurement of a training step or a data loader.
        quick: Whether to run the short version of every row.
        num_images: Images in the generated dataset of the row "cache".
        minutes: Value of --minutes in the row "minutes".
    """

    pairs: int
    seconds: float
    quick: bool
    num_images: int
    minutes: float


@dataclass(frozen=True)
class Bench:
    """The options and the input files of all rows."""

    options: BenchOptions
    inputs: Inputs

    def choose(self, full: int, quick: int) -> int:
        """Return `quick` for the short version, otherwise `full`."""
        return quick if self.options.quick else full


@dataclass
class PairedResult:
    """The measurements of a row.

    Args:
        unit: What is compared: "images/s", "s", "CPU s" or "MB".
        ours: Measurements of vaegan, in order.
        reference: Measurements of the reference, in order; empty if the row has none.
        peak_flops: The machine's peak in operations per second, measured once per pair; empty without a roofline.
        flops_per_image: Floating-point operations per image of vaegan and of the reference.
        notes: Remarks for the table, such as the number of images.
    """

    unit: str
    ours: list[Timing] = field(default_factory=list)
    reference: list[Timing] = field(default_factory=list)
    peak_flops: list[float] = field(default_factory=list)
    flops_per_image: tuple[float, float] = (0.0, 0.0)
    notes: str = ""

    def value(self, timing: Timing) -> float:
        """Return a measurement in the row's unit."""
        values = {
            "images/s": timing.images_per_second,
            "s": timing.seconds,
            "CPU s": timing.cpu_seconds,
            "MB": timing.peak_memory / 1e6,
        }
        return values[self.unit]

    def values(self, timings: list[Timing]) -> list[float]:
        """Return measurements in the row's unit."""
        return [self.value(timing) for timing in timings]

    def ratios(self) -> list[float]:
        """Return how many times better vaegan is, for each pair."""
        pairs = zip(self.values(self.ours), self.values(self.reference), strict=False)
        return [ours / theirs if self.unit == "images/s" else theirs / ours for ours, theirs in pairs]

    def peak_fractions(self) -> list[float]:
        """Return the fraction of the measured peak that vaegan reaches, for each pair."""
        flops = self.flops_per_image[0]
        return [
            timing.images_per_second * flops / peak for timing, peak in zip(self.ours, self.peak_flops, strict=False)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return all measurements and medians as a JSON object."""
        ratios, peak_fractions = self.ratios(), self.peak_fractions()
        return {
            "unit": self.unit,
            "ours": self.values(self.ours),
            "reference": self.values(self.reference),
            "ratios": ratios,
            "ratio": statistics.median(ratios) if ratios else None,
            "memory_ours": max((timing.peak_memory for timing in self.ours), default=None),
            "memory_reference": max((timing.peak_memory for timing in self.reference), default=None),
            "peak_flops": self.peak_flops,
            "peak_fraction": statistics.median(peak_fractions) if peak_fractions else None,
            "flops_per_image": list(self.flops_per_image) if any(self.flops_per_image) else None,
            "notes": self.notes,
        }


def run_pairs(result: PairedResult, num_pairs: int, reference: Measure | None, ours: Measure) -> PairedResult:
    """Measure reference, ours, reference, ours, ... and append to the result."""
    for _ in range(num_pairs):
        if reference is not None:
            result.reference.append(reference())
        result.ours.append(ours())
    return result


def compare_workers(
    bench: Bench,
    reference: str,
    ours: str,
    options: dict[str, Any],
    *,
    reference_options: dict[str, Any] | None = None,
    our_options: dict[str, Any] | None = None,
    roofline: bool = False,
) -> PairedResult:
    """Compare two workloads, each in its own worker process.

    Args:
        bench: Options and inputs.
        reference: Name of the reference's workload.
        ours: Name of vaegan's workload.
        options: Options of both workloads.
        reference_options: More options of the reference.
        our_options: More options of vaegan's workload.
        roofline: Also measure the machine's peak in every pair, in a third process.
    """
    workers = [
        Worker(reference, options | (reference_options or {})),
        Worker(ours, options | (our_options or {})),
    ]
    if roofline:
        workers.append(Worker("ours.peak", {}))
    result, seconds = PairedResult("images/s"), bench.options.seconds
    try:
        reference_worker, our_worker = workers[:2]
        for worker in workers:
            worker.measure(0)  # exclude what happens only once
        for _ in range(bench.options.pairs):
            run_pairs(result, 1, lambda: reference_worker.measure(seconds), lambda: our_worker.measure(seconds))
            if roofline:
                result.peak_flops.append(workers[2].measure(min(1.0, seconds)).images_per_second * 1e6)
        if roofline:
            result.flops_per_image = (our_worker.request("flops"), reference_worker.request("flops"))
    finally:
        for worker in workers:
            worker.close()
    return result


def compare_commands(
    bench: Bench,
    unit: str,
    num_images: int,
    reference: Callable[[], list[str]],
    ours: Callable[[], list[str]],
) -> PairedResult:
    """Compare two commands from start to end; the functions return new arguments for every run."""
    if not bench.options.quick:
        time_command(ours(), num_images)  # fills the file cache
    return run_pairs(
        PairedResult(unit),
        bench.options.pairs,
        lambda: time_command(reference(), num_images),
        lambda: time_command(ours(), num_images),
    )
