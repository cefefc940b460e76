"""Read and write metrics.jsonl: one JSON object per log interval, validation, alarm or rollback."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import VaeganError, disk_hint, error_text, printable
from vaegan.events import Alarm, Event, Rollback, TrainingProgress, TrainingStarted, ValidationMetrics
from vaegan.utils.files import append_regular, ensure_within, open_regular, read_json_lines, write_bytes

METRICS_FILE = "metrics.jsonl"
MAX_METRICS_LINE_BYTES = 2**16
ALARM_KEY, MESSAGE_KEY, ROLLBACKS_KEY = "alarm", "message", "rollbacks"
ROLLED_BACK = "rolled_back"


def truncate_log(run_path: Path, step: int, num_rollbacks: int) -> None:
    """Delete the lines of metrics.jsonl that a resumed run will write again, and damaged lines.

    Args:
        run_path: run directory.
        step: step of the checkpoint to resume from; later lines are deleted.
        num_rollbacks: rollbacks that the checkpoint knows of; lines of later ones are deleted.

    Raises:
        VaeganError: if the file cannot be read or written.
    """
    path = run_path / METRICS_FILE
    if path.exists():
        try:
            with open_regular(path) as file:
                all_lines = iter(lambda: file.readline(MAX_METRICS_LINE_BYTES), b"")
                lines = [line for line in all_lines if _is_before(line, step, num_rollbacks)]
        except OSError as error:
            raise VaeganError(f"cannot read {path}: {error_text(error)}") from error
        write_bytes(path, b"".join(lines))


def _is_before(line: bytes, step: int, num_rollbacks: int) -> bool:
    """Return whether a line is complete and not later than the checkpoint; False for damaged lines."""
    try:
        record = json.loads(line)
        is_before = int(record["step"]) <= step and int(record.get(ROLLBACKS_KEY, 0)) <= num_rollbacks
        return is_before and line.endswith(b"\n")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return False


def round_metric(value: float) -> float:
    """Round a number to the 6 significant digits that metrics.jsonl holds.

    Args:
        value: any number.

    Returns:
        the rounded number.
    """
    return float(f"{value:.6g}")


def _read_records(run_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of metrics.jsonl in order; damaged lines are left out."""
    path = ensure_within(run_path / METRICS_FILE, run_path)
    return read_json_lines(path, MAX_METRICS_LINE_BYTES) if path.exists() else iter(())


def read_metrics(run_path: Path) -> Iterator[dict[str, float]]:
    """Read the numbers of metrics.jsonl.

    Args:
        run_path: run directory.

    Yields:
        value by name for each line, in order; other values and damaged lines are left out.
    """
    for record in _read_records(run_path):
        with contextlib.suppress(OverflowError):
            yield {printable(name): float(value) for name, value in record.items() if type(value) in (int, float)}


def read_alarms(run_path: Path) -> list[tuple[int, str]]:
    """Read the alarms of a run.

    Args:
        run_path: run directory.

    Returns:
        pairs of images_seen and message, in order.
    """
    alarms = []
    for record in _read_records(run_path):
        images_seen, message = record.get("images_seen"), record.get(MESSAGE_KEY)
        if ALARM_KEY in record and type(images_seen) is int and isinstance(message, str):
            alarms.append((images_seen, printable(message, 1000)))
    return alarms


def training_seconds(run_path: Path) -> float:
    """Return the seconds that a run has trained, without the time between interruption and resume.

    Args:
        run_path: run directory.

    Returns:
        seconds; 0 without a log.
    """
    return max((line["train_seconds"] for line in read_metrics(run_path) if "train_seconds" in line), default=0.0)


class MetricsWriter:
    """Event handler that appends metrics, alarms and rollbacks to metrics.jsonl."""

    def __init__(self, run_path: Path) -> None:
        self.run_path, self.log_path = run_path, run_path / METRICS_FILE
        self.previous_seconds, self.start_time = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):  # seconds count on from those before the resume
            self.previous_seconds, self.start_time = training_seconds(self.run_path), time.perf_counter()
            return
        values: dict[str, float | str]
        if isinstance(event, Alarm):
            values = {ALARM_KEY: event.name, MESSAGE_KEY: event.text}
        elif isinstance(event, Rollback):
            values = {ALARM_KEY: ROLLED_BACK, MESSAGE_KEY: event.text, ROLLBACKS_KEY: event.num_rollbacks}
        elif isinstance(event, ValidationMetrics) or (isinstance(event, TrainingProgress) and event.metrics):
            values = {name: round_metric(value) for name, value in event.metrics.items()}
        else:
            return
        record: dict[str, float | str] = {"step": event.step, "images_seen": event.images_seen}
        if isinstance(event, TrainingProgress):
            record["images_per_second"] = round(event.images_per_second, 1)
        record["train_seconds"] = round(self.previous_seconds + time.perf_counter() - self.start_time, 1)
        try:
            with append_regular(self.log_path) as file:
                file.write(json.dumps(record | values).encode() + b"\n")
        except OSError as error:
            raise VaeganError(f"cannot write {self.log_path}: {error_text(error)}{disk_hint(error)}") from error
