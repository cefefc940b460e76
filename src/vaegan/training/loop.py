"""The one loop that drives both trainers. It prints nothing: it emits events."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import Tensor

from vaegan.data.batches import Batches
from vaegan.errors import Interrupted, VaeganError
from vaegan.events import Alarmed, Emit, Event, Finished, Measured, Progress, Skipped, Warned, Wrote
from vaegan.images import save_png
from vaegan.run import Run, metrics_of, read_checkpoint
from vaegan.training.alarms import Alarms
from vaegan.training.distributed import World
from vaegan.training.guard import IN_A_ROW, RETREATS, Guard
from vaegan.training.interruption import Stop
from vaegan.training.shares import Shares
from vaegan.training.tally import Tally
from vaegan.training.watch import Watch

TICK_SECONDS = 0.5


class Trainer(Protocol):
    """What the loop drives."""

    kind: str
    rate_scale: float  # what the learning rates are multiplied by
    shares: Shares

    def step(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """Take step number `step` (from 0) on uint8 [B, C, S, S] and return scalars worth logging.

        Returns nothing where an update was left out, because a number in it was not finite.
        """

    def measure(self) -> dict[str, float]:
        """Return numbers worked out beside the steps."""

    def conclusion(self, numbers: Mapping[str, float], images: int) -> list[Event]:
        """Say in words what the newest of those numbers mean at the end, after `images` pictures."""

    def preview(self) -> Tensor:
        """Return a picture sheet, uint8 [C, H, W]."""

    def samples(self, count: int) -> Tensor:
        """Return pictures uint8 [count, C, S, S] of the averaged weights, of the same latents every time."""

    def stateful(self) -> dict[str, Tensor]:
        """Return every tensor that going on needs."""

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Put back what `stateful` gave."""

    def publish(self, path: Path, step: int, kid: float | None = None) -> None:
        """Write the published weights; `kid` is what they scored."""


@dataclass(frozen=True)
class Plan:
    """Fixed numbers of a run, in steps."""

    total: int
    checkpoint_every: int
    preview_every: int
    log_every: int
    keep: int
    evaluate_every: int


