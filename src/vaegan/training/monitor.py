"""What runs beside the training steps: metric averages, throughput, previews, validation and alarms."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vaegan.checkpoint import MAX_STATE_VALUE, state_tensor, strip_prefix
from vaegan.diagnostics import AlarmTracker, past_best_warning
from vaegan.errors import VaeganError, printable
from vaegan.events import Alarm, EventHandler, FileWritten, ValidationMetrics, WarningMessage
from vaegan.metrics_log import read_metrics, round_metric
from vaegan.run_dir import DRIFT_PREVIEW, RunDir
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator
from vaegan.utils.images import save_png

PROGRESS_SECONDS = 0.5
THROUGHPUT_WINDOW_SECONDS = 2.0
AVERAGER_STATE_PREFIX = "averager"


class MetricAverager:
    """Running means of the steps' scalars between two lines of metrics.jsonl, summed on the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Add the scalars of a step.

        Args:
            metrics: scalars by name; a name may be missing in some steps.
        """
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
            self.counts[name] = self.counts.get(name, 0) + 1

    def pop_means(self) -> dict[str, float]:
        """Return the means and start over.

        Returns:
            mean by name.
        """
        if not self.sums:
            return {}
        totals = torch.stack(list(self.sums.values())).tolist()  # read together: each read of a GPU waits for it
        means = {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}
        self.sums, self.counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint.

        Returns:
            [sum, count] by name, float64 [2].
        """
        return {
            f"{AVERAGER_STATE_PREFIX}.{name}": torch.stack(
                [total.cpu().double(), torch.tensor(float(self.counts[name])).double()]
            )
            for name, total in self.sums.items()
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore what `state_dict` returned.

        Args:
            tensors: all tensors of the checkpoint.
            device: where to keep the sums.

        Raises:
            VaeganError: if a sum or a count is not valid.
        """
        self.sums, self.counts = {}, {}
        saved = strip_prefix(tensors, AVERAGER_STATE_PREFIX)
        for name in saved:
            total, count = state_tensor(saved, name, (2,), min_value=-MAX_STATE_VALUE) or (0.0, 0.0)
            if count < 1:
                raise VaeganError(f"the mean of {printable(name)} has {count:g} values")
            self.sums[name], self.counts[name] = torch.tensor(total).float().to(device), int(count)


class ThroughputMonitor:
    """Images per second over the last seconds, without previews, evaluations and checkpoints."""

    def __init__(self, steps_done: int, batch_size: int) -> None:
        self.batch_size, self.last_rate, self.last_report_time = batch_size, 0.0, 0.0
        self.is_window_complete = False
        self.restart(steps_done)

    def restart(self, steps_done: int) -> None:
        """Start a new time window.

        Args:
            steps_done: step that it starts at.
        """
        self.window_steps, self.window_seconds = 0, 0.0
        self.resume(steps_done)

    def pause(self, steps_done: int) -> None:
        """Stop the clock of the time window, for a preview, an evaluation or a checkpoint.

        Args:
            steps_done: steps done now.
        """
        self.window_steps += steps_done - self.start_step
        self.window_seconds += time.perf_counter() - self.start_time

    def resume(self, steps_done: int) -> None:
        """Let the clock of the time window run again.

        Args:
            steps_done: steps done now.
        """
        self.start_step, self.start_time = steps_done, time.perf_counter()

    def is_due(self) -> bool:
        """Return whether the last report is half a second old.

        Returns:
            whether it is.
        """
        return time.perf_counter() - self.last_report_time > PROGRESS_SECONDS

    def images_per_second(self, steps_done: int) -> float:
        """Return the throughput of the newest complete time window, or of the first one so far.

        Args:
            steps_done: steps done now.

        Returns:
            images per second.
        """
        self.pause(steps_done)
        self.resume(steps_done)
        self.last_report_time = self.start_time
        is_complete = self.window_seconds > THROUGHPUT_WINDOW_SECONDS
        if is_complete or not self.is_window_complete:
            self.last_rate = max(self.window_steps, 0) * self.batch_size / max(self.window_seconds, 1e-9)
        if is_complete:
            self.is_window_complete = True
            self.restart(steps_done)
        return self.last_rate


@dataclass
class TrainMonitor:
    """Previews, validation and alarms of a run. `latest_metrics` are the newest of `validate`."""

    trainer: Trainer
    run_dir: RunDir
    emit: EventHandler
    evaluator: QuickEvaluator
    batch_size: int
    alarm_tracker: AlarmTracker = field(default_factory=AlarmTracker)
    latest_metrics: dict[str, float] = field(default_factory=dict)

    def write_preview(self, steps_done: int) -> None:
        """Write a preview, and compute the trainer's validation metrics.

        Args:
            steps_done: steps done now.

        Raises:
            VaeganError: if a file cannot be written.
        """
        path = self.run_dir.preview_path(steps_done)
        save_png(self.trainer.preview_grid(), path, f"{self.trainer.kind} preview at step {steps_done}")
        self.emit(FileWritten("preview", path, steps_done))
        drift_grid = self.trainer.drift_grid()
        if drift_grid is not None:
            path = self.run_dir.preview_path(steps_done, DRIFT_PREVIEW)
            save_png(drift_grid, path, f"VAE's decoder and GAN's generator at step {steps_done}")
        # A mean that has overflowed is no reason to stop, and JSON has no number for it.
        self.latest_metrics = {name: value for name, value in self.trainer.validate().items() if math.isfinite(value)}
        self._emit_metrics(steps_done, self.latest_metrics)

    def evaluate(self, steps_done: int) -> list[str]:
        """Evaluate samples, and save the weights if they are the best so far.

        Args:
            steps_done: steps done now.

        Returns:
            names of new mode collapse alarms.

        Raises:
            VaeganError: if a file cannot be written.
        """
        samples = self.trainer.generate_samples(self.evaluator.num_samples)
        metrics, alarms_before = self.evaluator.evaluate(samples), self.alarm_tracker.collapse_alarms
        self._emit_metrics(steps_done, metrics)
        kid = round_metric(metrics["kid"])  # as metrics.jsonl and the alarms have it
        if steps_done and self.evaluator.update_best(kid, steps_done):
            self.trainer.save_weights(self.run_dir.best_weights_path, steps_done, kid)
            self.emit(FileWritten("best", self.run_dir.best_weights_path, steps_done))
        return [] if alarms_before else sorted(self.alarm_tracker.collapse_alarms)

    def emit_final_messages(self, images_seen: int) -> None:
        """Emit the trainer's closing messages, and a warning if older weights are clearly better.

        Args:
            images_seen: training images seen.
        """
        for event in self.trainer.final_messages(self.latest_metrics, images_seen):
            self.emit(event)
        has_best_weights = self.run_dir.best_weights_path.is_file()
        if warning := past_best_warning(read_metrics(self.run_dir.path), has_best_weights):
            self.emit(WarningMessage(warning))

    def check_alarms(self, steps_done: int, metrics: Mapping[str, float]) -> None:
        """Emit the alarms that these metrics raise. A VAE has none; its warnings come at the end of the run.

        Args:
            steps_done: steps done now.
            metrics: metrics by name.
        """
        if self.trainer.kind == "gan" and metrics:
            images_seen = steps_done * self.batch_size
            rounded = {name: round_metric(value) for name, value in metrics.items()}
            for name, text in self.alarm_tracker.update(images_seen, rounded).items():
                self.emit(Alarm(steps_done, images_seen, name, text))

    def replay_metrics_log(self) -> None:
        """Rebuild the alarms' state from metrics.jsonl."""
        self.alarm_tracker = AlarmTracker()
        for line in read_metrics(self.run_dir.path):
            self.alarm_tracker.update(int(line.get("images_seen", 0)), line)

    def _emit_metrics(self, steps_done: int, metrics: dict[str, float]) -> None:
        if metrics:
            self.emit(ValidationMetrics(steps_done, steps_done * self.batch_size, metrics))
            self.check_alarms(steps_done, metrics)
