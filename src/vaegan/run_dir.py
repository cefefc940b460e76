"""The directory of one training run: config.json, metrics.jsonl, previews, checkpoints and weights."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaegan import metrics_log
from vaegan.checkpoint import (
    CHECKPOINT_STATE_FILE,
    MODEL_KINDS,
    TRAINING_STATE_FILE,
    WEIGHTS_FILE,
    has_flag,
    parse_step,
    read_weights_info,
    save_tensors,
    verify_checksums,
    verify_tensors,
)
from vaegan.config.options import require_int
from vaegan.errors import VaeganError, disk_hint, error_text, printable
from vaegan.events import EventHandler, WarningMessage
from vaegan.utils.files import (
    PARTIAL_PREFIX,
    REPLACED_PREFIX,
    atomic_directory,
    clean_partial_files,
    ensure_within,
    file_sha256,
    read_json,
    real_path,
    write_bytes,
    write_json,
)
from vaegan.utils.lock import LOCK_FILE

if TYPE_CHECKING:
    from torch import Tensor

RUN_FORMAT_VERSION = 2
CONFIG_FILE = "config.json"
HUB_MODEL_TYPE = "vaegan"
"""The "model_type" in the config.json of a folder for the Hugging Face hub, which is no run."""
PLANNED_STEPS = "planned_steps"
"""Entry of config.json's schedule: the steps that were asked for, where --stop-when flat has ended the run before."""
BEST_WEIGHTS_FILE = "best.safetensors"
TENSORBOARD_DIR, WANDB_DIR, LOG_ID_FILE = "tensorboard", "wandb", "log-id.json"
"""What --log writes: TensorBoard's and W&B's files, and the id that W&B or MLflow gave to the run."""
STEP_PREVIEW, DRIFT_PREVIEW = "step", "drift"
"""Prefixes of preview files: samples from fixed latents, and the VAE's decoder beside the GAN's generator."""
LATENT_DIM_CHART = "latent-sizes.svg"
MANAGED_FILES = (
    *(CONFIG_FILE, metrics_log.METRICS_FILE, "previews", "checkpoints", WEIGHTS_FILE, BEST_WEIGHTS_FILE),
    *(LATENT_DIM_CHART, "report.html", TENSORBOARD_DIR, WANDB_DIR, LOG_ID_FILE),
)
"""All that a training writes into its directory; --force deletes these, kept weights, and nothing else."""
KEPT_WEIGHTS_PREFIX = "model-step"
"""Prefix of weights that are newer than the checkpoint that a run resumed from: "model-step-0001000.safetensors"."""


def update_old_options(options: dict[str, Any], kind: str) -> None:
    """Turn the options of an older config.json into those that do the same now.

    Args:
        options: the options, which are changed.
        kind: "vae" or "gan".
    """
    if options.pop("tensorboard", False):  # before --log
        options["log"] = "tensorboard"
    if kind == "gan":
        for name in ("d_recon_weight", "patch_weight"):  # before the options, there were no such losses
            options.setdefault(name, 0.0)


def _check_config_values(config: Mapping[str, Any]) -> None:
    """Raise ValueError if a value of config.json has the wrong type or range."""
    require_int(config["schedule"], "total_steps")
    require_int(config["schedule"], PLANNED_STEPS, 0)
    for name in ("checkpoint_every", "sample_every"):
        require_int(config["schedule"], name, 1)
    require_int(config["schedule"], "evaluate_every", 0)
    require_int(config["options"], "batch_size", 0)
    rate = config["schedule"].get("images_per_second")
    if rate is not None and (not isinstance(rate, (int, float)) or not 0 < rate < float("inf")):
        raise ValueError(f"images_per_second {printable(rate)!r}, expected a number above 0")
    for name in ("from_vae", "from_run"):
        source = config.get(name)
        if source is not None and not isinstance(source, dict):
            raise ValueError(f"{name} {printable(source)!r}, expected an object")
        if source and not isinstance(source.get("train_seconds", 0.0), (int, float)):
            raise ValueError(f"{name} train_seconds {printable(source['train_seconds'])!r}, expected a number")


