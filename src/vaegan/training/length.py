"""How long a run is: steps, pictures or minutes, fixed once in steps so that no clock decides anything later."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from vaegan.data.batches import Batches
from vaegan.errors import UsageError
from vaegan.settings import PRESETS, GANSettings, VAESettings
from vaegan.training.distributed import World
from vaegan.training.job import Job
from vaegan.training.loop import Plan
from vaegan.training.trainer import Trainer
from vaegan.training.watch import spacing

TYPICAL_STEP = 2**20
CYCLE = 8
PREVIEWS = 10
FEW_STEPS = 100


@dataclass(frozen=True)
class Speed:
    """Seconds that a typical step takes, and those that the checkpoints and previews of a run take in all."""

    step: float
    aside: float


def measure_speed(trainer: Trainer, batches: Batches, seconds: float, world: World) -> Speed:
    """Time typical steps for about `seconds`, and a preview; the trainer is left as it was."""
    before = {name: tensor.clone() for name, tensor in trainer.stateful().items()}
    laps: list[float] = []
    step, began = TYPICAL_STEP, time.perf_counter()
    while len(laps) < 2 or not world.any(time.perf_counter() - began >= seconds):
        lap = time.perf_counter()
        for _ in range(CYCLE):  # a whole cycle of lazy penalties
            metrics = trainer.step(batches[step], step)
            step += 1
        sum(float(value) for value in metrics.values())  # wait for the device
        laps.append((time.perf_counter() - lap) / CYCLE)
    trainer.restore(before, Path("the state before timing"))
    trainer.preview()  # the first one pays for imports
    trainer.restore(before, Path("the state before timing"))
    aside = time.perf_counter()
    trainer.preview()
    trainer.drift()
    trainer.measure()
    aside = time.perf_counter() - aside
    return Speed(sum(laps[1:]) / len(laps[1:]), PREVIEWS * aside)


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


def fix(job: Job, trainer: Trainer, batches: Batches, began: float, world: World) -> tuple[Plan, float | None]:
    """Fix a run's plan, and its speed in pictures per second (None where it is too short to measure).

    The leader's clock decides for all processes.

    began: time.perf_counter() when the command began; what has passed since counts towards its minutes.
    """
    settings, saved = job.settings, (job.saved or {}).get("plan", {})
    total, rate = asked(job), saved.get("rate")
    if total is None or (rate is None and total >= FEW_STEPS):
        minutes = settings.minutes or 1.0
        speed = measure_speed(trainer, batches, min(6.0, minutes * 60 / 20), world)
        if total is None:
            left = minutes * 60 - (time.perf_counter() - began) - speed.aside
            total = max(1, int(left / speed.step))
        rate = settings.batch_size * total / (total * speed.step + speed.aside)
    total, rate = world.tell([total, rate])
    tenth = max(1, math.ceil(total / PREVIEWS))
    checkpoint_every = settings.checkpoint_every or int(saved.get("checkpoint_every", tenth))
    preview_every = settings.preview_every or int(saved.get("preview_every", checkpoint_every))
    evaluate_every = settings.evaluate_every
    if evaluate_every is None:
        folds = isinstance(settings, VAESettings)
        default = spacing(total, settings.batch_size, preview_every, folds)
        evaluate_every = int(saved.get("evaluate_every", default))
    on_collapse = settings.on_collapse if isinstance(settings, GANSettings) else "ignore"
    plan = Plan(total, checkpoint_every, preview_every, settings.log_every, settings.keep, evaluate_every, on_collapse)
    return plan, rate
