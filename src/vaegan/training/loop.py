"""The training loop that drives both trainers. It prints nothing: it emits events."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vaegan.checkpoint import TRAINING_STATE_FILE, read_checkpoint
from vaegan.config.settings import FLAT_EVALUATIONS
from vaegan.data.sampler import BatchSampler
from vaegan.errors import Interrupted, VaeganError
from vaegan.events import (
    Alarm,
    EventHandler,
    FileWritten,
    Note,
    Rollback,
    SkippedStep,
    TrainingFinished,
    TrainingProgress,
)
from vaegan.run_dir import RunDir
from vaegan.training.distributed import DistributedContext
from vaegan.training.duration import MinutesPlanner
from vaegan.training.monitor import MetricAverager, ThroughputMonitor, TrainMonitor
from vaegan.training.recovery import MAX_COLLAPSE_ROLLBACKS, MAX_CONSECUTIVE_SKIPS, MAX_NAN_ROLLBACKS, RecoveryState
from vaegan.training.schedule import TrainSchedule, is_flat
from vaegan.training.signals import StopRequest
from vaegan.training.timings import measure_seconds
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator

MIN_TOLD_CORRECTION = 0.25
"""Share of a run's steps; the user is told of corrections that are larger."""


class RolledBack(Exception):
    """Raised after an earlier checkpoint has been restored; ends the rest of the current step."""


