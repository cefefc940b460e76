"""A run directory: config.json, metrics.jsonl, previews, checkpoints and the published weights."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vaegan import metrics_log
from vaegan.checkpoint import (
    MODEL_KINDS,
    TRAINING_STATE_FILE,
    WEIGHTS_FILE,
    has_flag,
    parse_step,
    save_tensors,
    verify_checksums,
    verify_tensors,
)
from vaegan.config.options import require_int
from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import EventHandler, WarningMessage
from vaegan.utils import lock
from vaegan.utils.files import (
    PARTIAL_PREFIX,
    REPLACED_PREFIX,
    atomic_directory,
    clean_partial_files,
    ensure_within,
    file_sha256,
    read_json,
    write_bytes,
    write_json,
)

RUN_FORMAT_VERSION = 2
BEST_WEIGHTS_FILE = "best.safetensors"
TENSORBOARD_DIR = "tensorboard"
STEP_PREVIEW, DRIFT_PREVIEW = "step", "drift"
"""What a preview's name begins with: samples of the same latents, or the VAE's decoder beside the GAN's generator."""
LATENT_DIM_CHART = "latent-sizes.svg"
MANAGED_FILES = (
    *("config.json", metrics_log.METRICS_FILE, "previews", "checkpoints", WEIGHTS_FILE, BEST_WEIGHTS_FILE),
    *(LATENT_DIM_CHART, "report.html", TENSORBOARD_DIR),
)


def step_name(step: int) -> str:
    """Name of a step's checkpoint directory and preview: step-0001000."""
    return f"step-{step:07d}"


def _check_config(config: Mapping[str, Any]) -> None:
    """Raise ValueError where a number or a text of config.json is none."""
    for name in ("total_steps", "checkpoint_every", "sample_every"):
        require_int(config["schedule"], name, 1)
    require_int(config["schedule"], "evaluate_every", 0)
    require_int(config["options"], "batch_size", 0)
    rate = config["schedule"].get("images_per_second")
    if rate is not None and (not isinstance(rate, (int, float)) or not 0 < rate < float("inf")):
        raise ValueError(f"rate {printable(rate)!r}, expected a number above 0")
    source = config.get("from_vae")
    if source is not None and not isinstance(source, dict):
        raise ValueError("from_vae is no object")
    if source and not isinstance(source.get("train_seconds", 0.0), (int, float)):
        raise ValueError(f"from_vae seconds {printable(source['train_seconds'])!r}, expected a number")


