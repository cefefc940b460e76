"""What a run is judged by beside its steps: previews, numbers, samples, and the alarms that these ring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vaegan.diagnostics import Alarms
from vaegan.events import Alarmed, Emit, Measured, Warned, Wrote
from vaegan.metrics_log import metrics_of, written
from vaegan.report.run_warnings import better_days
from vaegan.report.training_charts import read_lines
from vaegan.run_dir import DRIFT, Run
from vaegan.training.trainer import Trainer
from vaegan.training.validation import Watch
from vaegan.utils.images import save_png


@dataclass
class Lookout:
    """Looks, for the process that leads. `numbers` are the newest that the trainer measured."""

    trainer: Trainer
    run: Run
    emit: Emit
    watch: Watch
    batch_size: int
    alarms: Alarms = field(default_factory=Alarms)
    numbers: dict[str, float] = field(default_factory=dict)

    def preview(self, done: int) -> None:
        """Draw the preview of step `done`, and let the trainer measure."""
        path = self.run.preview(done)
        save_png(self.trainer.preview(), path, f"{self.trainer.kind} preview at step {done}")
        self.emit(Wrote("preview", path, done))
        drift = self.trainer.drift()
        if drift is not None:
            save_png(drift, self.run.preview(done, DRIFT), f"VAE's decoder and GAN's generator at step {done}")
        # an average that has overflowed is no reason to stop, and JSON has no word for it
        self.numbers = {name: value for name, value in self.trainer.measure().items() if math.isfinite(value)}
        self._say(done, self.numbers)

    def evaluate(self, done: int) -> list[str]:
        """Look at samples and keep the weights that score best; return the alarms of mode collapse that begin."""
        numbers, before = self.watch.look(self.trainer.samples(self.watch.pictures)), self.alarms.collapsed
        self._say(done, numbers)
        kid = written(numbers["kid"])  # as the alarms hear it
        if done and self.watch.improves(kid, done):
            self.trainer.publish(self.run.best, done, kid)
            self.emit(Wrote("best", self.run.best, done))
        return [] if before else sorted(self.alarms.collapsed)

    def conclude(self, images: int) -> None:
        """Say in words, after `images` pictures, what a user should know of the whole run."""
        for event in self.trainer.conclusion(self.numbers, images):
            self.emit(event)
        metrics = list(metrics_of(self.run.path))
        errors = [line["kid_error"] for line in metrics if "kid_error" in line]
        if errors and (said := better_days(read_lines(metrics), errors[-1], self.run.best.is_file())):
            self.emit(Warned(said))

    def _say(self, done: int, numbers: dict[str, float]) -> None:
        if numbers:
            self.emit(Measured(done, done * self.batch_size, numbers))
            self.hear(done, numbers)

    def hear(self, done: int, numbers: Mapping[str, float]) -> None:
        """Sound the alarms that these numbers begin; a VAE's are said at its end."""
        if self.trainer.kind == "gan" and numbers:
            images = done * self.batch_size
            as_read = {name: written(value) for name, value in numbers.items()}
            for name, text in self.alarms.hear(images, as_read).items():
                self.emit(Alarmed(done, images, name, text))

    def remember(self) -> None:
        """Take from metrics.jsonl what the alarms have heard so far."""
        self.alarms = Alarms()
        for line in metrics_of(self.run.path):
            self.alarms.hear(int(line.get("images", 0)), line)