@dataclass
class Session:
    """One stretch of training: from a step to the plan's end, or until someone wishes to stop.

    With several processes every one of them runs the same steps; the first alone writes.
    """

    trainer: Trainer
    batches: Batches
    run: Run
    plan: Plan
    emit: Emit
    world: World
    watch: Watch
    tally: Tally = field(default_factory=Tally)
    guard: Guard = field(default_factory=Guard)
    alarms: Alarms = field(default_factory=Alarms)
    numbers: dict[str, float] = field(default_factory=dict)

    def restore(self, path: Path) -> int:
        """Take all from the checkpoint at `path` and return its step. Raises VaeganError when it does not fit."""
        checkpoint = read_checkpoint(path)
        self.trainer.restore(checkpoint.tensors, path)
        self.tally.restore(checkpoint.tensors, self.batches.device)
        self.guard.restore(checkpoint.tensors)
        self.trainer.rate_scale = self.guard.rate_scale
        self.watch.remember(self.run.best)
        return checkpoint.step

    def go(self, start: int, stop: Stop) -> None:
        """Train from `start`. Raises Interrupted once saved, VaeganError where the numbers do not stay finite."""
        plan, done, began = self.plan, start, time.perf_counter()
        meter = Meter(start, self.batches.batch_size)
        if self.world.any(stop.wished):
            raise Interrupted(f"interrupted before step {start + 1}: nothing is lost")
        if start == 0:
            self._preview(0)
            self._evaluate(0)
        while done < plan.total:
            begun, done = done, self._step(done)
            if done <= begun:  # the run went back to a checkpoint: what is due there was done
                meter.start(done)
                continue
            self._progress(done, meter)
            if done % plan.preview_every == 0 or done == plan.total:
                self._preview(done)
            if plan.evaluate_every and (done % plan.evaluate_every == 0 or done == plan.total):
                self._evaluate(done)
            stopping = self.world.any(stop.wished)
            planned = self._plans(done)
            if planned or stopping:
                self._save(done, planned)
            if stopping and done < plan.total:
                raise Interrupted(f"interrupted at step {done}; saved. Run the same command again to go on")
            if planned or done % plan.preview_every == 0:
                meter.start(done)
        images = plan.total * self.batches.batch_size
        for event in self.trainer.conclusion(self.numbers, images):
            self.emit(event)
        self.emit(Finished(self.trainer.kind, time.perf_counter() - began, plan.total, images))

    def _step(self, step: int) -> int:
        """Take a step, and say how many are done then: one more, or fewer where the run had to go back."""
        metrics = self.trainer.step(self.batches[step], step)
        self.tally.add(metrics)
        go_back = self.guard.take(not metrics)
        if not metrics:
            self.emit(Skipped(step + 1, self.guard.skipped))
        return self._go_back(step + 1) if go_back else step + 1

    def _go_back(self, done: int) -> int:
        """Return to the last planned checkpoint with half the learning rate. Raises VaeganError the fourth time."""
        guard = self.guard
        if guard.exhausted:
            raise VaeganError(
                f"the gradients are no longer finite at step {done}, and going back {RETREATS} times with half the"
                f" learning rate each time did not help: begin another run with a lower learning rate ({self._rates()})"
                " or --precision fp32"
            )
        retreats, skipped = guard.retreats, guard.skipped
        path = self.world.tell(str(self.run.newest(self.emit, planned=True) or "") if self.world.leads else "")
        step = self.world.together(lambda: self.restore(Path(path))) if path else done
        guard.retreats, guard.skipped = retreats, skipped
        guard.retreat()
        self.trainer.rate_scale = guard.rate_scale
        if path:
            self.world.lead(lambda: self.run.cut_metrics(step))
            self.remember()
        back = f"back to step {step}" if path else "going on from here, as there is no checkpoint yet,"
        self.emit(
            Warned(
                f"{IN_A_ROW} steps in a row had gradients that are not finite: {back} with half the learning rate"
                f" ({guard.retreats} of {RETREATS} times)"
            )
        )
        return step

    def _rates(self) -> str:
        return "--lr" if self.trainer.kind == "vae" else "--lr-g, --lr-d"

    def _progress(self, done: int, meter: Meter) -> None:
        log = done % self.plan.log_every == 0 or done == self.plan.total
        if not (log or meter.due()):
            return
        metrics = self.tally.take() if log else {}
        if log and self.guard.skipped:
            metrics["skipped"] = float(self.guard.skipped)
        if log and self.guard.retreats:
            metrics["retreats"] = float(self.guard.retreats)
        rate = meter.rate(done)
        self.emit(Progress(done, self.plan.total, done * self.batches.batch_size, rate, metrics))
        self._hear(done, metrics)

    def _preview(self, done: int) -> None:
        self.world.lead(lambda: self._write_preview(done))

    def _write_preview(self, done: int) -> None:
        path = self.run.preview(done)
        save_png(self.trainer.preview(), path, f"{self.trainer.kind} preview at step {done}")
        self.emit(Wrote("preview", path, done))
        # an average that has overflowed is no reason to stop, and JSON has no word for it
        numbers = {name: value for name, value in self.trainer.measure().items() if math.isfinite(value)}
        self.numbers = numbers
        if numbers:
            self.emit(Measured(done, done * self.batches.batch_size, numbers))
            self._hear(done, numbers)

    def _hear(self, done: int, numbers: Mapping[str, float]) -> None:
        """Sound the alarms that these numbers begin; a VAE's are said at its end."""
        if self.trainer.kind == "gan" and numbers and self.world.leads:
            images = done * self.batches.batch_size
            for name, text in self.alarms.hear(images, numbers).items():
                self.emit(Alarmed(done, images, name, text))

    def remember(self) -> None:
        """Take from metrics.jsonl what the alarms have heard up to here."""
        self.alarms = Alarms()
        if self.world.leads:
            for line in metrics_of(self.run):
                self.alarms.hear(int(line.get("images", 0)), line)

    def _evaluate(self, done: int) -> None:
        """Look at samples; keep the weights that score best."""
        if self.watch.able and self.plan.evaluate_every:
            self.world.lead(lambda: self._look(done))

    def _look(self, done: int) -> None:
        numbers = self.watch.look(self.trainer.samples(self.watch.pictures))
        self.emit(Measured(done, done * self.batches.batch_size, numbers))
        self._hear(done, numbers)
        if done and self.watch.improves(numbers["kid"]):
            self.trainer.publish(self.run.best, done, numbers["kid"])
            self.emit(Wrote("best", self.run.best, done))

    def _plans(self, done: int) -> bool:
        """Say whether to save now. Not amid steps that are left out: the newest checkpoint is to be a good one."""
        plan = self.plan
        return done == plan.total or (done % plan.checkpoint_every == 0 and not self.guard.in_a_row)

    def _save(self, done: int, planned: bool) -> None:
        self.world.lead(lambda: self._write_checkpoint(done, planned))

    def _write_checkpoint(self, done: int, planned: bool) -> None:
        tensors = self.trainer.stateful() | self.tally.stateful() | self.guard.stateful()
        publish = partial(self.trainer.publish, step=done)
        path = self.run.save(done, tensors, publish, self.plan.keep, planned)
        self.emit(Wrote("checkpoint", path, done))


class Meter:
    """Pictures per second over the last seconds, without previews and checkpoints."""

    def __init__(self, done: int, batch: int) -> None:
        """Start at step `done`; `batch` pictures a step."""
        self.batch, self.last, self.told = batch, 0.0, 0.0
        self.start(done)

    def start(self, done: int) -> None:
        """Count from here."""
        self.counted, self.since = done, time.perf_counter()

    def due(self) -> bool:
        """Say whether it is time to tell something."""
        return time.perf_counter() - self.told > TICK_SECONDS

    def rate(self, done: int) -> float:
        """Pictures per second until step `done`."""
        now = time.perf_counter()
        if now - self.since > 2 or not self.last:
            self.last = max(done - self.counted, 0) * self.batch / max(now - self.since, 1e-9)
            self.start(done)
        self.told = now
        return self.last