@dataclass
class TrainLoop:
    """Training from `steps_done` to the end of the schedule, or until a stop is requested.

    With several processes all run the same steps, and rank 0 alone writes files. `planner` corrects the schedule of a
    new run whose length was given in minutes.
    """

    trainer: Trainer
    sampler: BatchSampler
    run_dir: RunDir
    schedule: TrainSchedule
    emit: EventHandler
    dist_ctx: DistributedContext
    evaluator: QuickEvaluator
    planner: MinutesPlanner | None = None
    steps_done: int = 0
    averager: MetricAverager = field(default_factory=MetricAverager)
    recovery: RecoveryState = field(default_factory=RecoveryState)
    monitor: TrainMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.monitor = TrainMonitor(self.trainer, self.run_dir, self.emit, self.evaluator, self.sampler.batch_size)

    def load_checkpoint(self, path: Path) -> None:
        """Restore the whole training state.

        Args:
            path: checkpoint directory.

        Raises:
            VaeganError: if the checkpoint is damaged or does not fit.
        """
        checkpoint = read_checkpoint(path)
        try:
            self.trainer.load_state_dict(checkpoint.tensors, path)
            self.averager.load_state_dict(checkpoint.tensors, self.sampler.device)
            self.recovery.load_state_dict(checkpoint.tensors)
            self.evaluator.load_state_dict(checkpoint.tensors)
        except VaeganError as error:
            raise VaeganError(f"{path / TRAINING_STATE_FILE} is damaged: {error}") from error
        self._apply_recovery_scales()
        self.steps_done = checkpoint.step

    def replay_metrics_log(self) -> None:
        """Rebuild the alarms' state from metrics.jsonl."""
        self.dist_ctx.run_on_main(self.monitor.replay_metrics_log)

    def run(self, stop: StopRequest) -> None:
        """Train to the end of the schedule.

        Args:
            stop: whether the user wants to stop.

        Raises:
            Interrupted: if a stop was requested, once the state is saved.
            VaeganError: if training cannot go on, or shall not (--on-collapse stop).
        """
        start_time = time.perf_counter()
        if self.dist_ctx.any_rank(stop.requested):
            raise Interrupted(f"interrupted before step {self.steps_done + 1}: nothing is lost")
        if self.steps_done == 0:
            self._write_preview()
            self._evaluate()
        throughput = ThroughputMonitor(self.steps_done, self.sampler.batch_size)
        while not self._is_finished():
            try:
                self._take_step()
                self._report_progress(throughput)
                throughput.pause(self.steps_done)
                self._preview_and_evaluate()
            except RolledBack:
                throughput.restart(self.steps_done)
                continue
            self._save_if_due(stop)
            throughput.resume(self.steps_done)
        if self.steps_done < self.schedule.total_steps:
            self.dist_ctx.run_on_main(self._record_flat_stop)
        self.dist_ctx.run_on_main(lambda: self.monitor.emit_final_messages(self.images_seen))
        seconds = time.perf_counter() - start_time
        self.emit(TrainingFinished(self.trainer.kind, seconds, self.steps_done, self.images_seen))

    @property
    def images_seen(self) -> int:
        """Number of training images seen, with repetition."""
        return self.steps_done * self.sampler.batch_size

    def _take_step(self) -> None:
        """Train one step. Raises RolledBack where too many steps in a row were not finite."""
        step = self.steps_done
        metrics = self.trainer.step(self.sampler[step], step, self.sampler.class_ids(step))
        self.steps_done += 1
        must_roll_back = self.recovery.record_step(metrics is None)
        if metrics is not None:
            self.averager.add(metrics)
        else:
            self.emit(SkippedStep(self.steps_done, self.recovery.skipped_steps))
        if must_roll_back:
            self._recover_from_nan()

    def _report_progress(self, throughput: ThroughputMonitor) -> None:
        is_last = self.steps_done == self.schedule.total_steps
        is_logged = self.steps_done % self.schedule.log_every == 0 or is_last
        if not (is_logged or throughput.is_due()):
            return
        metrics = self.averager.pop_means() if is_logged else {}
        if is_logged and self.recovery.skipped_steps:
            metrics["skipped_steps"] = float(self.recovery.skipped_steps)
        if is_logged and self.recovery.num_rollbacks:
            metrics["rollbacks"] = float(self.recovery.num_rollbacks)
        rate = throughput.images_per_second(self.steps_done)
        self.emit(TrainingProgress(self.steps_done, self.schedule.total_steps, self.images_seen, rate, metrics))
        if self.dist_ctx.is_main_process:  # no collective here: `is_due` may have been true on one rank alone
            self.monitor.check_alarms(self.steps_done, metrics)

    def _preview_and_evaluate(self) -> None:
        """Write the preview and evaluate samples where due. Raises RolledBack."""
        is_last, evaluate_every = self.steps_done == self.schedule.total_steps, self.schedule.evaluate_every
        needs_preview = self.steps_done % self.schedule.sample_every == 0 or is_last
        needs_evaluation = evaluate_every > 0 and (self.steps_done % evaluate_every == 0 or is_last)
        if needs_preview:
            self._run_timed("preview_seconds", self._write_preview)
        if needs_evaluation:
            self._run_timed("evaluation_seconds", self._evaluate)
            if self._is_flat() and not needs_preview:  # as at the last step
                self._write_preview()

    def _write_preview(self) -> None:
        self.dist_ctx.run_on_main(lambda: self.monitor.write_preview(self.steps_done))

    def _is_finished(self) -> bool:
        return self.steps_done >= self.schedule.total_steps or self._is_flat()

    def _is_flat(self) -> bool:
        """Whether --stop-when flat ends the run here. It depends only on what a checkpoint holds."""
        schedule, best_step = self.schedule, self.evaluator.best_step
        return schedule.stop_when_flat and is_flat(self.steps_done, best_step, schedule.evaluate_every)

    def _record_flat_stop(self) -> None:
        planned_steps, best_step = self.schedule.total_steps, self.evaluator.best_step
        self.run_dir.record_flat_stop(self.steps_done, planned_steps)
        best_images = best_step * self.sampler.batch_size
        self.emit(
            Note(
                f"Stopped at step {self.steps_done} of {planned_steps}: KID was best after {best_images:,} images, and"
                f" no better in the {FLAT_EVALUATIONS} evaluations since (--stop-when flat); --best uses those weights"
            )
        )

    def _evaluate(self) -> None:
        """Evaluate samples; on mode collapse do as --on-collapse says."""
        if not (self.evaluator.is_enabled and self.schedule.evaluate_every):
            return

        def evaluate() -> tuple[list[str], float, int]:
            collapse_alarms = self.monitor.evaluate(self.steps_done)
            return collapse_alarms, self.evaluator.best_kid, self.evaluator.best_step

        collapse_alarms, self.evaluator.best_kid, self.evaluator.best_step = self.dist_ctx.run_on_main(evaluate)
        if collapse_alarms and self.steps_done and self.schedule.on_collapse != "ignore":
            self._recover_from_collapse(collapse_alarms)

    def _save_if_due(self, stop: StopRequest) -> None:
        """Save a checkpoint where due. Raises Interrupted once saved if a stop was requested."""
        stop_requested = self.dist_ctx.any_rank(stop.requested)
        is_scheduled, correction = self._is_checkpoint_due(), self._correct_length()
        if is_scheduled or stop_requested or self._is_new_best():
            self._run_timed("checkpoint_seconds", lambda: self._save_checkpoint(is_scheduled))
        if correction is not None:
            self._adopt_schedule(*correction)
        if stop_requested and self.steps_done < self.schedule.total_steps:
            raise Interrupted(f"interrupted at step {self.steps_done}; saved. Run the same command again to resume")

    def _run_timed(self, name: str, action: Callable[[], None]) -> None:
        """Do something beside the steps, and tell the planner how long it takes with a trained model."""
        seconds = measure_seconds(action)
        if self.planner is not None:
            self.planner.record_seconds(name, seconds)

    def _correct_length(self) -> tuple[TrainSchedule, float] | None:
        """Return another schedule, and images per second, where the minutes of the run ask for one."""
        if self.planner is None or self._is_flat():
            return None
        return self.planner.correct(self.schedule, self.steps_done)

    def _adopt_schedule(self, schedule: TrainSchedule, images_per_second: float) -> None:
        """Go on with another schedule. A resumed run reads it from config.json.

        It is worth no checkpoint, since a schedule changes no weight: a VAE's checkpoint takes as long as hundreds of
        steps. After a kill, a resumed run repeats the steps since the last checkpoint with the new intervals.
        """
        before, self.schedule = self.schedule.total_steps, schedule
        entries = {**schedule.to_json(), "images_per_second": images_per_second}
        self.dist_ctx.run_on_main(lambda: self.run_dir.record_schedule(entries))
        if abs(schedule.total_steps - before) > MIN_TOLD_CORRECTION * before:
            change = "faster" if schedule.total_steps > before else "slower"
            images = schedule.total_steps * self.sampler.batch_size
            self.emit(
                Note(
                    f"Training is {change} than expected: the run's minutes hold {schedule.total_steps:,} steps,"
                    f" {images:,} images, instead of {before:,} steps"
                )
            )

    def _is_new_best(self) -> bool:
        """Whether mode collapse would roll back to this step."""
        is_best = self.steps_done == self.evaluator.best_step
        return self.schedule.on_collapse == "rollback" and is_best and not self.recovery.consecutive_skips

    def _is_checkpoint_due(self) -> bool:
        """Whether the schedule asks for a checkpoint. Not among skipped steps: the newest one has to be good."""
        if self._is_finished():
            return True
        return self.steps_done % self.schedule.checkpoint_every == 0 and not self.recovery.consecutive_skips

    def _save_checkpoint(self, is_scheduled: bool) -> None:
        best_step = self.evaluator.best_step if self.schedule.on_collapse == "rollback" else None
        self.dist_ctx.run_on_main(lambda: self._write_checkpoint(is_scheduled, best_step))

    def _write_checkpoint(self, is_scheduled: bool, best_step: int | None) -> None:
        parts = (self.trainer, self.averager, self.recovery, self.evaluator)
        tensors = {name: tensor for part in parts for name, tensor in part.state_dict().items()}
        save_weights = partial(self.trainer.save_weights, step=self.steps_done)
        path = self.run_dir.save_checkpoint(
            self.steps_done, tensors, save_weights, self.schedule.keep_checkpoints, is_scheduled, best_step
        )
        self.emit(FileWritten("checkpoint", path, self.steps_done))

    def _recover_from_nan(self) -> None:
        """Roll back to the last good checkpoint with half the learning rate. Raises VaeganError the fourth time."""
        if self.recovery.nan_rollbacks_exhausted:
            lr_flags = "--lr" if self.trainer.kind == "vae" else "--lr-g, --lr-d"
            raise VaeganError(
                f"the gradients are not finite at step {self.steps_done}, and {MAX_NAN_ROLLBACKS} rollbacks with half"
                f" the learning rate each did not help: start another run with a lower learning rate ({lr_flags}) or"
                " --precision fp32"
            )
        self.recovery.record_nan_rollback()
        self._roll_back(
            lambda: self.run_dir.latest_checkpoint(self.emit, scheduled_only=True),
            f"{MAX_CONSECUTIVE_SKIPS} steps in a row had gradients that are not finite",
            f"half the previous learning rate (rollback {self.recovery.nan_rollbacks} of {MAX_NAN_ROLLBACKS})",
        )

    def _recover_from_collapse(self, alarms: list[str]) -> None:
        """Stop (raises VaeganError), or roll back to the checkpoint with the best KID, at most twice."""
        description = f"mode collapse at step {self.steps_done} ({', '.join(alarms)})"
        if self.schedule.on_collapse == "stop":
            self._save_checkpoint(self._is_checkpoint_due())
            # Raised inside run_on_main, so that all ranks stop and rank 0 alone reports it.
            self.dist_ctx.run_on_main(partial(_raise_collapse_stop, description))
        if self.recovery.collapse_rollbacks_exhausted:
            text = (
                f"mode collapse again ({', '.join(alarms)}): {MAX_COLLAPSE_ROLLBACKS} rollbacks with gentler settings"
                " did not help, so training goes on as it is. Sample the best weights with --best, or start another"
                " run with a higher --gamma, a lower --lr-g or more images"
            )
            self.emit(Alarm(self.steps_done, self.images_seen, "collapse_rollbacks_exhausted", text))
            return
        self.recovery.record_collapse_rollback()
        self._roll_back(
            lambda: self.run_dir.valid_checkpoint(self.evaluator.best_step),
            description,
            "half the previous learning rates and twice the gamma"
            f" (rollback {self.recovery.collapse_rollbacks} of {MAX_COLLAPSE_ROLLBACKS})",
        )

    def _roll_back(self, find_checkpoint: Callable[[], Path | None], cause: str, remedy: str) -> None:
        """Restore the checkpoint found, keep the newest recovery counts, and raise RolledBack.

        Returns without raising if there is no checkpoint: training goes on from here with the gentler settings.
        """
        step, recovery = self.steps_done, replace(self.recovery)
        best_kid, best_step = self.evaluator.best_kid, self.evaluator.best_step
        path = self.dist_ctx.run_on_main(lambda: _to_text(find_checkpoint()))
        if path:
            self.dist_ctx.run_on_all_ranks(lambda: self.load_checkpoint(Path(path)))
        self.recovery, self.evaluator.best_kid, self.evaluator.best_step = recovery, best_kid, best_step
        self._apply_recovery_scales()

        where = f"rolls back to step {self.steps_done}" if path else "continues here, as there is no checkpoint,"
        repeated = f"; {step - self.steps_done} steps are repeated" if path else ""
        text = f"{cause}: training {where} with {remedy}{repeated}"
        self.emit(Rollback(self.steps_done, self.images_seen, recovery.num_rollbacks, text))
        if not path:
            return
        # The checkpoint is written again with the new counts before later files are deleted. A kill before that write
        # repeats the rollback, whose lines `truncate_metrics` drops; a kill after it leaves stale files,
        # which the resumed run deletes.
        self._save_checkpoint(self.run_dir.is_scheduled(Path(path)))
        self.dist_ctx.run_on_main(lambda: self.run_dir.rollback_to(self.steps_done, recovery.num_rollbacks))
        self.replay_metrics_log()
        raise RolledBack

    def _apply_recovery_scales(self) -> None:
        self.trainer.lr_scale, self.trainer.penalty_scale = self.recovery.lr_scale, self.recovery.penalty_scale


def _to_text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _raise_collapse_stop(description: str) -> None:
    raise VaeganError(
        f"{description}: stopped and saved, as --on-collapse stop says. Sample the best weights with --best, start"
        " another run with a higher --gamma or a lower --lr-g, or run the same command again to go on"
    )
