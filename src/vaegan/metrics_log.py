"""A run's metrics.jsonl: a line per log interval, measurement and alarm. `run` is the run's directory throughout."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaegan.errors import VaeganError, reason, shown
from vaegan.events import Alarmed, Event, Measured, Progress, Retreated, Started
from vaegan.utils.files import inside, write_bytes

NAME = "metrics.jsonl"
MAX_LINE = 2**16
ALARM, WORDS, RETREATS = "alarm", "words", "retreats"
WENT_BACK = "went_back"


def cut(run: Path, step: int, times: int) -> None:
    """Drop the lines that the run at `step`, which went back `times` times, will write again, and broken ones."""
    path = run / NAME
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            kept = [line for line in file if line.endswith("\n") and not _comes_again(line, step, times)]
        write_bytes(path, "".join(kept).encode())


def _comes_again(line: str, step: int, times: int) -> bool:
    """Say whether a run at `step` that went back `times` times will write this line again, or it is broken."""
    try:
        said = json.loads(line)
        return int(said["step"]) > step or int(said.get(RETREATS, 0)) > times
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return True


def written(value: float) -> float:
    """A number as metrics.jsonl has it."""
    return float(f"{value:.6g}")


def _said(run: Path) -> Iterator[dict[str, Any]]:
    """Yield every whole line of metrics.jsonl, in order."""
    path = run / NAME
    if not path.is_file():
        return
    with inside(path, run).open(encoding="utf-8", errors="replace") as file:
        while line := file.readline(MAX_LINE):
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said


def metrics_of(run: Path) -> Iterator[dict[str, float]]:
    """Yield the numbers of every line of metrics.jsonl, in order; what is broken or no number is passed over."""
    for said in _said(run):
        with contextlib.suppress(OverflowError):
            yield {shown(name): float(value) for name, value in said.items() if type(value) in (int, float)}


def alarms_of(run: Path) -> list[tuple[int, str]]:
    """Every alarm of a run: after how many pictures it began, and its words."""
    found = []
    for said in _said(run):
        images, words = said.get("images"), said.get(WORDS)
        if ALARM in said and type(images) is int and isinstance(words, str):
            found.append((images, shown(words, 1000)))
    return found


def seconds_of(run: Path) -> float:
    """Seconds of training that went into a run so far, interruptions left out."""
    return max((line["seconds"] for line in metrics_of(run) if "seconds" in line), default=0.0)


class MetricsWriter:
    """Listens to a run and appends a line to metrics.jsonl per log interval or measurement."""

    def __init__(self, run: Path) -> None:
        """Write to `run`; the seconds of earlier stretches count on once training starts."""
        self.run, self.path = run, run / NAME
        self.before, self.began = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take down what has numbers."""
        if isinstance(event, Started):
            self.before, self.began = seconds_of(self.run), time.perf_counter()
        if isinstance(event, Progress) and event.metrics:
            line = {"step": event.step, "images": event.images, "images_per_second": round(event.rate, 1)}
        elif isinstance(event, (Measured, Alarmed, Retreated)):
            line = {"step": event.step, "images": event.images}
        else:
            return
        line["seconds"] = round(self.before + time.perf_counter() - self.began, 1)
        values: dict[str, float | str]
        if isinstance(event, Alarmed):
            values = {ALARM: event.name, WORDS: event.text}
        elif isinstance(event, Retreated):
            values = {ALARM: WENT_BACK, WORDS: event.text, RETREATS: event.times}
        else:
            values = {name: written(value) for name, value in event.metrics.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, **values}) + "\n")
        except OSError as error:
            raise VaeganError(f"cannot write {self.path}: {reason(error)}") from error