class RunDir:
    """The run at `path`, existing or to be made."""

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched."""
        self.path = path

    @property
    def weights_path(self) -> Path:
        """The published weights."""
        return self.path / WEIGHTS_FILE

    @property
    def best_weights_path(self) -> Path:
        """The weights that scored best during training."""
        return self.path / BEST_WEIGHTS_FILE

    def exists(self) -> bool:
        """Say whether a run of ours is there."""
        return (self.path / "config.json").is_file()

    def read_config(self) -> dict[str, Any]:
        """Read config.json. Raises VaeganError when it is damaged, foreign or of a newer format."""
        config = read_json(ensure_within(self.path / "config.json", self.path))
        version = config.get("format_version")
        if not isinstance(version, int) or version < 1 or config.get("kind") not in MODEL_KINDS:
            raise VaeganError(f"{self.path / 'config.json'} is damaged: it names no format version and kind")
        if version < RUN_FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version} of vaegan 0.1, which is no longer read: train it again, with --force or"
                " another --run"
            )
        if version > RUN_FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version}, this vaegan reads up to {RUN_FORMAT_VERSION}: upgrade vaegan"
            )
        for part in ("options", "model", "data", "schedule"):
            if not isinstance(config.get(part), dict):
                raise VaeganError(f"{self.path / 'config.json'} is damaged: {part!r} is missing")
        try:
            _check_config(config)
        except ValueError as error:
            raise VaeganError(f"{self.path / 'config.json'} is damaged: {error_text(error)}") from error
        return config

    def check_is_run_or_empty(self, force: bool) -> None:
        """Raise VaeganError where the directory holds something that is not a run, unless `force`."""
        if self.path.exists() and not self.path.is_dir():
            raise VaeganError(f"{self.path} is a file: choose another --run")
        ours = (lock.LOCK_FILE, PARTIAL_PREFIX, REPLACED_PREFIX)
        foreign = self.path.is_dir() and any(not path.name.startswith(ours) for path in self.path.iterdir())
        if foreign and not self.exists() and not force:
            raise VaeganError(f"{self.path} exists and is not a run of vaegan: choose another --run, or add --force")

    def prepare_new(self, force: bool) -> None:
        """Make the directory ready for a new run.

        Raises VaeganError when it holds something that is not a run. `force` removes an older run's files, and
        only those that a run is made of.
        """
        self.check_is_run_or_empty(force)
        clean_partial_files(self.path)
        if force:
            for name in MANAGED_FILES:
                place = self.path / name
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink(missing_ok=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VaeganError(f"cannot make {self.path}: {error_text(error)}") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json with its format version first."""
        write_json(self.path / "config.json", {"format_version": RUN_FORMAT_VERSION, **config})

    def preview_path(self, step: int, kind: str = STEP_PREVIEW) -> Path:
        """Where the preview of `step` goes; kind: STEP or DRIFT."""
        return self.path / "previews" / f"{kind}-{step:07d}.png"

    def previews(self, kind: str = STEP_PREVIEW) -> dict[Path, int]:
        """Previews and their steps, oldest first."""
        found = (self.path / "previews").glob(f"{kind}-*.png")
        steps = {path: parse_step(path.with_suffix(""), kind) for path in found}
        return {path: steps[path] for path in sorted(steps, key=lambda path: steps[path]) if steps[path] >= 0}

    def checkpoints(self) -> list[Path]:
        """Checkpoint directories, oldest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted((path for path in found if path.is_dir() and parse_step(path) >= 0), key=parse_step)

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        write_weights: Callable[[Path], None],
        num_to_keep: int,
        is_scheduled: bool = True,
        best_step: int | None = None,
    ) -> Path:
        """Write a checkpoint whole, read it back, publish its weights, then drop all but the newest `keep`.

        tensors: what going on needs; publish: writes the weights that are used, to the path it is given; planned: False
        for one that only an interruption or its score asks for, which is extra, and dropped at the next; best: the step
        whose checkpoint, this one or an older one, stays for its score. Raises VaeganError when the disk refuses; every
        older checkpoint is then still there.
        """
        path = self.checkpoint_path(step)
        try:
            with atomic_directory(path) as place:
                save_tensors(place / TRAINING_STATE_FILE, tensors, {"format": "vaegan-training"})
                verify_tensors(place / TRAINING_STATE_FILE, tensors)
                write_weights(place / WEIGHTS_FILE)
                sums = {name: file_sha256(place / name) for name in (TRAINING_STATE_FILE, WEIGHTS_FILE)}
                state = {"step": step, "scheduled": is_scheduled, "is_best": step == best_step, "sha256": sums}
                write_json(place / "state.json", state)
            verify_checksums(path)
            self.copy_weights_from(path)
        except VaeganError as error:
            older = [old for old in self.checkpoints() if old != path]
            kept = f"{older[-1]} is whole" if older else "there is no older one"
            raise VaeganError(
                f"cannot save checkpoint {path}: {_cause_text(error)}; {kept}: free some room or make it writable, and run"
                " the same command again"
            ) from error
        stay = [path, *[old for old in self.checkpoints() if has_flag(old, "scheduled")][-num_to_keep:]]
        if best_step is not None:
            stay.append(self.checkpoint_path(best_step))
        for old in self.checkpoints():
            if old not in stay:
                shutil.rmtree(old, ignore_errors=True)
        return path

    def checkpoint_path(self, step: int) -> Path:
        """Where the checkpoint of `step` goes."""
        return self.path / "checkpoints" / step_name(step)

    def valid_checkpoint(self, step: int) -> Path | None:
        """Return the checkpoint of `step`, if there is one and it is whole."""
        path = self.checkpoint_path(step)
        with contextlib.suppress(VaeganError):
            verify_checksums(ensure_within(path, self.path))
            return path
        return None

    def is_scheduled(self, checkpoint: Path) -> bool:
        """Say whether the run has this checkpoint by its cadence."""
        return has_flag(checkpoint, "scheduled")

    def rollback_to(self, step: int, num_rollbacks: int) -> None:
        """Drop checkpoints, the newest first, previews and metrics of after `step`: the run went back to there.

        times: how often it did so far.
        """
        for old in reversed(self.checkpoints()):
            if parse_step(old) > step:
                shutil.rmtree(old, ignore_errors=True)
        for path, drawn in (self.previews(STEP_PREVIEW) | self.previews(DRIFT_PREVIEW)).items():
            if drawn > step:
                path.unlink(missing_ok=True)
        self.truncate_metrics(step, num_rollbacks)

    def copy_weights_from(self, checkpoint: Path) -> None:
        """Make a checkpoint's weights the run's, unless they are. Raises VaeganError when the disk refuses."""
        content = (checkpoint / WEIGHTS_FILE).read_bytes()
        if not self.weights_path.is_file() or self.weights_path.read_bytes() != content:
            write_bytes(self.weights_path, content)

    def remove_partial_files(self) -> None:
        """Remove what a killed process left half-written. Raises VaeganError where a link leads out of the run."""
        for name in MANAGED_FILES:
            ensure_within(self.path / name, self.path)
        for folder in (self.path, self.path / "checkpoints", self.path / "previews"):
            clean_partial_files(folder)

    def latest_checkpoint(self, on_event: EventHandler, scheduled_only: bool = False) -> Path | None:
        """Return the newest checkpoint that is whole; say which damaged ones were passed over.

        planned: not those that only an interruption asked for. Raises VaeganError where there are some and all are
        damaged.
        """
        damaged = []
        for path in reversed(self.checkpoints()):
            if scheduled_only and not (has_flag(path, "scheduled") or has_flag(path, "is_best")):
                continue
            try:
                verify_checksums(ensure_within(path, self.path))
            except VaeganError as error:
                damaged.append(f"{path} is damaged ({error})")
                continue
            if damaged:
                on_event(WarningMessage(f"{'; '.join(damaged)}: going on from {path}"))
            return path
        if damaged:
            raise VaeganError(
                f"{'; '.join(damaged)}; no whole checkpoint is left: start over with --force or another --run"
            )
        return None

    def truncate_metrics(self, step: int, num_rollbacks: int = 0) -> None:
        """Drop the lines of metrics.jsonl that a resumed run will write again.

        Those are the lines after `step`, and those that say that the run went back more than `times` times.
        """
        metrics_log.truncate_log(self.path, step, num_rollbacks)


def _cause_text(error: VaeganError) -> str:
    return error_text(error.__cause__) if error.__cause__ is not None else str(error)


def find_run(weights: Path) -> RunDir | None:
    """Return the run that a weights file lies in, as published or in a checkpoint, if it lies in one."""
    for parent in list(weights.resolve().parents)[:3]:
        if RunDir(parent).exists():
            return RunDir(parent)
    return None


def latest_run(root: Path, kinds: tuple[str, ...]) -> Path | None:
    """Return the run under `root` with weights of the first kind of `kinds` that there is, the newest of them."""
    for kind in kinds:
        found = []
        for path in root.glob(f"*/{WEIGHTS_FILE}"):
            try:
                if RunDir(path.parent).read_config()["kind"] == kind:
                    found.append(path)
            except VaeganError:
                continue
        if found:
            return max(found, key=lambda path: path.stat().st_mtime).parent
    return None
