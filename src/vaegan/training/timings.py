"""Times of steps, previews, evaluations and checkpoints, measured before a run."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vaegan.data.sampler import BatchSampler
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.schedule import TrainSchedule
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator

TIMING_START_STEP = 2**20
"""A step number beyond all warm-ups, so that a typical step is timed."""
STEPS_PER_TIMING = 8
SLOW_PREVIEW_SECONDS = 2.0
"""A preview that takes longer is timed only once."""


@dataclass(frozen=True)
class Timings:
    """Seconds that one typical step, preview (with validation), evaluation of samples and checkpoint take.

    `first_preview_seconds` is for the preview before the first step; None if it takes as long as the others.
    """

    step_seconds: float
    preview_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    first_preview_seconds: float | None = None

    def overhead_seconds(self, schedule: TrainSchedule, steps_done: int = 0) -> float:
        """Return the seconds of a run, or of the rest of one, that are not spent on steps.

        Args:
            schedule: length and intervals of the run.
            steps_done: steps that are done already; 0 counts the preview and the evaluation before the first step too.

        Returns:
            seconds.
        """
        later = sum(
            (math.ceil(schedule.total_steps / interval) - steps_done // interval) * seconds
            for interval, seconds in self._intervals(schedule)
        )
        return later if steps_done else self._seconds_before_step_1(schedule) + later

    def seconds_between(self, schedule: TrainSchedule, first_step: int, last_step: int) -> float:
        """Return the seconds from one step to a later one, with previews, evaluations and checkpoints.

        Args:
            schedule: intervals of the run.
            first_step: steps done at the start; 0 counts what comes before the first step too.
            last_step: steps done at the end.

        Returns:
            seconds.
        """
        overhead = sum(
            (last_step // interval - first_step // interval) * seconds
            for interval, seconds in self._intervals(schedule)
        )
        at_start = 0.0 if first_step else self._seconds_before_step_1(schedule)
        return at_start + (last_step - first_step) * self.step_seconds + overhead

    def _seconds_before_step_1(self, schedule: TrainSchedule) -> float:
        first_preview = self.preview_seconds if self.first_preview_seconds is None else self.first_preview_seconds
        return first_preview + (self.evaluation_seconds if schedule.evaluate_every else 0.0)

    def _intervals(self, schedule: TrainSchedule) -> list[tuple[int, float]]:
        """Return the steps between two previews, evaluations and checkpoints, and the seconds that each takes."""
        intervals = [
            (schedule.sample_every, self.preview_seconds),
            (schedule.checkpoint_every, self.checkpoint_seconds),
        ]
        if schedule.evaluate_every:
            intervals.append((schedule.evaluate_every, self.evaluation_seconds))
        return intervals


def measure_step_seconds(
    trainer: Trainer, sampler: BatchSampler, seconds: float, dist_ctx: DistributedContext
) -> float:
    """Train typical steps and measure them. The trainer's state changes.

    Args:
        trainer: the trainer.
        sampler: its batches.
        seconds: about how long to measure.
        dist_ctx: the processes that train together.

    Returns:
        seconds per step.
    """
    rounds: list[float] = []
    step, start_time = TIMING_START_STEP, time.perf_counter()
    while len(rounds) < 2 or not dist_ctx.any_rank(time.perf_counter() - start_time >= seconds):
        round_start = time.perf_counter()
        for _ in range(STEPS_PER_TIMING):  # a whole interval of lazy gradient penalties
            metrics = trainer.step(sampler[step], step, sampler.class_ids(step))
            step += 1
        sum(float(value) for value in (metrics or {}).values())  # waits for the device
        rounds.append((time.perf_counter() - round_start) / STEPS_PER_TIMING)
    return sum(rounds[1:]) / len(rounds[1:])


def measure_timings(trainer: Trainer, sampler: BatchSampler, seconds: float, dist_ctx: DistributedContext) -> Timings:
    """Measure typical steps and a preview. The trainer's state is restored.

    Args:
        trainer: the trainer.
        sampler: its batches.
        seconds: about how long to measure steps.
        dist_ctx: the processes that train together.

    Returns:
        the timings.
    """
    state = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    step_seconds = measure_step_seconds(trainer, sampler, seconds, dist_ctx)

    def time_preview() -> float:
        trainer.load_state_dict(state, Path("the state before timing"))
        return measure_seconds(lambda: (trainer.preview_grid(), trainer.drift_grid(), trainer.validate()))

    first_preview = time_preview()  # includes imports
    return Timings(step_seconds, first_preview if first_preview > SLOW_PREVIEW_SECONDS else time_preview())


def measure_seconds(action: Callable[[], object]) -> float:
    """Run something, and measure it.

    Args:
        action: what to run.

    Returns:
        seconds.
    """
    start_time = time.perf_counter()
    action()
    return time.perf_counter() - start_time


def measure_overheads(timings: Timings, trainer: Trainer, evaluator: QuickEvaluator, needs_evaluation: bool) -> Timings:
    """Add the seconds of an evaluation and of a checkpoint, which is written to a temporary folder.

    Args:
        timings: what `measure_timings` returned.
        trainer: the trainer.
        evaluator: of samples during training.
        needs_evaluation: whether the run evaluates samples.

    Returns:
        the timings.
    """

    def evaluate() -> object:
        return evaluator.evaluate(trainer.generate_samples(evaluator.num_samples))

    evaluation_seconds = 0.0
    if needs_evaluation and evaluator.is_enabled:
        evaluate()  # the first one extracts the features of the real images too
        evaluation_seconds = measure_seconds(evaluate)
    with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
        run_dir, save_weights = RunDir(Path(folder)), partial(trainer.save_weights, step=0)
        checkpoint_seconds = measure_seconds(lambda: run_dir.save_checkpoint(0, trainer.state_dict(), save_weights, 1))
    return replace(timings, evaluation_seconds=evaluation_seconds, checkpoint_seconds=checkpoint_seconds)
