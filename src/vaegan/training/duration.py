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
from vaegan.data.sampler import Batches
from vaegan.errors import UsageError
from vaegan.run_dir import Run
from vaegan.training.distributed import World
from vaegan.training.loop import Plan
from vaegan.training.setup import Job
from vaegan.training.trainer import Trainer
from vaegan.training.validation import Watch, spacing

TYPICAL_STEP = 2**20
CYCLE = 8
PREVIEWS = 10
PREVIEWED = 0.06
"""Share of a run's minutes that its previews may take; one has two at least."""
SLOW_PREVIEW = 2.0
"""Seconds from which on a preview is timed only once, and what it was made from serves the run's first one too."""
FEW_STEPS = 100
ROUNDS = 5


@dataclass(frozen=True)
class Speed:
    """Seconds that a typical step takes, a preview with what is measured beside it, a look at samples, a checkpoint."""

    step: float
    preview: float = 0.0
    look: float = 0.0
    save: float = 0.0

    def aside(self, plan: Plan) -> float:
        """Seconds of a whole run that go into anything but its steps."""

        def times(every: int) -> int:
            return math.ceil(plan.total / every) if every else 0

        begun = self.preview + (self.look if plan.evaluate_every else 0.0)  # both come at step 0 too
        looks = times(plan.evaluate_every) * self.look
        return begun + times(plan.preview_every) * self.preview + looks + times(plan.checkpoint_every) * self.save


def step_seconds(trainer: Trainer, batches: Batches, seconds: float, world: World) -> float:
    """Seconds of a typical step, timed for about `seconds`; the trainer has moved on then."""
    laps: list[float] = []
    step, began = TYPICAL_STEP, time.perf_counter()
    while len(laps) < 2 or not world.any(time.perf_counter() - began >= seconds):
        lap = time.perf_counter()
        for _ in range(CYCLE):  # a whole cycle of lazy penalties
            metrics = trainer.step(batches[step], step)
            step += 1
        sum(float(value) for value in metrics.values())  # wait for the device
        laps.append((time.perf_counter() - lap) / CYCLE)
    return sum(laps[1:]) / len(laps[1:])


def measure_speed(trainer: Trainer, batches: Batches, seconds: float, world: World) -> Speed:
    """Time typical steps for about `seconds`, and a preview; the trainer is left as it was."""
    before = {name: tensor.clone() for name, tensor in trainer.stateful().items()}
    step = step_seconds(trainer, batches, seconds, world)

    def preview() -> float:
        trainer.restore(before, Path("the state before timing"))
        return _timed(lambda: (trainer.preview(), trainer.drift(), trainer.measure()))

    first = preview()  # pays for imports
    return Speed(step, first if first > SLOW_PREVIEW else preview())


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _with_writing(speed: Speed, trainer: Trainer, watch: Watch, looks: bool) -> Speed:
    """Time a look at samples and a checkpoint too, as the run will have them; the checkpoint is thrown away."""
    look = 0.0
    if looks and watch.able:
        watch.look(trainer.samples(watch.pictures))  # the first one measures the real pictures too
        look = _timed(lambda: watch.look(trainer.samples(watch.pictures)))
    with tempfile.TemporaryDirectory(prefix="vaegan-") as place:
        run, publish = Run(Path(place)), partial(trainer.publish, step=0)
        save = _timed(lambda: run.save(0, trainer.stateful(), publish, 1))
    return replace(speed, look=look, save=save)


def asked(job: Job) -> int | None:
    """Total steps that are known without a clock, or None where minutes were asked for."""
    settings, batch = job.settings, job.settings.batch_size
    if job.saved is not None and "total" in job.saved["plan"]:
        return _of_resumed(job)
    if settings.steps is not None:
        return settings.steps
    if settings.images is not None:
        return math.ceil(settings.images / batch)
    if settings.minutes is not None:
        return None
    row = PRESETS[settings.preset or "small"]
    return math.ceil((row.vae_images if isinstance(settings, VAESettings) else row.gan_images) / batch)


def _of_resumed(job: Job) -> int:
    """The recorded total, unless another length is asked for now; new minutes count at the recorded speed."""
    assert job.saved is not None
    plan, given, batch = job.saved["plan"], job.wish.given, job.settings.batch_size
    if given.get("steps") is not None:
        return int(job.settings.steps or 0)
    if given.get("images") is not None:
        return math.ceil((job.settings.images or 0) / batch)
    minutes = given.get("minutes")
    if minutes is not None and float(minutes) != job.saved["options"].get("minutes"):
        if not plan.get("rate"):
            raise UsageError(
                f"--minutes {minutes}: the speed of {job.run.path} was never measured; give --steps or --images"
            )
        return max(1, round(float(minutes) * 60 * float(plan["rate"]) / batch))
    return int(plan["total"])


def fix(
    job: Job, trainer: Trainer, batches: Batches, watch: Watch, began: float, world: World
) -> tuple[Plan, float | None]:
    """Fix a run's plan, and its speed in pictures per second (None where it is too short to measure).

    The leader's clock decides for all processes.

    began: time.perf_counter() when the command began; what has passed since counts towards its minutes.
    """
    settings, saved = job.settings, (job.saved or {}).get("plan", {})
    total, rate, previews = asked(job), saved.get("rate"), PREVIEWS
    if total is None or (rate is None and total >= FEW_STEPS):
        minutes = settings.minutes or 1.0
        speed = measure_speed(trainer, batches, min(6.0, minutes * 60 / 20), world)
        measured = [speed]
        world.lead(lambda: measured.append(_with_writing(speed, trainer, watch, settings.evaluate_every != 0)))
        speed = measured[-1]
        if total is None:
            seconds = minutes * 60 - (time.perf_counter() - began)
            previews = _previews(speed, seconds)
            total = _fitting(job, speed, seconds, previews)
        rate = settings.batch_size * total / (total * speed.step + speed.aside(_plan(job, total, previews)))
    total, rate, previews = world.tell([total, rate, previews])
    return _plan(job, total, previews), rate


def _previews(speed: Speed, seconds: float) -> int:
    """How often a run of so many seconds shows and saves what it has come to."""
    return max(2, min(PREVIEWS, int(PREVIEWED * seconds / max(speed.preview, 1e-6))))


def _fitting(job: Job, speed: Speed, seconds: float, previews: int) -> int:
    """Steps that fit into so many seconds with all that is done beside them."""
    total = max(1, int(seconds / speed.step))
    for _ in range(ROUNDS):  # how often something is done depends on the number of steps
        total = max(1, int((seconds - speed.aside(_plan(job, total, previews))) / speed.step))
    return total


def _plan(job: Job, total: int, previews: int) -> Plan:
    """What a run of `total` steps does when, with so many previews; a resumed run keeps what it began with."""
    settings, saved = job.settings, (job.saved or {}).get("plan", {})
    part = max(1, math.ceil(total / previews))
    checkpoint_every = settings.checkpoint_every or int(saved.get("checkpoint_every", part))
    preview_every = settings.preview_every or int(saved.get("preview_every", checkpoint_every))
    evaluate_every = settings.evaluate_every
    if evaluate_every is None:
        folds = isinstance(settings, VAESettings)
        default = spacing(total, settings.batch_size, preview_every, folds)
        evaluate_every = int(saved.get("evaluate_every", default))
    on_collapse = settings.on_collapse if isinstance(settings, GANSettings) else "ignore"
    return Plan(total, checkpoint_every, preview_every, settings.log_every, settings.keep, evaluate_every, on_collapse)
