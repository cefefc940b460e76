"""Log a training run to TensorBoard, Weights & Biases or MLflow too, next to metrics.jsonl. Each needs its extra."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from vaegan.errors import VaeganError, error_text
from vaegan.events import (
    Alarm,
    Event,
    EventHandler,
    FileWritten,
    Rollback,
    TrainingProgress,
    TrainingStarted,
    ValidationMetrics,
    WarningMessage,
)
from vaegan.run_dir import LOG_ID_FILE, TENSORBOARD_DIR, RunDir
from vaegan.utils.files import ensure_within, read_json, write_json
from vaegan.utils.images import from_pil

PROJECT = "vaegan"


class ExperimentLog(Protocol):
    """A service or program that shows the metrics of runs."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics.

        Args:
            metrics: value by name, such as "train/loss_d" and "val/kid".
            step: training step.
        """

    def log_preview(self, path: Path, step: int) -> None:
        """Log the image of a preview.

        Args:
            path: the image.
            step: training step.
        """

    def log_warning(self, text: str, step: int) -> None:
        """Log a warning of the training.

        Args:
            text: the warning.
            step: training step.
        """

    def close(self) -> None:
        """Finish writing."""


class TensorBoardLog:
    """Writes to RUN/tensorboard. Hides what an earlier, killed process logged after `step`."""

    def __init__(self, run_dir: RunDir, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = ensure_within(run_dir.path / TENSORBOARD_DIR, run_dir.path)
        self.writer: Any = SummaryWriter(str(path), purge_step=step + 1 if step else 0)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics as scalars.

        Args:
            metrics: value by name.
            step: training step.
        """
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def log_preview(self, path: Path, step: int) -> None:
        """Log the image of a preview.

        Args:
            path: the image.
            step: training step.
        """
        with Image.open(path) as image:
            self.writer.add_image("preview", from_pil(image), step)

    def log_warning(self, text: str, step: int) -> None:
        """Log a warning as text.

        Args:
            text: the warning.
            step: training step.
        """
        self.writer.add_text("warnings", text, step)

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()


