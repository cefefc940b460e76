"""The metrics of a training in readable words: the losses beside the bar, and a table of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vaegan.events import Event, Note, TrainingFinished, TrainingProgress, TrainingStarted, ValidationMetrics

LOSS_LABELS = {
    "recon_loss": "reconstruction loss",
    "kl": "KL",
    "loss_d": "D loss",
    "loss_g": "G loss",
    "recon_feature_loss": "reconstruction",
    "augment_p": "augmented",
    "skipped_steps": "skipped steps",
    "rollbacks": "rollbacks",
}
"""The metrics of training steps that are shown, in this order. metrics.jsonl has all of them."""


@dataclass(frozen=True)
class Column:
    """A column of the table: how a metric is shown, and which values are better.

    `is_better_lower` says whether a lower value is better, or a higher one; None if neither is.
    """

    heading: str
    decimals: int
    scale: float = 1.0
    is_better_lower: bool | None = None


QUALITY_COLUMNS = {
    "kid": Column("KID x1000", 1, 1000.0, is_better_lower=True),
    "coverage": Column("coverage", 2, is_better_lower=False),
}
COLUMNS = {
    "vae": {
        "val_psnr": Column("PSNR, dB", 1, is_better_lower=False),
        "val_ssim": Column("SSIM", 3, is_better_lower=False),
        "val_kl": Column("KL", 1),
        "active_units": Column("latents", 0),
        **QUALITY_COLUMNS,
    },
    "gan": {**QUALITY_COLUMNS, "val_psnr": Column("PSNR, dB", 1)},
}
"""The measurements that are shown while a VAE or a GAN trains: of samples, and of reconstructed validation images."""
STEP_WIDTH, IMAGES_WIDTH = 9, 11
BEST_MARK = "*"


def format_losses(metrics: Mapping[str, float]) -> str:
    """Return the metrics of training steps on one line, in a fixed order.

    Args:
        metrics: value by name; names without a label are left out.

    Returns:
        the line, without its end.
    """
    shown = {label: metrics[name] for name, label in LOSS_LABELS.items() if name in metrics}
    return "  ".join(
        f"{label} {value:,.0f}" if abs(value) >= 1000 else f"{label} {value:.3g}" for label, value in shown.items()
    )


def describe_measurements(kind: str, metrics: Mapping[str, float]) -> str:
    """Return the measurements of a run in words, those that its table shows.

    Args:
        kind: "vae" or "gan".
        metrics: value by name.

    Returns:
        such as "KID x1000 9.1, coverage 0.93, PSNR 15.6 dB"; "" without any.
    """
    parts = []
    for name, column in COLUMNS[kind].items():
        if name in metrics:
            label, _, unit = column.heading.partition(", ")
            parts.append(f"{label} {metrics[name] * column.scale:.{column.decimals}f} {unit}".rstrip())
    return ", ".join(parts)


@dataclass
class MeasurementTable:
    """A line per step with measurements, below a heading that comes once.

    The best value so far has a star.
    """

    kind: str = "gan"
    pending: ValidationMetrics | None = None
    best: dict[str, float] = field(default_factory=dict)
    has_heading: bool = False

    def lines_before(self, event: Event) -> list[str]:
        """Return the lines to print before an event: the last ones of a training that ends with notes.

        A training that starts begins a new table.

        Args:
            event: any event.

        Returns:
            the lines, or none.
        """
        if isinstance(event, TrainingStarted):
            self.kind, self.best, self.has_heading = event.label, {}, False
        return self.flush() if isinstance(event, (Note, TrainingFinished)) else []

    def add(self, event: ValidationMetrics) -> list[str]:
        """Add measurements. Events of one step share a line.

        Args:
            event: the measurements.

        Returns:
            the lines of an earlier step, or none.
        """
        lines = self.flush() if self.pending is not None and self.pending.step != event.step else []
        earlier = self.pending.metrics if self.pending is not None else {}
        self.pending = ValidationMetrics(event.step, event.images_seen, {**earlier, **event.metrics})
        return lines

    def flush_before(self, event: TrainingProgress) -> list[str]:
        """Return the lines of a step that is over.

        Args:
            event: progress of a later step.

        Returns:
            the lines; none if the pending step is not over.
        """
        return self.flush() if self.pending is not None and self.pending.step < event.step else []

    def flush(self) -> list[str]:
        """Return the lines that are ready.

        Returns:
            the line of the pending step, after the heading if it is the first; none if no step is pending.
        """
        event, self.pending = self.pending, None
        columns = COLUMNS.get(self.kind, COLUMNS["gan"])
        if event is None or not columns.keys() & event.metrics.keys():
            return []
        cells = [f"{event.step:,}".rjust(STEP_WIDTH), f"{event.images_seen:,}".rjust(IMAGES_WIDTH)]
        cells += [self._cell(name, column, event.metrics) for name, column in columns.items()]
        row = "".join(cells).rstrip()
        if self.has_heading:
            return [row]
        self.has_heading = True
        headings = [f"{column.heading:>{_width(column)}} " for column in columns.values()]
        heading = "".join([f"{'step':>{STEP_WIDTH}}", f"{'images':>{IMAGES_WIDTH}}", *headings])
        return [f"{heading} {BEST_MARK} = best so far", row]

    def _cell(self, name: str, column: Column, metrics: Mapping[str, float]) -> str:
        if name not in metrics:
            return " " * (_width(column) + 1)
        value = metrics[name]
        text = f"{value * column.scale:.{column.decimals}f}"
        return f"{text:>{_width(column)}}{BEST_MARK if self._is_new_best(name, column, value) else ' '}"

    def _is_new_best(self, name: str, column: Column, value: float) -> bool:
        if column.is_better_lower is None:
            return False
        previous = self.best.get(name)
        if previous is not None and (value >= previous if column.is_better_lower else value <= previous):
            return False
        self.best[name] = value
        return previous is not None  # the first value is no improvement


def _width(column: Column) -> int:
    return max(len(column.heading) + 1, 7)
