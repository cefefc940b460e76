"""How long a run is: steps, pictures or minutes, fixed once in steps so that no clock decides anything later."""

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
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.loop import TrainSchedule
from vaegan.training.setup import TrainSetup
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator, evaluation_interval

TIMING_START_STEP = 2**20
STEPS_PER_TIMING = 8
MAX_PREVIEWS = 10
PREVIEW_TIME_FRACTION = 0.06
"""Share of a run's minutes that its previews may take; one has two at least."""
SLOW_PREVIEW_SECONDS = 2.0
"""Seconds from which on a preview is timed only once, and what it was made from serves the run's first one too."""
MIN_STEPS_TO_TIME = 100
FIXED_POINT_ITERATIONS = 5


@dataclass(frozen=True)
class Timings:
    """Seconds that a typical step takes, a preview with what is measured beside it, a look at samples, a checkpoint."""

    step_seconds: float
    preview_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0

    def overhead_seconds(self, schedule: TrainSchedule) -> float:
        """Seconds of a whole run that go into anything but its steps."""

        def times(every: int) -> int:
            return math.ceil(schedule.total_steps / every) if every else 0

        begun = self.preview_seconds + (
            self.evaluation_seconds if schedule.evaluate_every else 0.0
        )  # both come at step 0 too
        looks = times(schedule.evaluate_every) * self.evaluation_seconds
        return (
            begun
            + times(schedule.sample_every) * self.preview_seconds
            + looks
            + times(schedule.checkpoint_every) * self.checkpoint_seconds
        )


def measure_step_seconds(
    trainer: Trainer, sampler: BatchSampler, seconds: float, dist_ctx: DistributedContext
) -> float:
    """Seconds of a typical step, timed for about `seconds`; the trainer has moved on then."""
    laps: list[float] = []
    step, began = TIMING_START_STEP, time.perf_counter()
    while len(laps) < 2 or not dist_ctx.any_rank(time.perf_counter() - began >= seconds):
        lap = time.perf_counter()
        for _ in range(STEPS_PER_TIMING):  # a whole cycle of lazy penalties
            metrics = trainer.step(sampler[step], step) or {}
            step += 1
        sum(float(value) for value in metrics.values())  # wait for the device
        laps.append((time.perf_counter() - lap) / STEPS_PER_TIMING)
    return sum(laps[1:]) / len(laps[1:])


def measure_timings(trainer: Trainer, sampler: BatchSampler, seconds: float, dist_ctx: DistributedContext) -> Timings:
    """Time typical steps for about `seconds`, and a preview; the trainer is left as it was."""
    before = {name: tensor.clone() for name, tensor in trainer.state_dict().items()}
    step = measure_step_seconds(trainer, sampler, seconds, dist_ctx)

    def preview() -> float:
        trainer.load_state_dict(before, Path("the state before timing"))
        return _measure_seconds(lambda: (trainer.preview_grid(), trainer.drift_grid(), trainer.validate()))

    first = preview()  # pays for imports
    return Timings(step, first if first > SLOW_PREVIEW_SECONDS else preview())


def _measure_seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _measure_overheads(
    timings: Timings, trainer: Trainer, evaluator: QuickEvaluator, needs_evaluation: bool
) -> Timings:
    """Time a look at samples and a checkpoint too, as the run will have them; the checkpoint is thrown away."""
    look = 0.0
    if needs_evaluation and evaluator.is_enabled:
        evaluator.evaluate(
            trainer.generate_samples(evaluator.num_samples)
        )  # the first one measures the real pictures too
        look = _measure_seconds(lambda: evaluator.evaluate(trainer.generate_samples(evaluator.num_samples)))
    with tempfile.TemporaryDirectory(prefix="vaegan-") as place:
        run, publish = RunDir(Path(place)), partial(trainer.save_weights, step=0)
        save = _measure_seconds(lambda: run.save_checkpoint(0, trainer.state_dict(), publish, 1))
    return replace(timings, evaluation_seconds=look, checkpoint_seconds=save)


def requested_steps(setup: TrainSetup) -> int | None:
    """Total steps that are known without a clock, or None where minutes were asked for."""
    settings, batch = setup.settings, setup.settings.batch_size
    if setup.saved_config is not None and "total_steps" in setup.saved_config["plan"]:
        return _resumed_run_steps(setup)
    if settings.steps is not None:
        return settings.steps
    if settings.images is not None:
        return math.ceil(settings.images / batch)
    if settings.minutes is not None:
        return None
    row = PRESETS[settings.preset or "small"]
    return math.ceil((row.vae_images if isinstance(settings, VAESettings) else row.gan_images) / batch)