class RunDir:
    """The directory of a run, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path, self.config_path = path, path / CONFIG_FILE
        self.weights_path, self.best_weights_path = path / WEIGHTS_FILE, path / BEST_WEIGHTS_FILE

    def exists(self) -> bool:
        """Return whether the directory holds a run.

        Returns:
            whether config.json is there, and not that of an exported model.
        """
        return self.config_path.is_file() and not is_hub_folder(self.path)

    def read_config(self) -> dict[str, Any]:
        """Read and check config.json.

        Returns:
            the contents of config.json.

        Raises:
            VaeganError: if it is damaged, not from vaegan, or has another format version.
        """
        config = read_json(ensure_within(self.config_path, self.path))
        version = config.get("format_version")
        if not isinstance(version, int) or version < 1 or config.get("kind") not in MODEL_KINDS:
            raise VaeganError(f"{self.config_path} is damaged: format_version or kind is missing")
        if version < RUN_FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version}, of vaegan 0.1: train it again with --force or another --run"
            )
        if version > RUN_FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version}, this vaegan reads up to {RUN_FORMAT_VERSION}: upgrade vaegan"
            )
        for section in ("options", "model", "data", "schedule"):
            if not isinstance(config.get(section), dict):
                raise VaeganError(f"{self.config_path} is damaged: {section!r} is missing")
        update_old_options(config["options"], config["kind"])
        try:
            _check_config_values(config)
        except ValueError as error:
            raise VaeganError(f"{self.config_path} is damaged: {error_text(error)}") from error
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json.

        Args:
            config: its contents, without the format version.

        Raises:
            VaeganError: if it cannot be written.
        """
        write_json(self.config_path, {"format_version": RUN_FORMAT_VERSION, **config})

    def record_flat_stop(self, step: int, planned_steps: int) -> None:
        """Record in config.json that the run has ended early, and how long it was meant to be.

        Args:
            step: its last step.
            planned_steps: steps that were asked for.

        Raises:
            VaeganError: if the file cannot be read or written.
        """
        self.record_schedule({"total_steps": step, PLANNED_STEPS: planned_steps})

    def record_schedule(self, entries: Mapping[str, Any]) -> None:
        """Replace entries of the schedule in config.json.

        Args:
            entries: values by name.

        Raises:
            VaeganError: if the file cannot be read or written.
        """
        config = self.read_config()
        config["schedule"] |= entries
        self.write_config(config)

    def check_is_run_or_empty(self, force: bool) -> None:
        """Check that a run may be started in the directory.

        Args:
            force: allow other files in it.

        Raises:
            VaeganError: if the path is a file, or the directory holds other files than a run's and `force` is not
                given.
        """
        if self.path.exists() and not self.path.is_dir():
            raise VaeganError(f"{self.path} is a file: choose another --run")
        if self.exists() or force or not self.path.is_dir():
            return
        leftovers = (LOCK_FILE, PARTIAL_PREFIX, REPLACED_PREFIX)
        if any(not path.name.startswith(leftovers) for path in self.path.iterdir()):
            raise VaeganError(f"{self.path} exists and is not a run of vaegan: choose another --run, or add --force")

    def prepare_new(self, force: bool) -> None:
        """Create the directory for a new run.

        Args:
            force: delete the files of an older run (only MANAGED_FILES).

        Raises:
            VaeganError: if the directory holds other files and `force` is not given, or cannot be created.
        """
        self.check_is_run_or_empty(force)
        clean_partial_files(self.path)
        if force:
            for path in (*(self.path / name for name in MANAGED_FILES), *self.kept_weights()):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VaeganError(f"cannot create {self.path}: {error_text(error)}{disk_hint(error)}") from error

    def kept_weights(self) -> list[Path]:
        """Return the weights that `keep_newer_weights` set aside.

        Returns:
            the files, in no order.
        """
        paths = self.path.glob(f"{KEPT_WEIGHTS_PREFIX}-*.safetensors")
        return [path for path in paths if parse_step(path.with_suffix(""), KEPT_WEIGHTS_PREFIX) >= 0]

    def keep_newer_weights(self, step: int, emit: EventHandler) -> None:
        """Set the run's weights aside if they are newer than `step`, the checkpoint to resume from.

        That checkpoint's weights take their place, and reaching the same step again may take days. The kept file is
        deleted with the first checkpoint that is not older.

        Args:
            step: step of the checkpoint.
            emit: receives a warning if weights were set aside.
        """
        try:
            newest_step = read_weights_info(self.weights_path).step
        except VaeganError:
            return
        if newest_step > step:
            kept = self.path / f"{KEPT_WEIGHTS_PREFIX}-{newest_step:07d}.safetensors"
            self.weights_path.replace(kept)
            emit(
                WarningMessage(
                    f"{self.weights_path} of step {newest_step} is newer than the checkpoint: kept as {kept} until the"
                    " run is as far again"
                )
            )

    def remove_partial_files(self) -> None:
        """Delete what a killed process left half-written.

        Raises:
            VaeganError: if a link leads out of the run.
        """
        for name in MANAGED_FILES:
            ensure_within(self.path / name, self.path)
        for directory in (self.path, self.path / "checkpoints", self.path / "previews"):
            clean_partial_files(directory)

    def preview_path(self, step: int, kind: str = STEP_PREVIEW) -> Path:
        """Return the path of a preview.

        Args:
            step: step of the preview.
            kind: STEP_PREVIEW or DRIFT_PREVIEW.

        Returns:
            RUN/previews/KIND-STEP.png.
        """
        return self.path / "previews" / f"{kind}-{step:07d}.png"

    def previews(self, kind: str = STEP_PREVIEW) -> dict[Path, int]:
        """Return the previews of a kind and their steps, oldest first.

        Args:
            kind: STEP_PREVIEW or DRIFT_PREVIEW.

        Returns:
            step by path.
        """
        paths = (self.path / "previews").glob(f"{kind}-*.png")
        steps = {path: parse_step(path.with_suffix(""), kind) for path in paths}
        return {path: step for path, step in sorted(steps.items(), key=lambda item: item[1]) if step >= 0}

    def checkpoints(self) -> list[Path]:
        """Return the checkpoint directories, oldest first.

        Returns:
            the directories; damaged ones are not told apart.
        """
        paths = (self.path / "checkpoints").glob("step-*")
        return sorted((path for path in paths if path.is_dir() and parse_step(path) >= 0), key=parse_step)

    def checkpoint_path(self, step: int) -> Path:
        """Return the path of a step's checkpoint directory, such as RUN/checkpoints/step-0001000.

        Args:
            step: step of the checkpoint.

        Returns:
            the path.
        """
        return self.path / "checkpoints" / f"step-{step:07d}"

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        write_weights: Callable[[Path], None],
        num_to_keep: int,
        is_scheduled: bool = True,
        best_step: int | None = None,
    ) -> Path:
        """Write and verify a checkpoint, copy its weights to the run, then delete older checkpoints.

        Args:
            step: step of the checkpoint.
            tensors: the training state.
            write_weights: writes the weights file to the path that it is given.
            num_to_keep: number of most recent scheduled checkpoints to keep.
            is_scheduled: False if only an interruption or a good score asks for it; the next save deletes it then.
            best_step: step of the checkpoint with the best KID (this or an older one), which is kept as well.

        Returns:
            the checkpoint directory.

        Raises:
            VaeganError: if it cannot be written, or reads back differently; all older checkpoints are kept then.
        """
        path = self.checkpoint_path(step)
        try:
            with atomic_directory(path) as partial:
                save_tensors(partial / TRAINING_STATE_FILE, tensors, {"format": "vaegan-training"})
                verify_tensors(partial / TRAINING_STATE_FILE, tensors)
                write_weights(partial / WEIGHTS_FILE)
                checksums = {name: file_sha256(partial / name) for name in (TRAINING_STATE_FILE, WEIGHTS_FILE)}
                state = {"step": step, "scheduled": is_scheduled, "is_best": step == best_step, "sha256": checksums}
                write_json(partial / CHECKPOINT_STATE_FILE, state)
            verify_checksums(path)
            self.copy_weights_from(path)
            for kept in self.kept_weights():
                if parse_step(kept.with_suffix(""), KEPT_WEIGHTS_PREFIX) <= step:
                    kept.unlink(missing_ok=True)
        except VaeganError as error:
            older = [checkpoint for checkpoint in self.checkpoints() if checkpoint != path]
            remaining = f"{older[-1]} is intact" if older else "there is no older one"
            cause = error_text(error.__cause__) if error.__cause__ is not None else str(error)
            raise VaeganError(
                f"cannot save checkpoint {path}: {cause}; {remaining}: free disk space or make it writable, then run"
                " the same command again"
            ) from error
        self._prune_checkpoints(path, num_to_keep, best_step)
        return path

    def copy_weights_from(self, checkpoint: Path) -> None:
        """Copy a checkpoint's weights to the run's, unless they are equal.

        Args:
            checkpoint: checkpoint directory.

        Raises:
            VaeganError: if the file cannot be written.
        """
        content = (checkpoint / WEIGHTS_FILE).read_bytes()
        if not self.weights_path.is_file() or self.weights_path.read_bytes() != content:
            write_bytes(self.weights_path, content)

    def _prune_checkpoints(self, newest: Path, num_to_keep: int, best_step: int | None) -> None:
        scheduled = [path for path in self.checkpoints() if self.is_scheduled(path)]
        keep = {newest, *scheduled[-num_to_keep:]}
        if best_step is not None:
            keep.add(self.checkpoint_path(best_step))
        for path in self.checkpoints():
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def valid_checkpoint(self, step: int) -> Path | None:
        """Return the checkpoint of a step if it is intact.

        Args:
            step: step of the checkpoint.

        Returns:
            its directory, or None if there is none or it is damaged.
        """
        path = self.checkpoint_path(step)
        with contextlib.suppress(VaeganError):
            verify_checksums(ensure_within(path, self.path))
            return path
        return None

    def is_scheduled(self, checkpoint: Path) -> bool:
        """Return whether a checkpoint was saved at a regular interval.

        Args:
            checkpoint: checkpoint directory.

        Returns:
            True if so, False if only an interruption or a good score asked for it.
        """
        return has_flag(checkpoint, "scheduled")

    def latest_checkpoint(self, on_event: EventHandler, scheduled_only: bool = False) -> Path | None:
        """Return the newest intact checkpoint, with a warning about damaged ones.

        Args:
            on_event: receives the warnings.
            scheduled_only: pass over checkpoints that were saved only because of an interruption.

        Returns:
            its directory, or None if the run has no checkpoints.

        Raises:
            VaeganError: if there are checkpoints and all are damaged.
        """
        damaged = []
        for path in reversed(self.checkpoints()):
            if scheduled_only and not (self.is_scheduled(path) or has_flag(path, "is_best")):
                continue
            try:
                verify_checksums(ensure_within(path, self.path))
            except VaeganError as error:
                damaged.append(f"{path} is damaged ({error})")
                continue
            if damaged:
                on_event(WarningMessage(f"{'; '.join(damaged)}: resuming from {path}"))
            return path
        if damaged:
            raise VaeganError(
                f"{'; '.join(damaged)}; no intact checkpoint is left: start over with --force or another --run"
            )
        return None

    def rollback_to(self, step: int, num_rollbacks: int) -> None:
        """Delete the checkpoints, previews and metrics after a step.

        Args:
            step: step to return to.
            num_rollbacks: number of rollbacks, with this one.
        """
        for path in reversed(self.checkpoints()):  # newest first, so that a kill leaves no gap
            if parse_step(path) > step:
                shutil.rmtree(path, ignore_errors=True)
        for path, preview_step in (self.previews(STEP_PREVIEW) | self.previews(DRIFT_PREVIEW)).items():
            if preview_step > step:
                path.unlink(missing_ok=True)
        self.truncate_metrics(step, num_rollbacks)

    def truncate_metrics(self, step: int, num_rollbacks: int = 0) -> None:
        """Delete the lines of metrics.jsonl that a resumed run will write again; see `truncate_log`.

        Args:
            step: step of the checkpoint to resume from.
            num_rollbacks: number of rollbacks that the checkpoint knows of.
        """
        metrics_log.truncate_log(self.path, step, num_rollbacks)


