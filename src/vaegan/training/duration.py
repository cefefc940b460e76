"""Length of a run: steps, images or minutes, resolved once to a number of steps."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.errors import UsageError
from vaegan.run_dir import PLANNED_STEPS, RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.loop import TrainSchedule
from vaegan.training.setup import TrainSetup
from vaegan.training.trainer import Trainer
from vaegan.training.validation import (
    MIN_IMAGES_PER_EVALUATION,
    MIN_IMAGES_PER_FLAT_EVALUATION,
    QuickEvaluator,
    evaluation_interval,
)

TIMING_START_STEP = 2**20
"""A step number beyond all warm-ups, so that a typical step is timed."""
STEPS_PER_TIMING = 8
MAX_PREVIEWS = 10
PREVIEW_TIME_FRACTION = 0.06
"""Share of a run's minutes that its previews may take; there are two at least."""
SLOW_PREVIEW_SECONDS = 2.0
"""A preview that takes longer is timed only once."""
MIN_STEPS_TO_TIME = 100
FIXED_POINT_ITERATIONS = 5


@dataclass(frozen=True)
class Timings:
    """Seconds that one typical step, preview (with validation), evaluation of samples and checkpoint take."""

    step_seconds: float
    preview_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0

    def overhead_seconds(self, schedule: TrainSchedule) -> float:
        """Return the seconds of a whole run that are not spent on steps.

        Args:
            schedule: length and intervals of the run.

        Returns:
            seconds.
        """

        def count(interval: int) -> int:
            return math.ceil(schedule.total_steps / interval) if interval else 0

        at_step_0 = self.preview_seconds + (self.evaluation_seconds if schedule.evaluate_every else 0.0)
        evaluations = count(schedule.evaluate_every) * self.evaluation_seconds
        previews = count(schedule.sample_every) * self.preview_seconds
        return at_step_0 + previews + evaluations + count(schedule.checkpoint_every) * self.checkpoint_seconds


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
        return _measure_seconds(lambda: (trainer.preview_grid(), trainer.drift_grid(), trainer.validate()))

    first_preview = time_preview()  # includes imports
    return Timings(step_seconds, first_preview if first_preview > SLOW_PREVIEW_SECONDS else time_preview())


def _measure_seconds(action: Callable[[], object]) -> float:
    start_time = time.perf_counter()
    action()
    return time.perf_counter() - start_time


def _measure_overheads(
    timings: Timings, trainer: Trainer, evaluator: QuickEvaluator, needs_evaluation: bool
) -> Timings:
    """Add the seconds of an evaluation and of a checkpoint, which is written to a temporary folder."""

    def evaluate() -> object:
        return evaluator.evaluate(trainer.generate_samples(evaluator.num_samples))

    evaluation_seconds = 0.0
    if needs_evaluation and evaluator.is_enabled:
        evaluate()  # the first one extracts the features of the real images too
        evaluation_seconds = _measure_seconds(evaluate)
    with tempfile.TemporaryDirectory(prefix="vaegan-") as folder:
        run_dir, save_weights = RunDir(Path(folder)), partial(trainer.save_weights, step=0)
        checkpoint_seconds = _measure_seconds(lambda: run_dir.save_checkpoint(0, trainer.state_dict(), save_weights, 1))
    return replace(timings, evaluation_seconds=evaluation_seconds, checkpoint_seconds=checkpoint_seconds)


def requested_steps(setup: TrainSetup) -> int | None:
    """Return the total number of steps, where it does not depend on a measurement.

    Args:
        setup: the setup.

    Returns:
        the number; None for a length in minutes.
    """
    settings, batch_size = setup.settings, setup.settings.batch_size
    if setup.saved_config is not None and "total_steps" in setup.saved_config["schedule"]:
        return _resumed_run_steps(setup)
    if settings.steps is not None:
        return settings.steps
    if settings.images is not None:
        return math.ceil(settings.images / batch_size)
    if settings.minutes is not None:
        return None
    preset = PRESETS[settings.preset or "small"]
    num_images = preset.vae_images if isinstance(settings, VAESettings) else preset.gan_images
    return math.ceil(num_images / batch_size)


def has_stopped_flat(setup: TrainSetup) -> bool:
    """Return whether --stop-when flat has ended the resumed run, and still applies.

    Args:
        setup: the setup.

    Returns:
        whether it has.
    """
    return PLANNED_STEPS in (setup.saved_config or {}).get("schedule", {}) and setup.settings.stop_when == "flat"


