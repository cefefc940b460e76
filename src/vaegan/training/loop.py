"""The one loop that drives both trainers. It prints nothing: it emits events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vaegan.checkpoint import read_checkpoint
from vaegan.data.sampler import BatchSampler
from vaegan.errors import Interrupted, VaeganError
from vaegan.events import Alarm, EventHandler, FileWritten, Rollback, SkippedStep, TrainingFinished, TrainingProgress
from vaegan.run_dir import RunDir
from vaegan.training.averager import MetricAverager
from vaegan.training.distributed import DistributedContext
from vaegan.training.monitor import TrainMonitor
from vaegan.training.recovery import MAX_COLLAPSE_ROLLBACKS, MAX_CONSECUTIVE_SKIPS, MAX_NAN_ROLLBACKS, RecoveryState
from vaegan.training.signals import StopRequest
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator

PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class TrainSchedule:
    """Fixed numbers of a run, in steps, and what is done where its samples collapse: stop, rollback or ignore."""

    total_steps: int
    checkpoint_every: int
    sample_every: int
    log_every: int
    keep_checkpoints: int
    evaluate_every: int
    on_collapse: str = "ignore"


@dataclass
class TrainLoop:
    """One stretch of training: from a step to the plan's end, or until someone wishes to stop.

    With several processes every one of them runs the same steps; the first alone writes.
    """

    trainer: Trainer
    sampler: BatchSampler
    run_dir: RunDir
    schedule: TrainSchedule
    emit: EventHandler
    dist_ctx: DistributedContext
    evaluator: QuickEvaluator
    averager: MetricAverager = field(default_factory=MetricAverager)
    recovery: RecoveryState = field(default_factory=RecoveryState)
    monitor: TrainMonitor = field(init=False)

    def __post_init__(self) -> None:
        """Look at what is trained."""
        self.monitor = TrainMonitor(self.trainer, self.run_dir, self.emit, self.evaluator, self.sampler.batch_size)

    def load_checkpoint(self, path: Path) -> int:
        """Take all from the checkpoint at `path` and return its step. Raises VaeganError when it does not fit."""
        checkpoint = read_checkpoint(path)
        self.trainer.load_state_dict(checkpoint.tensors, path)
        self.averager.load_state_dict(checkpoint.tensors, self.sampler.device)
        self.recovery.load_state_dict(checkpoint.tensors)
        self.evaluator.load_state_dict(checkpoint.tensors)
        self._apply_recovery_scales()
        return checkpoint.step

    def run(self, start: int, stop: StopRequest) -> None:
        """Train from `start`. Raises Interrupted once saved, VaeganError where it cannot or shall not go on."""
        plan, done, began = self.schedule, start, time.perf_counter()
        meter = ThroughputMonitor(start, self.sampler.batch_size)
        if self.dist_ctx.any_rank(stop.requested):
            raise Interrupted(f"interrupted before step {start + 1}: nothing is lost")
        if start == 0:
            self.dist_ctx.run_on_main(lambda: self.monitor.write_preview(0))
            self._evaluate(0)
        while done < plan.total_steps:
            begun, done = done, self._take_step(done)
            if done > begun:
                self._report_progress(done, meter)
                done = self._preview_and_validate(done)
            if done <= begun:  # the run went back to a checkpoint: what is due there was done
                meter.reset(done)
                continue
            stopping = self.dist_ctx.any_rank(stop.requested)
            planned = self._is_checkpoint_due(done)
            saves = planned or stopping or self._is_new_best(done)
            if saves:
                self._save_checkpoint(done, planned)
            if stopping and done < plan.total_steps:
                raise Interrupted(f"interrupted at step {done}; saved. Run the same command again to go on")
            if saves or done % plan.sample_every == 0:
                meter.reset(done)
        images = self._images_seen(plan.total_steps)
        self.dist_ctx.run_on_main(lambda: self.monitor.emit_final_messages(images))
        self.emit(TrainingFinished(self.trainer.kind, time.perf_counter() - began, plan.total_steps, images))

    def replay_metrics_log(self) -> None:
        """Let the alarms hear again what metrics.jsonl holds."""
        self.dist_ctx.run_on_main(self.monitor.replay_metrics_log)

    def _images_seen(self, steps_done: int) -> int:
        return steps_done * self.sampler.batch_size

    def _take_step(self, step: int) -> int:
        """Take a step, and say how many are done then: one more, or fewer where the run had to go back."""
        metrics = self.trainer.step(self.sampler[step], step) or {}
        self.averager.add(metrics)
        go_back = self.recovery.record_step(not metrics)
        if not metrics:
            self.emit(SkippedStep(step + 1, self.recovery.skipped_steps))
        return self._recover_from_nan(step + 1) if go_back else step + 1

    def _report_progress(self, steps_done: int, throughput: ThroughputMonitor) -> None:
        log = steps_done % self.schedule.log_every == 0 or steps_done == self.schedule.total_steps
        if not (log or throughput.is_due()):
            return
        metrics = self.averager.pop_means() if log else {}
        if log and self.recovery.skipped_steps:
            metrics["skipped_steps"] = float(self.recovery.skipped_steps)
        if log and self.recovery.num_rollbacks:
            metrics["rollbacks"] = float(self.recovery.num_rollbacks)
        self.emit(
            TrainingProgress(
                steps_done,
                self.schedule.total_steps,
                self._images_seen(steps_done),
                throughput.images_per_second(steps_done),
                metrics,
            )
        )
        if self.dist_ctx.is_main_process:  # the clock may have asked for this on one rank alone
            self.monitor.check_alarms(steps_done, metrics)

    def _preview_and_validate(self, steps_done: int) -> int:
        """Look at what is due, and say how many steps are done then: fewer where the run went back from a collapse."""
        plan = self.schedule
        if steps_done % plan.sample_every == 0 or steps_done == plan.total_steps:
            self.dist_ctx.run_on_main(lambda: self.monitor.write_preview(steps_done))
        if plan.evaluate_every and (steps_done % plan.evaluate_every == 0 or steps_done == plan.total_steps):
            return self._evaluate(steps_done)
        return steps_done

    def _evaluate(self, steps_done: int) -> int:
        """Look at samples; where they begin to show mode collapse, do as --on-collapse says."""
        if not (self.evaluator.is_enabled and self.schedule.evaluate_every):
            return steps_done
        began: list[str] = []
        self.dist_ctx.run_on_main(lambda: began.extend(self.monitor.evaluate(steps_done)))
        alarms, best, step = self.dist_ctx.broadcast([began, str(self.evaluator.best_kid), self.evaluator.best_step])
        self.evaluator.best_kid, self.evaluator.best_step = float(best), step
        return (
            self._recover_from_collapse(steps_done, alarms)
            if alarms and steps_done and self.schedule.on_collapse != "ignore"
            else steps_done
        )

    def _is_new_best(self, steps_done: int) -> bool:
        """Say whether this step's state is the one that a collapse would go back to."""
        return (
            self.schedule.on_collapse == "rollback"
            and steps_done == self.evaluator.best_step
            and not self.recovery.consecutive_skips
        )

    def _is_checkpoint_due(self, steps_done: int) -> bool:
        """Say whether to save now. Not amid steps that are left out: the newest checkpoint is to be a good one."""
        plan = self.schedule
        return steps_done == plan.total_steps or (
            steps_done % plan.checkpoint_every == 0 and not self.recovery.consecutive_skips
        )

    def _save_checkpoint(self, steps_done: int, is_scheduled: bool) -> None:
        best = self.evaluator.best_step if self.schedule.on_collapse == "rollback" else None
        self.dist_ctx.run_on_main(lambda: self._write_checkpoint(steps_done, is_scheduled, best))

    def _write_checkpoint(self, steps_done: int, is_scheduled: bool, best_step: int | None) -> None:
        holders = (self.trainer, self.averager, self.recovery, self.evaluator)
        tensors = {name: tensor for holder in holders for name, tensor in holder.state_dict().items()}
        publish = partial(self.trainer.save_weights, step=steps_done)
        path = self.run_dir.save_checkpoint(
            steps_done, tensors, publish, self.schedule.keep_checkpoints, is_scheduled, best_step
        )
        self.emit(FileWritten("checkpoint", path, steps_done))

    def _recover_from_nan(self, steps_done: int) -> int:
        """Return to the last good checkpoint with half the learning rate. Raises VaeganError the fourth time."""
        if self.recovery.nan_rollbacks_exhausted:
            raise VaeganError(
                f"the gradients are no longer finite at step {steps_done}, and going back {MAX_NAN_ROLLBACKS} times with half the"
                f" learning rate each time did not help: begin another run with a lower learning rate ({self._lr_flags()})"
                " or --precision fp32"
            )
        self.recovery.record_nan_rollback()
        return self._rollback(
            steps_done,
            lambda: self.run_dir.latest_checkpoint(self.emit, scheduled_only=True),
            f"{MAX_CONSECUTIVE_SKIPS} steps in a row had gradients that are not finite",
            f"half the learning rate ({self.recovery.nan_rollbacks} of {MAX_NAN_ROLLBACKS} times)",
        )

    def _lr_flags(self) -> str:
        return "--lr" if self.trainer.kind == "vae" else "--lr-g, --lr-d"

    def _recover_from_collapse(self, steps_done: int, alarms: list[str]) -> int:
        """Do as --on-collapse says: stop (raises VaeganError), or go back to what scored best, at most twice."""
        found = f"mode collapse at step {steps_done} ({', '.join(alarms)})"
        if self.schedule.on_collapse == "stop":
            self._save_checkpoint(steps_done, self._is_checkpoint_due(steps_done))
            self.dist_ctx.run_on_main(partial(_raise_collapse_stop, found))
        if self.recovery.collapse_rollbacks_exhausted:
            text = (
                f"mode collapse again ({', '.join(alarms)}): going back {MAX_COLLAPSE_ROLLBACKS} times with gentler settings did not"
                " help, so training goes on as it is. Sample what scored best with --best, or begin another run with a"
                " higher --gamma, a lower --lr-g or more pictures"
            )
            self.emit(Alarm(steps_done, self._images_seen(steps_done), "collapse_rollbacks_exhausted", text))
            return steps_done
        self.recovery.record_collapse_rollback()
        return self._rollback(
            steps_done,
            lambda: self.run_dir.valid_checkpoint(self.evaluator.best_step),
            found,
            f"half the learning rates and twice the gamma ({self.recovery.collapse_rollbacks} of {MAX_COLLAPSE_ROLLBACKS} times)",
        )

    def _rollback(self, steps_done: int, find_checkpoint: Callable[[], Path | None], cause: str, remedy: str) -> int:
        """Return to the checkpoint that `find` gives, with the guard's newest counts, and say so; return its step.

        Without one the run goes on from here. The order lets a kill come at any instant: until the checkpoint holds the
        new counts, a resumed run comes to the same point again, since `Run.cut_metrics` drops what it would then say
        twice; from then on, what came after the checkpoint is only in the way.
        """
        counts, best, found = replace(self.recovery), (self.evaluator.best_kid, self.evaluator.best_step), list[str]()
        self.dist_ctx.run_on_main(lambda: found.append(str(find_checkpoint() or "")))
        path = self.dist_ctx.broadcast(found)[0]
        step = self.dist_ctx.run_on_all_ranks(lambda: self.load_checkpoint(Path(path))) if path else steps_done
        self.recovery, (self.evaluator.best_kid, self.evaluator.best_step) = counts, best
        self._apply_recovery_scales()
        back = f"back to step {step}" if path else "going on from here, as there is no checkpoint yet,"
        again = f"; {steps_done - step} steps are taken again" if path else ""
        self.emit(
            Rollback(step, self._images_seen(step), counts.num_rollbacks, f"{cause}: {back} with {remedy}{again}")
        )
        if path:
            self._save_checkpoint(step, self.run_dir.is_scheduled(Path(path)))
            self.dist_ctx.run_on_main(lambda: self.run_dir.rollback_to(step, counts.num_rollbacks))
            self.replay_metrics_log()
        return step

    def _apply_recovery_scales(self) -> None:
        """Train as gently as the guard's counts say."""
        self.trainer.lr_scale, self.trainer.penalty_scale = self.recovery.lr_scale, self.recovery.penalty_scale


