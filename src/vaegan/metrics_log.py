"""A run's metrics.jsonl: a line per log interval, measurement and alarm. `run` is the run's directory throughout."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import Alarm, Event, Rollback, TrainingProgress, TrainingStarted, ValidationMetrics
from vaegan.utils.files import ensure_within, write_bytes

METRICS_FILE = "metrics.jsonl"
MAX_METRICS_LINE_BYTES = 2**16
ALARM_KEY, MESSAGE_KEY, ROLLBACKS_KEY = "alarm", "message", "rollbacks"
ROLLED_BACK = "rolled_back"


def truncate_log(run_path: Path, step: int, num_rollbacks: int) -> None:
    """Drop the lines that the run at `step`, which went back `times` times, will write again, and broken ones."""
    path = run_path / METRICS_FILE
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            kept = [line for line in file if line.endswith("\n") and not _will_be_rewritten(line, step, num_rollbacks)]
        write_bytes(path, "".join(kept).encode())


def _will_be_rewritten(line: str, step: int, num_rollbacks: int) -> bool:
    """Say whether a run at `step` that went back `times` times will write this line again, or it is broken."""
    try:
        said = json.loads(line)
        return int(said["step"]) > step or int(said.get(ROLLBACKS_KEY, 0)) > num_rollbacks
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return True


def round_metric(value: float) -> float:
    """A number as metrics.jsonl has it."""
    return float(f"{value:.6g}")


def _read_lines(run_path: Path) -> Iterator[dict[str, Any]]:
    """Yield every whole line of metrics.jsonl, in order."""
    path = run_path / METRICS_FILE
    if not path.is_file():
        return
    with ensure_within(path, run_path).open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(MAX_METRICS_LINE_BYTES):
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said


def read_metrics(run_path: Path) -> Iterator[dict[str, float]]:
    """Yield the numbers of every line of metrics.jsonl, in order; what is broken or no number is passed over."""
    for said in _read_lines(run_path):
        with contextlib.suppress(OverflowError):
            yield {printable(name): float(value) for name, value in said.items() if type(value) in (int, float)}


def read_alarms(run_path: Path) -> list[tuple[int, str]]:
    """Every alarm of a run: after how many pictures it began, and its words."""
    found = []
    for said in _read_lines(run_path):
        images, words = said.get("images_seen"), said.get(MESSAGE_KEY)
        if ALARM_KEY in said and type(images) is int and isinstance(words, str):
            found.append((images, printable(words, 1000)))
    return found


def training_seconds(run_path: Path) -> float:
    """Seconds of training that went into a run so far, interruptions left out."""
    return max((line["train_seconds"] for line in read_metrics(run_path) if "train_seconds" in line), default=0.0)


class MetricsWriter:
    """Listens to a run and appends a line to metrics.jsonl per log interval or measurement."""

    def __init__(self, run_path: Path) -> None:
        """Write to `run`; the seconds of earlier stretches count on once training starts."""
        self.run_path, self.log_path = run_path, run_path / METRICS_FILE
        self.previous_seconds, self.start_time = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take down what has numbers."""
        if isinstance(event, TrainingStarted):
            self.previous_seconds, self.start_time = training_seconds(self.run_path), time.perf_counter()
        if isinstance(event, TrainingProgress) and event.metrics:
            line = {
                "step": event.step,
                "images_seen": event.images_seen,
                "images_per_second": round(event.images_per_second, 1),
            }
        elif isinstance(event, (ValidationMetrics, Alarm, Rollback)):
            line = {"step": event.step, "images_seen": event.images_seen}
        else:
            return
        line["train_seconds"] = round(self.previous_seconds + time.perf_counter() - self.start_time, 1)
        values: dict[str, float | str]
        if isinstance(event, Alarm):
            values = {ALARM_KEY: event.name, MESSAGE_KEY: event.text}
        elif isinstance(event, Rollback):
            values = {ALARM_KEY: ROLLED_BACK, MESSAGE_KEY: event.text, ROLLBACKS_KEY: event.num_rollbacks}
        else:
            values = {name: round_metric(value) for name, value in event.metrics.items()}
        try:
            with self.log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, **values}) + "\n")
        except OSError as error:
            raise VaeganError(f"cannot write {self.log_path}: {error_text(error)}") from error
