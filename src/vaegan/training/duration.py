"""Length of a run: steps, images or minutes, resolved to a number of steps."""

from __future__ import annotations

import math
import time
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import GANSettings
from vaegan.data.sampler import BatchSampler
from vaegan.errors import UsageError
from vaegan.run_dir import PLANNED_STEPS
from vaegan.training.distributed import DistributedContext
from vaegan.training.schedule import TrainSchedule
from vaegan.training.setup import TrainSetup
from vaegan.training.start import num_whitening_images
from vaegan.training.timings import Timings, measure_overheads, measure_timings
from vaegan.training.trainer import Trainer
from vaegan.training.validation import (
    MIN_IMAGES_PER_EVALUATION,
    MIN_IMAGES_PER_FLAT_EVALUATION,
    QuickEvaluator,
    evaluation_interval,
)

MAX_PREVIEWS = 10
PREVIEW_TIME_FRACTION = 0.06
"""Share of a run's minutes that its previews may take; there are two at least, but for a short VAE."""
ONE_PREVIEW_SECONDS = 300.0
"""A VAE of less time may have one preview and checkpoint alone, at its end: latents are whitened and a prior is fitted
for each, which can take half a minute."""
IMAGES_PER_PREVIEW = {"vae": 17_000, "gan": 2_600}
"""Images, at least, that a run without minutes trains on for each of its previews. A GAN's preview takes as long as 130
images, so they take 5 % of its time."""
PREVIEW_IMAGES_PER_TRAIN_IMAGE = 0.7
"""How many images a VAE could be trained on while latents are whitened and a prior is fitted for a preview, for each
image of its dataset (two datasets on a CPU: 0.6 and 0.75). Of a larger dataset, a sample is whitened."""
EPOCHS_PER_VAE_PREVIEW = 9
"""A VAE's previews then take about 8 % of its time. Images beyond those that are whitened do not count."""
MAX_WHITENING_TIME_FRACTION = 0.25
"""Share of a run's minutes that one whitening is planned to take at most, so that a short run has steps."""
MIN_STEPS_TO_TIME = 100
FIXED_POINT_ITERATIONS = 6
CORRECTION_INTERVAL = 0.1
"""Share of a run's minutes after which its length is corrected."""
STEPS_PER_CLOCK_CHECK = 8
"""Steps between two looks at the clock: with several processes each look takes a message."""
MIN_CORRECTION = 0.02
"""Share of a run's steps; smaller corrections are left out."""


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
    num_images = preset.vae_images if setup.request.kind == "vae" else preset.gan_images
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
) -> tuple[TrainSchedule, float | None, MinutesPlanner | None]:
    """Return the schedule of a run, its speed, and what corrects its length.

    Rank 0's clock decides for all processes.

    Args:
        setup: the setup.
        trainer: the trainer.
        sampler: its batches.
        evaluator: of samples during training.
        start_time: time.perf_counter() when the command started. The time since then counts towards its minutes.
        dist_ctx: the processes that train together.

    Returns:
        the schedule, images per second (None for a run too short to measure), and the planner of a new run whose
        length was given in minutes.
    """
    settings, saved = setup.settings, (setup.saved_config or {}).get("schedule", {})
    total_steps, rate = requested_steps(setup), saved.get("images_per_second")
    if total_steps is not None and (rate is not None or total_steps < MIN_STEPS_TO_TIME):
        return _build_schedule(setup, total_steps, _num_previews_of_length(setup, total_steps)), rate, None
    minutes = settings.minutes or 1.0
    timings = measure_timings(trainer, sampler, min(6.0, minutes * 60 / 20), dist_ctx)
    needs_evaluation = settings.evaluate_every != 0
    timings = Timings(
        *dist_ctx.run_on_main(lambda: astuple(measure_overheads(timings, trainer, evaluator, needs_evaluation)))
    )
    timings = _with_whitening(setup, timings)
    if total_steps is not None:
        schedule = _build_schedule(setup, total_steps, _num_previews_of_length(setup, total_steps))
        return schedule, _images_per_second(setup, timings, schedule), None
    planner = MinutesPlanner(setup, timings, start_time + minutes * 60, dist_ctx)
    schedule = planner.plan()
    return schedule, _images_per_second(setup, timings, schedule), planner if setup.saved_config is None else None