def _raise_collapse_stop(description: str) -> None:
    """Raise VaeganError: the user wants a run to end that collapsed, as `found` says."""
    raise VaeganError(
        f"{description}: stopped and saved, as --on-collapse stop says. Sample what scored best with --best, begin another"
        " run with a higher --gamma or a lower --lr-g, or run the same command again to go on"
    )


class ThroughputMonitor:
    """Pictures per second over the last seconds, without previews and checkpoints."""

    def __init__(self, steps_done: int, batch_size: int) -> None:
        """Start at step `done`; `batch` pictures a step."""
        self.batch_size, self.last_rate, self.last_report_time = batch_size, 0.0, 0.0
        self.reset(steps_done)

    def reset(self, steps_done: int) -> None:
        """Count from here."""
        self.window_start_step, self.window_start_time = steps_done, time.perf_counter()

    def is_due(self) -> bool:
        """Say whether it is time to tell something."""
        return time.perf_counter() - self.last_report_time > PROGRESS_SECONDS

    def images_per_second(self, steps_done: int) -> float:
        """Pictures per second until step `done`."""
        now = time.perf_counter()
        if now - self.window_start_time > 2 or not self.last_rate:
            self.last_rate = (
                max(steps_done - self.window_start_step, 0) * self.batch_size / max(now - self.window_start_time, 1e-9)
            )
            self.reset(steps_done)
        self.last_report_time = now
        return self.last_rate
