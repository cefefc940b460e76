"""A run directory: config.json, metrics.jsonl, previews, checkpoints and the published weights."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vaegan.checkpoint import WEIGHTS, load_tensors, save_tensors
from vaegan.errors import VaeganError, reason
from vaegan.events import Emit, Event, Measured, Progress, Started, Warned
from vaegan.files import directory_atomically, read_json, sha256, sweep, write_bytes, write_json

FORMAT_VERSION = 1
BEST = "best.safetensors"
OURS = ("config.json", "metrics.jsonl", "previews", "checkpoints", WEIGHTS, BEST, "report.html")


def step_name(step: int) -> str:
    """Name of a step's checkpoint directory and preview: step-0001000."""
    return f"step-{step:07d}"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint, read: where, at which step, the trainer's tensors, and what else state.json says."""

    path: Path
    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class Run:
    """The run at `path`, existing or to be made."""

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched."""
        self.path = path

    @property
    def weights(self) -> Path:
        """The published weights."""
        return self.path / WEIGHTS

    @property
    def best(self) -> Path:
        """The weights that scored best during training."""
        return self.path / BEST

    def exists(self) -> bool:
        """Say whether a run of ours is there."""
        return (self.path / "config.json").is_file()

    def config(self) -> dict[str, Any]:
        """Read config.json. Raises VaeganError when it is damaged, foreign or of a newer format."""
        config = read_json(self.path / "config.json")
        version = config.get("format_version")
        if not isinstance(version, int) or config.get("kind") not in ("vae", "gan"):
            raise VaeganError(f"{self.path / 'config.json'} is damaged: it names no format version and kind")
        if version > FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version}, this vaegan reads up to {FORMAT_VERSION}: upgrade vaegan"
            )
        for part in ("options", "model", "data", "plan"):
            if not isinstance(config.get(part), dict):
                raise VaeganError(f"{self.path / 'config.json'} is damaged: {part!r} is missing")
        return config

    def claim(self, force: bool) -> None:
        """Make the directory ready for a new run.

        Raises VaeganError when it holds something that is not a run. `force` removes an older run's files, and
        only those that a run is made of.
        """
        if self.path.exists() and not self.path.is_dir():
            raise VaeganError(f"{self.path} is a file: choose another --run")
        sweep(self.path)
        if self.path.is_dir() and not self.exists() and any(self.path.iterdir()) and not force:
            raise VaeganError(f"{self.path} exists and is not a run of vaegan: choose another --run, or add --force")
        if force:
            for name in OURS:
                place = self.path / name
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink(missing_ok=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VaeganError(f"cannot make {self.path}: {reason(error)}") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json with its format version first."""
        write_json(self.path / "config.json", {"format_version": FORMAT_VERSION, **config})

    def preview(self, step: int) -> Path:
        """Where the preview of `step` goes."""
        return self.path / "previews" / f"{step_name(step)}.png"

    def checkpoints(self) -> list[Path]:
        """Checkpoint directories, oldest first."""
        return sorted(path for path in (self.path / "checkpoints").glob("step-*") if path.is_dir())

    def save(self, step: int, tensors: Mapping[str, Tensor], publish: Callable[[Path], None], keep: int) -> Path:
        """Write a checkpoint whole, publish its weights, then drop all but the newest `keep`.

        tensors: what going on needs; publish: writes the weights that are used, to the path it is given. Raises
        VaeganError when the disk refuses; every older checkpoint is then still there.
        """
        path = self.path / "checkpoints" / step_name(step)
        try:
            with directory_atomically(path) as place:
                save_tensors(place / "training.safetensors", tensors, {"format": "vaegan-training"})
                publish(place / WEIGHTS)
                sums = {name: sha256(place / name) for name in ("training.safetensors", WEIGHTS)}
                write_json(place / "state.json", {"step": step, "sha256": sums})
            write_bytes(self.weights, (path / WEIGHTS).read_bytes())
        except VaeganError as error:
            older = self.checkpoints()
            kept = f"{older[-1]} is whole" if older else "there is no older one"
            raise VaeganError(
                f"cannot save checkpoint {path}: {_cause(error)}; {kept}: free some room and run the same command again"
            ) from error
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return path

    def newest(self, on_event: Emit) -> Checkpoint | None:
        """Read the newest checkpoint that is whole; say which damaged ones were passed over."""
        for folder in (self.path, self.path / "checkpoints", self.path / "previews"):
            sweep(folder)
        damaged = []
        for path in reversed(self.checkpoints()):
            try:
                state = read_json(path / "state.json")
                for name, expected in dict(state["sha256"]).items():
                    if sha256(path / Path(name).name) != expected:
                        raise VaeganError(f"{path / name} is damaged: its checksum is another")
                found = Checkpoint(path, int(state["step"]), load_tensors(path / "training.safetensors"), state)
            except (VaeganError, OSError, KeyError, TypeError, ValueError) as error:
                damaged.append(f"{path} is damaged ({reason(error)})")
                continue
            if damaged:
                on_event(Warned(f"{'; '.join(damaged)}: going on from {path}"))
            return found
        if damaged:
            raise VaeganError(
                f"{'; '.join(damaged)}; no whole checkpoint is left: start over with --force or another --run"
            )
        return None

    def cut_metrics(self, step: int) -> None:
        """Drop the lines of metrics.jsonl after `step`, which a resumed run will write again."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            write_bytes(path, "".join(line + "\n" for line in kept).encode())


def _cause(error: VaeganError) -> str:
    return reason(error.__cause__) if error.__cause__ is not None else str(error)


def _step_of(line: str) -> float:
    """Step of a line of metrics.jsonl; a half-written last line counts as infinitely late."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def metrics_of(run: Run) -> list[dict[str, Any]]:
    """Read the lines of metrics.jsonl that are whole, in order."""
    path, found = run.path / "metrics.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def seconds_of(run: Run) -> float:
    """Seconds of training that went into a run so far, interruptions left out."""
    return max((float(line["seconds"]) for line in metrics_of(run) if "seconds" in line), default=0.0)


