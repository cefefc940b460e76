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
    KINDS,
    TRAINING,
    WEIGHTS,
    check_sums,
    marked,
    save_tensors,
    step_named,
    verify,
)
from vaegan.config.options import whole
from vaegan.errors import VaeganError, reason, shown
from vaegan.events import Emit, Warned
from vaegan.utils import lock
from vaegan.utils.files import (
    ASIDE,
    TEMPORARY,
    directory_atomically,
    inside,
    read_json,
    sha256,
    sweep,
    write_bytes,
    write_json,
)

FORMAT_VERSION = 1
BEST = "best.safetensors"
TENSORBOARD = "tensorboard"
STEP, DRIFT = "step", "drift"
"""What a preview's name begins with: samples of the same latents, or the VAE's decoder beside the GAN's generator."""
LATENT_SIZES = "latent-sizes.svg"
OURS = (
    *("config.json", metrics_log.NAME, "previews", "checkpoints", WEIGHTS, BEST),
    *(LATENT_SIZES, "report.html", TENSORBOARD),
)


def step_name(step: int) -> str:
    """Name of a step's checkpoint directory and preview: step-0001000."""
    return f"step-{step:07d}"


def _check_config(config: Mapping[str, Any]) -> None:
    """Raise ValueError where a number or a text of config.json is none."""
    for name in ("total", "checkpoint_every", "preview_every"):
        whole(config["plan"], name, 1)
    whole(config["plan"], "evaluate_every", 0)
    whole(config["options"], "batch_size", 0)
    rate = config["plan"].get("rate")
    if rate is not None and (not isinstance(rate, (int, float)) or not 0 < rate < float("inf")):
        raise ValueError(f"rate {shown(rate)!r}, expected a number above 0")
    source = config.get("from_vae")
    if source is not None and not isinstance(source, dict):
        raise ValueError("from_vae is no object")
    if source and not isinstance(source.get("seconds", 0.0), (int, float)):
        raise ValueError(f"from_vae seconds {shown(source['seconds'])!r}, expected a number")


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
        config = read_json(inside(self.path / "config.json", self.path))
        version = config.get("format_version")
        if not isinstance(version, int) or version < 1 or config.get("kind") not in KINDS:
            raise VaeganError(f"{self.path / 'config.json'} is damaged: it names no format version and kind")
        if version > FORMAT_VERSION:
            raise VaeganError(
                f"{self.path} has format {version}, this vaegan reads up to {FORMAT_VERSION}: upgrade vaegan"
            )
        for part in ("options", "model", "data", "plan"):
            if not isinstance(config.get(part), dict):
                raise VaeganError(f"{self.path / 'config.json'} is damaged: {part!r} is missing")
        try:
            _check_config(config)
        except ValueError as error:
            raise VaeganError(f"{self.path / 'config.json'} is damaged: {reason(error)}") from error
        return config

    def refuse_foreign(self, force: bool) -> None:
        """Raise VaeganError where the directory holds something that is not a run, unless `force`."""
        if self.path.exists() and not self.path.is_dir():
            raise VaeganError(f"{self.path} is a file: choose another --run")
        ours = (lock.NAME, TEMPORARY, ASIDE)
        foreign = self.path.is_dir() and any(not path.name.startswith(ours) for path in self.path.iterdir())
        if foreign and not self.exists() and not force:
            raise VaeganError(f"{self.path} exists and is not a run of vaegan: choose another --run, or add --force")

    def claim(self, force: bool) -> None:
        """Make the directory ready for a new run.

        Raises VaeganError when it holds something that is not a run. `force` removes an older run's files, and
        only those that a run is made of.
        """
        self.refuse_foreign(force)
        sweep(self.path)
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

    def preview(self, step: int, kind: str = STEP) -> Path:
        """Where the preview of `step` goes; kind: STEP or DRIFT."""
        return self.path / "previews" / f"{kind}-{step:07d}.png"

    def previews(self, kind: str = STEP) -> dict[Path, int]:
        """Previews and their steps, oldest first."""
        found = (self.path / "previews").glob(f"{kind}-*.png")
        steps = {path: step_named(path.with_suffix(""), kind) for path in found}
        return {path: steps[path] for path in sorted(steps, key=lambda path: steps[path]) if steps[path] >= 0}

    def checkpoints(self) -> list[Path]:
        """Checkpoint directories, oldest first."""
        found = (self.path / "checkpoints").glob("step-*")
        return sorted((path for path in found if path.is_dir() and step_named(path) >= 0), key=step_named)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        publish: Callable[[Path], None],
        keep: int,
        planned: bool = True,
        best: int | None = None,
    ) -> Path:
        """Write a checkpoint whole, read it back, publish its weights, then drop all but the newest `keep`.

        tensors: what going on needs; publish: writes the weights that are used, to the path it is given; planned: False
        for one that only an interruption or its score asks for, which is extra, and dropped at the next; best: the step
        whose checkpoint, this one or an older one, stays for its score. Raises VaeganError when the disk refuses; every
        older checkpoint is then still there.
        """
        path = self.checkpoint(step)
        try:
            with directory_atomically(path) as place:
                save_tensors(place / TRAINING, tensors, {"format": "vaegan-training"})
                verify(place / TRAINING, tensors)
                publish(place / WEIGHTS)
                sums = {name: sha256(place / name) for name in (TRAINING, WEIGHTS)}
                state = {"step": step, "planned": planned, "best": step == best, "sha256": sums}
                write_json(place / "state.json", state)
            check_sums(path)
            self.publish(path)
        except VaeganError as error:
            older = [old for old in self.checkpoints() if old != path]
            kept = f"{older[-1]} is whole" if older else "there is no older one"
            raise VaeganError(
                f"cannot save checkpoint {path}: {_cause(error)}; {kept}: free some room or make it writable, and run"
                " the same command again"
            ) from error
        stay = [path, *[old for old in self.checkpoints() if marked(old, "planned")][-keep:]]
        if best is not None:
            stay.append(self.checkpoint(best))
        for old in self.checkpoints():
            if old not in stay:
                shutil.rmtree(old, ignore_errors=True)
        return path

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of `step` goes."""
        return self.path / "checkpoints" / step_name(step)

    def whole(self, step: int) -> Path | None:
        """Return the checkpoint of `step`, if there is one and it is whole."""
        path = self.checkpoint(step)
        with contextlib.suppress(VaeganError):
            check_sums(inside(path, self.path))
            return path
        return None

    def plans(self, checkpoint: Path) -> bool:
        """Say whether the run has this checkpoint by its cadence."""
        return marked(checkpoint, "planned")

    def rewind(self, step: int, times: int) -> None:
        """Drop checkpoints, the newest first, previews and metrics of after `step`: the run went back to there.

        times: how often it did so far.
        """
        for old in reversed(self.checkpoints()):
            if step_named(old) > step:
                shutil.rmtree(old, ignore_errors=True)
        for path, drawn in (self.previews(STEP) | self.previews(DRIFT)).items():
            if drawn > step:
                path.unlink(missing_ok=True)
        self.cut_metrics(step, times)

    def publish(self, checkpoint: Path) -> None:
        """Make a checkpoint's weights the run's, unless they are. Raises VaeganError when the disk refuses."""
        content = (checkpoint / WEIGHTS).read_bytes()
        if not self.weights.is_file() or self.weights.read_bytes() != content:
            write_bytes(self.weights, content)

    def mend(self) -> None:
        """Remove what a killed process left half-written. Raises VaeganError where a link leads out of the run."""
        for name in OURS:
            inside(self.path / name, self.path)
        for folder in (self.path, self.path / "checkpoints", self.path / "previews"):
            sweep(folder)

    def newest(self, on_event: Emit, planned: bool = False) -> Path | None:
        """Return the newest checkpoint that is whole; say which damaged ones were passed over.

        planned: not those that only an interruption asked for. Raises VaeganError where there are some and all are
        damaged.
        """
        damaged = []
        for path in reversed(self.checkpoints()):
            if planned and not (marked(path, "planned") or marked(path, "best")):
                continue
            try:
                check_sums(inside(path, self.path))
            except VaeganError as error:
                damaged.append(f"{path} is damaged ({error})")
                continue
            if damaged:
                on_event(Warned(f"{'; '.join(damaged)}: going on from {path}"))
            return path
        if damaged:
            raise VaeganError(
                f"{'; '.join(damaged)}; no whole checkpoint is left: start over with --force or another --run"
            )
        return None

    def cut_metrics(self, step: int, times: int = 0) -> None:
        """Drop the lines of metrics.jsonl that a resumed run will write again.

        Those are the lines after `step`, and those that say that the run went back more than `times` times.
        """
        metrics_log.cut(self.path, step, times)


def _cause(error: VaeganError) -> str:
    return reason(error.__cause__) if error.__cause__ is not None else str(error)


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
