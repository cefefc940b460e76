"""The one loop that drives both trainers. It prints nothing: it emits events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vaegan.checkpoint import read_checkpoint
from vaegan.data.sampler import Batches
from vaegan.errors import Interrupted, VaeganError
from vaegan.events import Alarmed, Emit, Finished, Progress, Retreated, Skipped, Wrote
from vaegan.run_dir import Run
from vaegan.training.averager import Tally
from vaegan.training.distributed import World
from vaegan.training.monitor import Lookout
from vaegan.training.recovery import IN_A_ROW, RETREATS, ROLLBACKS, Guard
from vaegan.training.signals import Stop
from vaegan.training.trainer import Trainer
from vaegan.training.validation import Watch

TICK_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """Fixed numbers of a run, in steps, and what is done where its samples collapse: stop, rollback or ignore."""

    total: int
    checkpoint_every: int
    preview_every: int
    log_every: int
    keep: int
    evaluate_every: int
    on_collapse: str = "ignore"


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
    lookout: Lookout = field(init=False)

    def __post_init__(self) -> None:
        """Look at what is trained."""
        self.lookout = Lookout(self.trainer, self.run, self.emit, self.watch, self.batches.batch_size)

    def restore(self, path: Path) -> int:
        """Take all from the checkpoint at `path` and return its step. Raises VaeganError when it does not fit."""
        checkpoint = read_checkpoint(path)
        self.trainer.restore(checkpoint.tensors, path)
        self.tally.restore(checkpoint.tensors, self.batches.device)
        self.guard.restore(checkpoint.tensors)
        self.watch.restore(checkpoint.tensors, self.run.best)
        self._soften()
        return checkpoint.step

    def go(self, start: int, stop: Stop) -> None:
        """Train from `start`. Raises Interrupted once saved, VaeganError where it cannot or shall not go on."""
        plan, done, began = self.plan, start, time.perf_counter()
        meter = Meter(start, self.batches.batch_size)
        if self.world.any(stop.wished):
            raise Interrupted(f"interrupted before step {start + 1}: nothing is lost")
        if start == 0:
            self.world.lead(lambda: self.lookout.preview(0))
            self._evaluate(0)
        while done < plan.total:
            begun, done = done, self._step(done)
            if done > begun:
                self._progress(done, meter)
                done = self._look(done)
            if done <= begun:  # the run went back to a checkpoint: what is due there was done
                meter.start(done)
                continue
            stopping = self.world.any(stop.wished)
            planned = self._plans(done)
            saves = planned or stopping or self._scored_best(done)
            if saves:
                self._save(done, planned)
            if stopping and done < plan.total:
                raise Interrupted(f"interrupted at step {done}; saved. Run the same command again to go on")
            if saves or done % plan.preview_every == 0:
                meter.start(done)
        images = self._images(plan.total)
        self.world.lead(lambda: self.lookout.conclude(images))
        self.emit(Finished(self.trainer.kind, time.perf_counter() - began, plan.total, images))

    def remember(self) -> None:
        """Let the alarms hear again what metrics.jsonl holds."""
        self.world.lead(self.lookout.remember)

    def _images(self, done: int) -> int:
        return done * self.batches.batch_size

    def _step(self, step: int) -> int:
        """Take a step, and say how many are done then: one more, or fewer where the run had to go back."""
        metrics = self.trainer.step(self.batches[step], step)
        self.tally.add(metrics)
        go_back = self.guard.take(not metrics)
        if not metrics:
            self.emit(Skipped(step + 1, self.guard.skipped))
        return self._not_finite(step + 1) if go_back else step + 1

    def _progress(self, done: int, meter: Meter) -> None:
        log = done % self.plan.log_every == 0 or done == self.plan.total
        if not (log or meter.due()):
            return
        metrics = self.tally.take() if log else {}
        if log and self.guard.skipped:
            metrics["skipped"] = float(self.guard.skipped)
        if log and self.guard.went_back:
            metrics["retreats"] = float(self.guard.went_back)
        self.emit(Progress(done, self.plan.total, self._images(done), meter.rate(done), metrics))
        if self.world.leads:  # the clock may have asked for this on one rank alone
            self.lookout.hear(done, metrics)

    def _look(self, done: int) -> int:
        """Look at what is due, and say how many steps are done then: fewer where the run went back from a collapse."""
        plan = self.plan
        if done % plan.preview_every == 0 or done == plan.total:
            self.world.lead(lambda: self.lookout.preview(done))
        if plan.evaluate_every and (done % plan.evaluate_every == 0 or done == plan.total):
            return self._evaluate(done)
        return done

    def _evaluate(self, done: int) -> int:
        """Look at samples; where they begin to show mode collapse, do as --on-collapse says."""
        if not (self.watch.able and self.plan.evaluate_every):
            return done
        began: list[str] = []
        self.world.lead(lambda: began.extend(self.lookout.evaluate(done)))
        alarms, best, step = self.world.tell([began, str(self.watch.best), self.watch.best_step])
        self.watch.best, self.watch.best_step = float(best), step
        return self._collapsed(done, alarms) if alarms and done and self.plan.on_collapse != "ignore" else done

    def _scored_best(self, done: int) -> bool:
        """Say whether this step's state is the one that a collapse would go back to."""
        return self.plan.on_collapse == "rollback" and done == self.watch.best_step and not self.guard.in_a_row

    def _plans(self, done: int) -> bool:
        """Say whether to save now. Not amid steps that are left out: the newest checkpoint is to be a good one."""
        plan = self.plan
        return done == plan.total or (done % plan.checkpoint_every == 0 and not self.guard.in_a_row)

    def _save(self, done: int, planned: bool) -> None:
        best = self.watch.best_step if self.plan.on_collapse == "rollback" else None
        self.world.lead(lambda: self._write_checkpoint(done, planned, best))

    def _write_checkpoint(self, done: int, planned: bool, best: int | None) -> None:
        holders = (self.trainer, self.tally, self.guard, self.watch)
        tensors = {name: tensor for holder in holders for name, tensor in holder.stateful().items()}
        publish = partial(self.trainer.publish, step=done)
        path = self.run.save(done, tensors, publish, self.plan.keep, planned, best)
        self.emit(Wrote("checkpoint", path, done))

    def _not_finite(self, done: int) -> int:
        """Return to the last good checkpoint with half the learning rate. Raises VaeganError the fourth time."""
        if self.guard.exhausted:
            raise VaeganError(
                f"the gradients are no longer finite at step {done}, and going back {RETREATS} times with half the"
                f" learning rate each time did not help: begin another run with a lower learning rate ({self._rates()})"
                " or --precision fp32"
            )
        self.guard.retreat()
        return self._go_back(
            done,
            lambda: self.run.newest(self.emit, planned=True),
            f"{IN_A_ROW} steps in a row had gradients that are not finite",
            f"half the learning rate ({self.guard.retreats} of {RETREATS} times)",
        )

    def _rates(self) -> str:
        return "--lr" if self.trainer.kind == "vae" else "--lr-g, --lr-d"

    def _collapsed(self, done: int, alarms: list[str]) -> int:
        """Do as --on-collapse says: stop (raises VaeganError), or go back to what scored best, at most twice."""
        found = f"mode collapse at step {done} ({', '.join(alarms)})"
        if self.plan.on_collapse == "stop":
            self._save(done, self._plans(done))
            self.world.lead(partial(_stop, found))
        if self.guard.tired:
            text = (
                f"mode collapse again ({', '.join(alarms)}): going back {ROLLBACKS} times with gentler settings did not"
                " help, so training goes on as it is. Sample what scored best with --best, or begin another run with a"
                " higher --gamma, a lower --lr-g or more pictures"
            )
            self.emit(Alarmed(done, self._images(done), "collapsed_again", text))
            return done
        self.guard.collapse()
        return self._go_back(
            done,
            lambda: self.run.whole(self.watch.best_step),
            found,
            f"half the learning rates and twice the gamma ({self.guard.collapses} of {ROLLBACKS} times)",
        )

    def _go_back(self, done: int, find: Callable[[], Path | None], why: str, how: str) -> int:
        """Return to the checkpoint that `find` gives, with the guard's newest counts, and say so; return its step.

        Without one the run goes on from here. The order lets a kill come at any instant: until the checkpoint holds the
        new counts, a resumed run comes to the same point again, since `Run.cut_metrics` drops what it would then say
        twice; from then on, what came after the checkpoint is only in the way.
        """
        counts, best, found = replace(self.guard), (self.watch.best, self.watch.best_step), list[str]()
        self.world.lead(lambda: found.append(str(find() or "")))
        path = self.world.tell(found)[0]
        step = self.world.together(lambda: self.restore(Path(path))) if path else done
        self.guard, (self.watch.best, self.watch.best_step) = counts, best
        self._soften()
        back = f"back to step {step}" if path else "going on from here, as there is no checkpoint yet,"
        again = f"; {done - step} steps are taken again" if path else ""
        self.emit(Retreated(step, self._images(step), counts.went_back, f"{why}: {back} with {how}{again}"))
        if path:
            self._save(step, self.run.plans(Path(path)))
            self.world.lead(lambda: self.run.rewind(step, counts.went_back))
            self.remember()
        return step

    def _soften(self) -> None:
        """Train as gently as the guard's counts say."""
        self.trainer.rate_scale, self.trainer.penalty_scale = self.guard.rate_scale, self.guard.penalty_scale


def _stop(found: str) -> None:
    """Raise VaeganError: the user wants a run to end that collapsed, as `found` says."""
    raise VaeganError(
        f"{found}: stopped and saved, as --on-collapse stop says. Sample what scored best with --best, begin another"
        " run with a higher --gamma or a lower --lr-g, or run the same command again to go on"
    )


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