class MetricsWriter:
    """Listens to a run and appends a line to metrics.jsonl per log interval or measurement."""

    def __init__(self, run: Run) -> None:
        """Write to `run`; the seconds of earlier stretches count on once training starts."""
        self.run, self.path = run, run.path / "metrics.jsonl"
        self.before, self.began = 0.0, time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Take down what has numbers."""
        if isinstance(event, Started):
            self.before, self.began = seconds_of(self.run), time.perf_counter()
        if isinstance(event, Progress) and event.metrics:
            line = {"step": event.step, "images": event.images, "images_per_second": round(event.rate, 1)}
        elif isinstance(event, Measured):
            line = {"step": event.step, "images": event.images}
        else:
            return
        line["seconds"] = round(self.before + time.perf_counter() - self.began, 1)
        values = {name: float(f"{value:.6g}") for name, value in event.metrics.items()}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, **values}) + "\n")
        except OSError as error:
            raise VaeganError(f"cannot write {self.path}: {reason(error)}") from error


def run_of(weights: Path) -> Run | None:
    """Return the run that a weights file lies in, as published or in a checkpoint, if it lies in one."""
    for parent in list(weights.resolve().parents)[:3]:
        if Run(parent).exists():
            return Run(parent)
    return None


def newest_run(root: Path, kinds: tuple[str, ...]) -> Path | None:
    """Return the run under `root` with weights of the first kind of `kinds` that there is, the newest of them."""
    for kind in kinds:
        found = []
        for path in root.glob(f"*/{WEIGHTS}"):
            try:
                if Run(path.parent).config()["kind"] == kind:
                    found.append(path)
            except VaeganError:
                continue
        if found:
            return max(found, key=lambda path: path.stat().st_mtime).parent
    return None