def is_hub_folder(path: Path) -> bool:
    """Return whether a folder was written by `vaegan export --hub`.

    Args:
        path: the folder.

    Returns:
        whether its config.json says so; False if that cannot be read.
    """
    with contextlib.suppress(VaeganError):
        return read_json(ensure_within(path / CONFIG_FILE, path)).get("model_type") == HUB_MODEL_TYPE
    return False


def run_of_checkpoint(directory: Path) -> Path | None:
    """Return the run that a directory is a checkpoint of, by their names alone.

    Args:
        directory: such as RUN/checkpoints/step-0001000.

    Returns:
        RUN, or None for a directory of another name.
    """
    is_checkpoint = directory.name.startswith("step-") and directory.parent.name == "checkpoints"
    return directory.parent.parent if is_checkpoint else None


def find_run(weights: Path) -> RunDir | None:
    """Return the run that a weights file belongs to, directly or in a checkpoint.

    Args:
        weights: weights file.

    Returns:
        the run, or None.
    """
    for parent in list(weights.resolve().parents)[:3]:  # up to RUN/checkpoints/step-0000001/model.safetensors
        if RunDir(parent).exists():
            return RunDir(parent)
    return None


def best_weights_of(run: Path) -> Path:
    """Return the weights with the lowest KID of a run.

    Args:
        run: directory of the run.

    Returns:
        the file.

    Raises:
        VaeganError: if the run has none.
    """
    path = run / BEST_WEIGHTS_FILE
    if not path.is_file():
        raise VaeganError(
            f"--best: {run} contains no {BEST_WEIGHTS_FILE}; give a run that was trained with validation images"
        )
    return path


