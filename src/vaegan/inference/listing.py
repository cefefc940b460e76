"""List the runs and datasets of a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.checkpoint import parse_step
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.metrics_log import METRICS_FILE, read_metrics
from vaegan.run_dir import CONFIG_FILE, RunDir, is_hub_folder


@dataclass(frozen=True)
class RunEntry:
    """What a list says about a run.

    `kid` is the newest, `best_kid` the lowest; both are None without an evaluation.
    """

    path: Path
    kind: str
    step: int
    total_steps: int
    images_seen: int
    kid: float | None
    best_kid: float | None
    seconds_ago: float
    problem: str = ""

    @property
    def state(self) -> str:
        """Whether the run is finished, how far it is, or what is wrong with it."""
        if self.problem:
            return self.problem
        return "finished" if self.step >= self.total_steps else f"{self.step / self.total_steps:.0%} done"


@dataclass(frozen=True)
class DatasetEntry:
    """What a list says about a dataset."""

    path: Path
    size: int
    train_images: int
    val_images: int
    seconds_ago: float
    problem: str = ""


def list_runs(folder: Path) -> list[RunEntry]:
    """Return the runs directly under a folder.

    Args:
        folder: the folder.

    Returns:
        one entry per run, the newest first; that of a damaged run has a `problem`.
    """
    paths = [path.parent for path in folder.glob(f"*/{CONFIG_FILE}") if not path.parent.name.startswith(".")]
    paths = [path for path in paths if not is_hub_folder(path)]
    return sorted(map(_describe_run, paths), key=lambda entry: entry.seconds_ago)


def list_datasets(folder: Path) -> list[DatasetEntry]:
    """Return the datasets directly under a folder.

    Args:
        folder: the folder.

    Returns:
        one entry per dataset, the newest first; that of a damaged dataset has a `problem`.
    """
    paths = [path.parent for path in folder.glob("*/set.json") if not path.parent.name.startswith(".")]
    return sorted(map(_describe_dataset, paths), key=lambda entry: entry.seconds_ago)


def _describe_run(path: Path) -> RunEntry:
    run_dir = RunDir(path)
    seconds_ago = min(_seconds_since(path / name) for name in (CONFIG_FILE, METRICS_FILE))
    try:
        config = run_dir.read_config()
    except VaeganError:
        return RunEntry(path, "-", 0, 0, 0, None, None, seconds_ago, "damaged")
    checkpoints = run_dir.checkpoints()
    step = parse_step(checkpoints[-1]) if checkpoints else 0
    kids = list(_kids(path))
    return RunEntry(
        path,
        str(config["kind"]),
        step,
        int(config["schedule"]["total_steps"]),
        step * int(config["options"].get("batch_size", 0)),
        kids[-1] if kids else None,
        min(kids, default=None),
        seconds_ago,
    )


def _kids(path: Path) -> Iterator[float]:
    """Yield the KIDs of a run after its first step."""
    for line in read_metrics(path):
        if line.get("step", 0) > 0 and math.isfinite(line.get("kid", math.nan)):
            yield line["kid"]


def _describe_dataset(path: Path) -> DatasetEntry:
    seconds_ago = _seconds_since(path / "set.json")
    try:
        dataset = open_dataset(path)
        counts: dict[str, Any] = dataset.counts
    except VaeganError:
        return DatasetEntry(path, 0, 0, 0, seconds_ago, "damaged")
    return DatasetEntry(path, dataset.size, int(counts["train"]), int(counts["val"]), seconds_ago)


def _seconds_since(path: Path) -> float:
    return max(0.0, time.time() - path.stat().st_mtime) if path.exists() else math.inf
