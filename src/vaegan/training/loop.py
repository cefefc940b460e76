"""The one loop that drives both trainers. It prints nothing: it emits events."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vaegan.checkpoint import under
from vaegan.data.batches import Batches
from vaegan.errors import Interrupted, VaeganError
from vaegan.events import Emit, Finished, Measured, Progress, Wrote
from vaegan.images import save_png
from vaegan.run import Run
from vaegan.training.watch import Watch

TICK_SECONDS = 0.5


class Trainer(Protocol):
    """What the loop drives."""

    kind: str

    def step(self, pictures: Tensor, step: int) -> dict[str, Tensor]:
        """Take step number `step` (from 0) on uint8 [B, C, S, S] and return scalars worth logging."""

    def measure(self) -> dict[str, float]:
        """Return numbers worked out beside the steps."""

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


class Stop:
    """A wish to stop, which the loop grants after the step at hand."""

    def __init__(self) -> None:
        """Nothing is wished yet."""
        self.wished = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM wish; a second one interrupts at once. Only in the main thread."""

        def wish(number: int, frame: object) -> None:
            if self.wished:
                raise Interrupted("interrupted at once: the last checkpoint is whole, the steps since are lost")
            self.wished = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Tally:
    """Means of the steps' scalars since the last line; kept on the device, read once per line."""

    def __init__(self) -> None:
        """Start empty."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Take in one step's scalars; a scalar may be missing in some steps."""
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """Return the means and start again."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means

    def stateful(self) -> dict[str, Tensor]:
        """As tensors [sum, count] by name."""
        return {
            f"tally.{name}": torch.stack([total.double().cpu(), torch.tensor(float(self.counts[name])).double()])
            for name, total in self.sums.items()
        }

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Put back what `stateful` gave."""
        for name, pair in under(tensors, "tally").items():
            self.sums[name], self.counts[name] = pair[0].float().to(device), int(pair[1])


@dataclass
class Session:
    """One stretch of training: from a step to the plan's end, or until someone wishes to stop."""

    trainer: Trainer
    batches: Batches
    run: Run
    plan: Plan
    emit: Emit
    tally: Tally
    watch: Watch

    def go(self, start: int, stop: Stop) -> None:
        """Train from `start`. Raises Interrupted once saved, VaeganError on a loss that is no number."""
        began, counted, counted_at, ticked = time.perf_counter(), start, time.perf_counter(), 0.0
        rate, plan, batch = 0.0, self.plan, self.batches.batch_size
        if start == 0:
            self._preview(0)
            self._evaluate(0)
        for step in range(start, plan.total):
            self.tally.add(self.trainer.step(self.batches[step], step))
            done, now = step + 1, time.perf_counter()
            log = done % plan.log_every == 0 or done == plan.total
            if log or now - ticked > TICK_SECONDS:
                if now - counted_at > 2 or not rate:
                    rate = (done - counted) * batch / max(now - counted_at, 1e-9)
                    counted, counted_at = done, now
                self._progress(done, rate, log)
                ticked = now
            last = done == plan.total or stop.wished
            if done % plan.preview_every == 0 or done == plan.total:
                self._preview(done)
            if plan.evaluate_every and (done % plan.evaluate_every == 0 or done == plan.total):
                self._evaluate(done)
            if done % plan.checkpoint_every == 0 or last:
                self._save(done)
            if stop.wished and done < plan.total:
                raise Interrupted(f"interrupted at step {done}; saved. Run the same command again to go on")
            if done % plan.checkpoint_every == 0 or done % plan.preview_every == 0:
                counted, counted_at = done, time.perf_counter()
        self.emit(Finished(self.trainer.kind, time.perf_counter() - began, plan.total, plan.total * batch))

    def _progress(self, done: int, rate: float, log: bool) -> None:
        metrics = self.tally.take() if log else {}
        self._check(metrics, done)
        self.emit(Progress(done, self.plan.total, done * self.batches.batch_size, rate, metrics))

    def _check(self, metrics: Mapping[str, float], done: int) -> None:
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            saved = self.run.checkpoints()
            kept = f"{saved[-1]} is the last good state" if saved else "nothing was saved yet"
            raise VaeganError(
                f"{bad[0]} is no longer a finite number at step {done}; {kept}:"
                " try a lower learning rate, --precision fp32, or another --seed"
            )

    def _preview(self, done: int) -> None:
        path = self.run.preview(done)
        save_png(self.trainer.preview(), path, f"{self.trainer.kind} preview at step {done}")
        self.emit(Wrote("preview", path, done))
        numbers = self.trainer.measure()
        self._check(numbers, done)
        if numbers:
            self.emit(Measured(done, done * self.batches.batch_size, numbers))

    def _evaluate(self, done: int) -> None:
        """Look at samples; keep the weights that score best."""
        if not self.watch.able or not self.plan.evaluate_every:
            return
        numbers = self.watch.look(self.trainer.samples(self.watch.pictures))
        self.emit(Measured(done, done * self.batches.batch_size, numbers))
        if done and self.watch.improves(numbers["kid"]):
            self.trainer.publish(self.run.best, done, numbers["kid"])
            self.emit(Wrote("best", self.run.best, done))

    def _save(self, done: int) -> None:
        self._check({name: float(value) for name, value in self.tally.sums.items()}, done)
        tensors = self.trainer.stateful() | self.tally.stateful()
        path = self.run.save(done, tensors, lambda place: self.trainer.publish(place, done), self.plan.keep)
        self.emit(Wrote("checkpoint", path, done))