class WandbLog:
    """Logs to Weights & Biases: online, or to RUN/wandb where WANDB_MODE=offline."""

    def __init__(self, run_dir: RunDir, step: int) -> None:
        import wandb

        self.wandb: Any = wandb
        run_id = _read_log_id(run_dir, "wandb") if step else None
        self.run: Any = wandb.init(
            project=PROJECT,
            name=run_dir.path.resolve().name,
            dir=str(run_dir.path),
            id=run_id,
            resume="allow" if run_id else None,
            config=run_dir.read_config(),
        )
        # values of one step come in several events, and those of a resumed run may be before the newest one
        self.run.define_metric("*", step_metric="step")
        _write_log_id(run_dir, "wandb", self.run.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics against the training step.

        Args:
            metrics: value by name.
            step: training step.
        """
        self.run.log({**metrics, "step": step})

    def log_preview(self, path: Path, step: int) -> None:
        """Log the image of a preview.

        Args:
            path: the image.
            step: training step.
        """
        self.run.log({"preview": self.wandb.Image(str(path)), "step": step})

    def log_warning(self, text: str, step: int) -> None:
        """Log a warning as an alert.

        Args:
            text: the warning.
            step: training step.
        """
        self.run.alert(title=f"step {step}", text=text)

    def close(self) -> None:
        """Upload what is buffered, and finish the run."""
        self.run.finish()


class MLflowLog:
    """Logs to MLflow: to the server or folder in MLFLOW_TRACKING_URI, or MLflow's own default."""

    def __init__(self, run_dir: RunDir, step: int) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        self.client: Any = mlflow.MlflowClient()
        self.metric_type: Any = Metric
        run_id = _read_log_id(run_dir, "mlflow") if step else None
        if run_id is None:
            experiment = self.client.get_experiment_by_name(PROJECT)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT)
            run = self.client.create_run(experiment_id, run_name=run_dir.path.resolve().name)
            run_id = str(run.info.run_id)
            options = run_dir.read_config()["options"]
            self.client.log_batch(run_id, params=[Param(name, str(value)) for name, value in options.items()])
        self.run_id = run_id
        self.client.update_run(run_id, "RUNNING")
        _write_log_id(run_dir, "mlflow", run_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics in one batch.

        Args:
            metrics: value by name.
            step: training step.
        """
        now = int(time.time() * 1000)
        self.client.log_batch(
            self.run_id, [self.metric_type(name, value, now, step) for name, value in metrics.items()]
        )

    def log_preview(self, path: Path, step: int) -> None:
        """Store the image of a preview as an artifact.

        Args:
            path: the image.
            step: training step; the file name tells it.
        """
        self.client.log_artifact(self.run_id, str(path), "previews")

    def log_warning(self, text: str, step: int) -> None:
        """Store a warning as a text file.

        Args:
            text: the warning.
            step: training step; the file name tells it.
        """
        self.client.log_text(self.run_id, text, f"warnings/step-{step:07d}.txt")

    def close(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.run_id)


LOG_TYPES: dict[str, type[TensorBoardLog] | type[WandbLog] | type[MLflowLog]] = {
    "tensorboard": TensorBoardLog,
    "wandb": WandbLog,
    "mlflow": MLflowLog,
}
LOG_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


@contextlib.contextmanager
def experiment_logger(on_event: EventHandler, run_dir: RunDir, name: str) -> Iterator[EventHandler]:
    """Yield a handler that also logs events as `name`, a value of --log, says.

    With several processes, only the main process receives events.

    Args:
        on_event: handler that receives the events too.
        run_dir: the run.
        name: "none", "tensorboard", "wandb" or "mlflow".

    Yields:
        the handler; with "none" `on_event` itself.

    Raises:
        VaeganError: the extra is not installed. Nothing is written then.
    """
    if name == "none":
        yield on_event
        return
    require_log_package(name)
    handler = _LogHandler(run_dir, name)

    def handle(event: Event) -> None:
        on_event(event)
        handler(event)

    try:
        yield handle
    finally:
        handler.close()


def require_log_package(name: str) -> None:
    """Check that the package that a value of --log needs can be imported.

    Args:
        name: "tensorboard", "wandb" or "mlflow".

    Raises:
        VaeganError: if it cannot.
    """
    from importlib import import_module

    try:
        import_module(LOG_MODULES[name])
    except ImportError as error:
        raise VaeganError(
            f"--log {name} needs the extra {name} ({error_text(error)}): pip install 'vaegan[{name}]'"
        ) from None


class _LogHandler:
    """Turns events into entries of a log, which is opened when training starts."""

    def __init__(self, run_dir: RunDir, name: str) -> None:
        self.run_dir, self.name, self.latest_step = run_dir, name, 0
        self.log: ExperimentLog | None = None
        self.early_warnings: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            self._open(event.step)
        if self.log is None:
            if isinstance(event, WarningMessage):
                self.early_warnings.append(event.text)
            return
        if isinstance(event, (TrainingProgress, ValidationMetrics)):
            self.latest_step = event.step
            if event.metrics:
                self.log.log_metrics(_named_metrics(event), event.step)
        elif isinstance(event, FileWritten) and event.kind == "preview":
            self.log.log_preview(event.path, event.step)
        elif isinstance(event, (WarningMessage, Alarm, Rollback)):
            self.log.log_warning(event.text, self.latest_step)

    def _open(self, step: int) -> None:
        try:
            self.log = LOG_TYPES[self.name](self.run_dir, step)
        except VaeganError:
            raise
        except Exception as error:  # a full disk, a missing login, a server that is down
            raise VaeganError(f"--log {self.name}: cannot open the log: {error_text(error)[:300]}") from error
        self.latest_step = step
        for text in self.early_warnings:
            self.log.log_warning(text, step)

    def close(self) -> None:
        if self.log is not None:
            self.log.close()


def _named_metrics(event: TrainingProgress | ValidationMetrics) -> dict[str, float]:
    group = "train" if isinstance(event, TrainingProgress) else "val"
    metrics = {f"{group}/{name}": value for name, value in event.metrics.items()}
    if isinstance(event, TrainingProgress):
        metrics["train/images_per_second"] = event.images_per_second
    return metrics


def _read_log_id(run_dir: RunDir, name: str) -> str | None:
    """Return the id that a service gave to a run, or None."""
    path = run_dir.path / LOG_ID_FILE
    value = read_json(path).get(name) if path.is_file() else None
    return value if isinstance(value, str) else None


def _write_log_id(run_dir: RunDir, name: str, run_id: str) -> None:
    write_json(ensure_within(run_dir.path / LOG_ID_FILE, run_dir.path), {name: run_id})