def _with_whitening(setup: TrainSetup, timings: Timings) -> Timings:
    """Return timings whose previews after the first one are a trained VAE's: an untrained one has no mixture prior."""
    settings, num_images = setup.settings, PREVIEW_IMAGES_PER_TRAIN_IMAGE * _num_whitening_images(setup)
    seconds = num_images / settings.batch_size * timings.step_seconds
    if settings.minutes is not None:
        seconds = min(seconds, MAX_WHITENING_TIME_FRACTION * 60 * settings.minutes)
    return replace(
        timings,
        preview_seconds=max(timings.preview_seconds, seconds),
        first_preview_seconds=timings.preview_seconds,
    )


def _num_whitening_images(setup: TrainSetup) -> int:
    """Return the images that are whitened for a preview where previews are spaced by them, else 0.

    Not for --stop-when flat, which needs the evaluations that come with frequent previews.
    """
    if setup.request.kind != "vae" or setup.settings.stop_when == "flat":
        return 0
    return num_whitening_images(int(setup.dataset.counts["train"]), setup.model_config.latent_dim)


def _images_per_second(setup: TrainSetup, timings: Timings, schedule: TrainSchedule) -> float:
    """Return the speed of a whole run, with all overheads."""
    total_steps = schedule.total_steps
    seconds = total_steps * timings.step_seconds + timings.overhead_seconds(schedule)
    return setup.settings.batch_size * total_steps / seconds


@dataclass
class MinutesPlanner:
    """Plans the length of a run of minutes, and corrects it when the machine becomes faster or slower.

    Attributes:
        setup: the setup of the new run.
        timings: seconds of a step, measured before the first one, and of what runs beside it, measured then or since.
        deadline: time.perf_counter() at which the minutes end.
        dist_ctx: the processes that train together; rank 0's clock decides.
    """

    setup: TrainSetup
    timings: Timings
    deadline: float
    dist_ctx: DistributedContext
    plan_time: float = field(init=False, default=0.0)
    period_start: float = field(init=False, default=0.0)
    first_step: int = field(init=False, default=0)

    def plan(self) -> TrainSchedule:
        """Return the schedule that fills the time left at the speed of the timings.

        Returns:
            the schedule.
        """
        self.plan_time = time.perf_counter()
        self._start_period(self.plan_time, 0)
        values = self.dist_ctx.run_on_main(lambda: astuple(self._fill(self.plan_time, steps_done=0, speed=1.0)))
        return TrainSchedule(*values)

    def correct(self, schedule: TrainSchedule, steps_done: int) -> tuple[TrainSchedule, float] | None:
        """Plan again, once a share of the minutes has passed since the last time, at the speed since then.

        At the end of the schedule, plan again if such a share is left.

        Args:
            schedule: the schedule so far.
            steps_done: steps done now.

        Returns:
            schedule, and images per second of the whole run; None where the length stays.
        """
        is_last = steps_done == schedule.total_steps
        if steps_done % STEPS_PER_CLOCK_CHECK and not is_last:
            return None
        if steps_done < self.first_step:  # after a rollback
            self._start_period(time.perf_counter(), steps_done)
        is_due = self.dist_ctx.is_main_process and steps_done > self.first_step and self._is_due(is_last)
        if not self.dist_ctx.any_rank(is_due):
            return None
        correction = self.dist_ctx.run_on_main(lambda: self._correct(schedule, steps_done))
        return None if correction is None else (TrainSchedule(*correction[0]), correction[1])

    def record_seconds(self, name: str, seconds: float) -> None:
        """Replace what was measured before the first step.

        Whitening the latents of a trained VAE takes far longer than those of an untrained one.

        Args:
            name: a field of `Timings`.
            seconds: measured during training.
        """
        self.timings = replace(self.timings, **{name: seconds})

    def _start_period(self, now: float, steps_done: int) -> None:
        self.period_start, self.first_step = now, steps_done

    def _is_due(self, is_last: bool) -> bool:
        now, interval = time.perf_counter(), CORRECTION_INTERVAL * self._total_seconds()
        if is_last:
            return self.deadline - now > interval
        if self.period_start < self.deadline <= now:
            return True
        return now - self.period_start >= interval

    def _correct(self, schedule: TrainSchedule, steps_done: int) -> tuple[tuple[Any, ...], float] | None:
        now = time.perf_counter()
        expected_seconds = self.timings.seconds_between(schedule, self.first_step, steps_done)
        speed = expected_seconds / max(now - self.period_start, 1e-9)
        self._start_period(now, steps_done)
        corrected = self._fill(now, steps_done, speed)
        if abs(corrected.total_steps - schedule.total_steps) < MIN_CORRECTION * schedule.total_steps:
            return None
        # The speed of the whole run, not that of now: at it, more minutes are always more steps than these.
        num_images = self.setup.settings.batch_size * corrected.total_steps
        seconds = max(self.deadline, now) - self.plan_time
        return astuple(corrected), num_images / seconds

    def _fill(self, now: float, steps_done: int, speed: float) -> TrainSchedule:
        """Return the schedule that fills the time left; `speed` is relative to that of the timings."""
        seconds = self._total_seconds()
        is_short_vae = self.setup.request.kind == "vae" and seconds < ONE_PREVIEW_SECONDS
        num_previews = _num_previews_of_time(self.timings, seconds * speed, 1 if is_short_vae else 2)
        total_steps = solve_total_steps(
            self.setup, self.timings, (self.deadline - now) * speed, num_previews, steps_done
        )
        return _build_schedule(self.setup, total_steps, num_previews)

    def _total_seconds(self) -> float:
        return 60 * (self.setup.settings.minutes or 1.0)