def _resumed_run_steps(setup: TrainSetup) -> int:
    """Return the recorded total, or the one that this command asks for. New minutes count at the recorded speed."""
    assert setup.saved_config is not None
    saved, options = setup.saved_config["schedule"], setup.request.explicit_options
    batch_size = setup.settings.batch_size
    if options.get("steps") is not None:
        return int(setup.settings.steps or 0)
    if options.get("images") is not None:
        return math.ceil((setup.settings.images or 0) / batch_size)
    minutes = options.get("minutes")
    if minutes is not None and float(minutes) != setup.saved_config["options"].get("minutes"):
        if not saved.get("images_per_second"):
            raise UsageError(
                f"--minutes {minutes}: the speed of {setup.run_dir.path} was never measured; give --steps or --images"
            )
        return max(1, round(float(minutes) * 60 * float(saved["images_per_second"]) / batch_size))
    is_flat_stop_undone = PLANNED_STEPS in saved and setup.settings.stop_when != "flat"
    return int(saved[PLANNED_STEPS] if is_flat_stop_undone else saved["total_steps"])


def make_schedule(
    setup: TrainSetup,
    trainer: Trainer,
    sampler: BatchSampler,
    evaluator: QuickEvaluator,
    start_time: float,
    dist_ctx: DistributedContext,
) -> tuple[TrainSchedule, float | None]:
    """Return the schedule of a run and its speed.

    Rank 0's clock decides for all processes.

    Args:
        setup: the setup.
        trainer: the trainer.
        sampler: its batches.
        evaluator: of samples during training.
        start_time: time.perf_counter() when the command started. The time since then counts towards its minutes.
        dist_ctx: the processes that train together.

    Returns:
        the schedule, and images per second (None for a run too short to measure).
    """
    settings, saved = setup.settings, (setup.saved_config or {}).get("schedule", {})
    total_steps, rate, num_previews = requested_steps(setup), saved.get("images_per_second"), MAX_PREVIEWS
    if total_steps is None or (rate is None and total_steps >= MIN_STEPS_TO_TIME):
        minutes = settings.minutes or 1.0
        timings = measure_timings(trainer, sampler, min(6.0, minutes * 60 / 20), dist_ctx)

        def solve() -> tuple[int, float, int]:
            measured = _measure_overheads(timings, trainer, evaluator, settings.evaluate_every != 0)
            total, previews = total_steps, num_previews
            if total is None:
                seconds = minutes * 60 - (time.perf_counter() - start_time)
                previews = _choose_num_previews(measured, seconds)
                total = solve_total_steps(setup, measured, seconds, previews)
            overhead = measured.overhead_seconds(_build_schedule(setup, total, previews))
            return total, settings.batch_size * total / (total * measured.step_seconds + overhead), previews

        total_steps, rate, num_previews = dist_ctx.run_on_main(solve)
    return _build_schedule(setup, total_steps, num_previews), rate


def _choose_num_previews(timings: Timings, seconds: float) -> int:
    return max(2, min(MAX_PREVIEWS, int(PREVIEW_TIME_FRACTION * seconds / max(timings.preview_seconds, 1e-6))))


def solve_total_steps(setup: TrainSetup, timings: Timings, seconds: float, num_previews: int) -> int:
    """Return the number of steps that fit into a time with all overheads.

    A fixed point: the overheads depend on the schedule, whose intervals depend on the number of steps.

    Args:
        setup: the setup.
        timings: seconds of a step and of what runs beside it.
        seconds: time for the whole run.
        num_previews: largest number of previews.

    Returns:
        at least 1.
    """
    total_steps = max(1, int(seconds / timings.step_seconds))
    for _ in range(FIXED_POINT_ITERATIONS):
        overhead = timings.overhead_seconds(_build_schedule(setup, total_steps, num_previews))
        total_steps = max(1, int((seconds - overhead) / timings.step_seconds))
    return total_steps


def _build_schedule(setup: TrainSetup, total_steps: int, num_previews: int) -> TrainSchedule:
    """Return the schedule of a run of `total_steps`; a resumed run keeps its intervals."""
    settings, saved = setup.settings, (setup.saved_config or {}).get("schedule", {})
    default_interval = max(1, math.ceil(total_steps / num_previews))
    checkpoint_every = settings.checkpoint_every or int(saved.get("checkpoint_every", default_interval))
    sample_every = settings.sample_every or int(saved.get("sample_every", checkpoint_every))
    evaluate_every = settings.evaluate_every
    if evaluate_every is None:
        needs_whitening = isinstance(settings, VAESettings)
        min_images = MIN_IMAGES_PER_EVALUATION if settings.stop_when == "end" else MIN_IMAGES_PER_FLAT_EVALUATION
        default = evaluation_interval(total_steps, settings.batch_size, sample_every, needs_whitening, min_images)
        evaluate_every = int(saved.get("evaluate_every", default))
    return TrainSchedule(
        total_steps,
        checkpoint_every,
        sample_every,
        settings.log_every,
        settings.keep_checkpoints,
        evaluate_every,
        settings.on_collapse if isinstance(settings, GANSettings) else "ignore",
        settings.stop_when == "flat",
    )