def latest_run(root: Path, kinds: tuple[str, ...]) -> Path | None:
    """Return the newest run of a kind.

    Args:
        root: directory that holds runs.
        kinds: kinds to look for; the first that has a run with weights counts.

    Returns:
        the run directory, or None if there is none.
    """
    for kind in kinds:
        weights_paths = []
        for path in root.glob(f"*/{WEIGHTS_FILE}"):
            with contextlib.suppress(VaeganError):
                if RunDir(path.parent).read_config()["kind"] == kind:
                    weights_paths.append(path)
        if weights_paths:
            return max(weights_paths, key=lambda path: path.stat().st_mtime).parent
    return None


def unused_run_path(run: Path) -> Path:
    """Return a path for another run beside one that exists.

    Args:
        run: directory of the run, such as runs/vae.

    Returns:
        the first of runs/vae-2, runs/vae-3 and so on that does not exist.
    """
    paths = (run.with_name(f"{run.name}-{number}") for number in itertools.count(2))
    return next(path for path in paths if not path.exists())


def weights_name(weights: Path) -> str:
    """Return a name of a weights file for what is made from it.

    Args:
        weights: the file.

    Returns:
        "gan", "gan-best", "gan-step-0001000" or its own name.
    """
    parent = weights.parent
    if run := run_of_checkpoint(parent):
        return f"{real_path(run).name}-{parent.name}"
    if weights.name == BEST_WEIGHTS_FILE:
        return f"{real_path(parent).name}-best"
    return real_path(parent).name if weights.name == WEIGHTS_FILE else weights.stem