def _num_previews_of_length(setup: TrainSetup, total_steps: int) -> int:
    """Return how many previews a number of steps affords: not by the clock, so that it is the same in each run."""
    num_images, min_images = total_steps * setup.settings.batch_size, IMAGES_PER_PREVIEW[setup.request.kind]
    images_per_preview = max(min_images, EPOCHS_PER_VAE_PREVIEW * _num_whitening_images(setup))
    return max(1, min(MAX_PREVIEWS, round(num_images / images_per_preview)))


def _num_previews_of_time(timings: Timings, seconds: float, at_least: int) -> int:
    num_previews = int(PREVIEW_TIME_FRACTION * seconds / max(timings.preview_seconds, 1e-6))
    return max(at_least, min(MAX_PREVIEWS, num_previews))


def solve_total_steps(
    setup: TrainSetup, timings: Timings, seconds: float, num_previews: int, steps_done: int = 0
) -> int:
    """Return the number of steps that fit into a time with all overheads.

    A fixed point: the overheads depend on the schedule, whose intervals depend on the number of steps.

    Args:
        setup: the setup.
        timings: seconds of a step and of what runs beside it.
        seconds: time for the whole run, or for the rest of it.
        num_previews: largest number of previews.
        steps_done: steps that are done already.

    Returns:
        steps of the whole run, at least one more than are done.
    """
    overhead, total_steps = 0.0, 0
    for _ in range(FIXED_POINT_ITERATIONS):
        total_steps = steps_done + max(1, int((seconds - overhead) / timings.step_seconds))
        overhead = timings.overhead_seconds(_build_schedule(setup, total_steps, num_previews), steps_done)
    return total_steps


def _build_schedule(setup: TrainSetup, total_steps: int, num_previews: int) -> TrainSchedule:
    """Return the schedule of a run of `total_steps`; a resumed run keeps its intervals."""
    settings, saved = setup.settings, (setup.saved_config or {}).get("schedule", {})
    default_interval = max(1, math.ceil(total_steps / num_previews))
    checkpoint_every = settings.checkpoint_every or int(saved.get("checkpoint_every", default_interval))
    sample_every = settings.sample_every or int(saved.get("sample_every", checkpoint_every))
    evaluate_every = settings.evaluate_every
    if evaluate_every is None:
        needs_whitening = setup.request.kind == "vae"
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