def _resumed_run_steps(setup: TrainSetup) -> int:
    """The recorded total, unless another length is asked for now; new minutes count at the recorded speed."""
    assert setup.saved_config is not None
    plan, given, batch = setup.saved_config["plan"], setup.request.explicit_options, setup.settings.batch_size
    if given.get("steps") is not None:
        return int(setup.settings.steps or 0)
    if given.get("images") is not None:
        return math.ceil((setup.settings.images or 0) / batch)
    minutes = given.get("minutes")
    if minutes is not None and float(minutes) != setup.saved_config["options"].get("minutes"):
        if not plan.get("images_per_second"):
            raise UsageError(
                f"--minutes {minutes}: the speed of {setup.run_dir.path} was never measured; give --steps or --images"
            )
        return max(1, round(float(minutes) * 60 * float(plan["images_per_second"]) / batch))
    return int(plan["total_steps"])


def make_schedule(
    setup: TrainSetup,
    trainer: Trainer,
    sampler: BatchSampler,
    evaluator: QuickEvaluator,
    start_time: float,
    dist_ctx: DistributedContext,
) -> tuple[TrainSchedule, float | None]:
    """Fix a run's plan, and its speed in pictures per second (None where it is too short to measure).

    The leader's clock decides for all processes.

    began: time.perf_counter() when the command began; what has passed since counts towards its minutes.
    """
    settings, saved = setup.settings, (setup.saved_config or {}).get("plan", {})
    total, rate, previews = requested_steps(setup), saved.get("images_per_second"), MAX_PREVIEWS
    if total is None or (rate is None and total >= MIN_STEPS_TO_TIME):
        minutes = settings.minutes or 1.0
        speed = measure_timings(trainer, sampler, min(6.0, minutes * 60 / 20), dist_ctx)
        measured = [speed]
        dist_ctx.run_on_main(
            lambda: measured.append(_measure_overheads(speed, trainer, evaluator, settings.evaluate_every != 0))
        )
        speed = measured[-1]
        if total is None:
            seconds = minutes * 60 - (time.perf_counter() - start_time)
            previews = _choose_num_previews(speed, seconds)
            total = _solve_total_steps(setup, speed, seconds, previews)
        rate = (
            settings.batch_size
            * total
            / (total * speed.step_seconds + speed.overhead_seconds(_build_schedule(setup, total, previews)))
        )
    total, rate, previews = dist_ctx.broadcast([total, rate, previews])
    return _build_schedule(setup, total, previews), rate


def _choose_num_previews(timings: Timings, seconds: float) -> int:
    """How often a run of so many seconds shows and saves what it has come to."""
    return max(2, min(MAX_PREVIEWS, int(PREVIEW_TIME_FRACTION * seconds / max(timings.preview_seconds, 1e-6))))


def _solve_total_steps(setup: TrainSetup, timings: Timings, seconds: float, num_previews: int) -> int:
    """Steps that fit into so many seconds with all that is done beside them."""
    total = max(1, int(seconds / timings.step_seconds))
    for _ in range(FIXED_POINT_ITERATIONS):  # how often something is done depends on the number of steps
        total = max(
            1,
            int(
                (seconds - timings.overhead_seconds(_build_schedule(setup, total, num_previews))) / timings.step_seconds
            ),
        )
    return total


def _build_schedule(setup: TrainSetup, total_steps: int, num_previews: int) -> TrainSchedule:
    """What a run of `total` steps does when, with so many previews; a resumed run keeps what it began with."""
    settings, saved = setup.settings, (setup.saved_config or {}).get("plan", {})
    part = max(1, math.ceil(total_steps / num_previews))
    checkpoint_every = settings.checkpoint_every or int(saved.get("checkpoint_every", part))
    sample_every = settings.sample_every or int(saved.get("sample_every", checkpoint_every))
    evaluate_every = settings.evaluate_every
    if evaluate_every is None:
        folds = isinstance(settings, VAESettings)
        default = evaluation_interval(total_steps, settings.batch_size, sample_every, folds)
        evaluate_every = int(saved.get("evaluate_every", default))
    on_collapse = settings.on_collapse if isinstance(settings, GANSettings) else "ignore"
    return TrainSchedule(
        total_steps,
        checkpoint_every,
        sample_every,
        settings.log_every,
        settings.keep_checkpoints,
        evaluate_every,
        on_collapse,
    )
