"""What a run is judged by beside its steps: previews, numbers, samples, and the alarms that these ring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vaegan.diagnostics import AlarmTracker, past_best_warning
from vaegan.events import Alarm, EventHandler, FileWritten, ValidationMetrics, WarningMessage
from vaegan.metrics_log import read_metrics, round_metric
from vaegan.run_dir import DRIFT_PREVIEW, RunDir
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator
from vaegan.utils.images import save_png


@dataclass
class TrainMonitor:
    """Looks, for the process that leads. `numbers` are the newest that the trainer measured."""

    trainer: Trainer
    run_dir: RunDir
    emit: EventHandler
    evaluator: QuickEvaluator
    batch_size: int
    alarm_tracker: AlarmTracker = field(default_factory=AlarmTracker)
    latest_metrics: dict[str, float] = field(default_factory=dict)

    def write_preview(self, steps_done: int) -> None:
        """Draw the preview of step `done`, and let the trainer measure."""
        path = self.run_dir.preview_path(steps_done)
        save_png(self.trainer.preview_grid(), path, f"{self.trainer.kind} preview at step {steps_done}")
        self.emit(FileWritten("preview", path, steps_done))
        drift = self.trainer.drift_grid()
        if drift is not None:
            save_png(
                drift,
                self.run_dir.preview_path(steps_done, DRIFT_PREVIEW),
                f"VAE's decoder and GAN's generator at step {steps_done}",
            )
        # an average that has overflowed is no reason to stop, and JSON has no word for it
        self.latest_metrics = {name: value for name, value in self.trainer.validate().items() if math.isfinite(value)}
        self._emit_metrics(steps_done, self.latest_metrics)

    def evaluate(self, steps_done: int) -> list[str]:
        """Look at samples and keep the weights that score best; return the alarms of mode collapse that begin."""
        numbers, before = (
            self.evaluator.evaluate(self.trainer.generate_samples(self.evaluator.num_samples)),
            self.alarm_tracker.collapse_alarms,
        )
        self._emit_metrics(steps_done, numbers)
        kid = round_metric(numbers["kid"])  # as the alarms hear it
        if steps_done and self.evaluator.update_best(kid, steps_done):
            self.trainer.save_weights(self.run_dir.best_weights_path, steps_done, kid)
            self.emit(FileWritten("best", self.run_dir.best_weights_path, steps_done))
        return [] if before else sorted(self.alarm_tracker.collapse_alarms)

    def emit_final_messages(self, images_seen: int) -> None:
        """Say in words, after `images` pictures, what a user should know of the whole run."""
        for event in self.trainer.final_messages(self.latest_metrics, images_seen):
            self.emit(event)
        has_best_weights = self.run_dir.best_weights_path.is_file()
        if warning := past_best_warning(read_metrics(self.run_dir.path), has_best_weights):
            self.emit(WarningMessage(warning))

    def _emit_metrics(self, steps_done: int, metrics: dict[str, float]) -> None:
        if metrics:
            self.emit(ValidationMetrics(steps_done, steps_done * self.batch_size, metrics))
            self.check_alarms(steps_done, metrics)

    def check_alarms(self, steps_done: int, metrics: Mapping[str, float]) -> None:
        """Sound the alarms that these numbers begin; a VAE's are said at its end."""
        if self.trainer.kind == "gan" and metrics:
            images = steps_done * self.batch_size
            as_read = {name: round_metric(value) for name, value in metrics.items()}
            for name, text in self.alarm_tracker.update(images, as_read).items():
                self.emit(Alarm(steps_done, images, name, text))

    def replay_metrics_log(self) -> None:
        """Take from metrics.jsonl what the alarms have heard so far."""
        self.alarm_tracker = AlarmTracker()
        for line in read_metrics(self.run_dir.path):
            self.alarm_tracker.update(int(line.get("images_seen", 0)), line)
