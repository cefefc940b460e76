"""The request of a training: what the user asked for, and the options that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaegan.config.options import build_settings, require_at_most_one
from vaegan.config.settings import DURATION_OPTIONS, OBJECTIVES, GANSettings, VAESettings
from vaegan.errors import UsageError, VaeganError
from vaegan.run_dir import RunDir, update_old_options
from vaegan.training.augment import parse_augmentations
from vaegan.training.start import START_FLAGS
from vaegan.utils.files import read_json, require_unicode

TrainSettings = VAESettings | GANSettings


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked for: explicit options and paths. `kind` is "vae" or "gan".

    `latent_dim` and `batch_size` are not among the explicit options where they are "auto", to be found by trials.
    """

    kind: str
    run_dir: RunDir
    explicit_options: Mapping[str, Any]
    data_path: Path | None
    from_vae: Path | None
    config_path: Path | None
    force: bool
    should_tune_latent_dim: bool = False
    should_tune_batch_size: bool = False
    from_run: Path | None = None

    @classmethod
    def from_arguments(
        cls,
        kind: str,
        data: Path | str | None,
        run: Path | str,
        from_vae: Path | str | None,
        config: Path | str | None,
        force: bool,
        options: Mapping[str, Any],
        from_run: Path | str | None = None,
    ) -> TrainRequest:
        """Build the request from the arguments of `train_vae` or `train_gan`.

        Args:
            kind: "vae" or "gan".
            data: prepared dataset, if one was named.
            run: run directory.
            from_vae: VAE whose decoder initializes the generator, if one was named.
            config: config.json of another run, if one was named.
            force: start over.
            options: options by name; None for those that were not given.
            from_run: run of the same kind to start from, if one was named.

        Returns:
            the request.
        """
        explicit = {name: value for name, value in options.items() if value is not None}
        tune_latent_dim = kind == "vae" and explicit.get("latent_dim") == "auto"
        tune_batch_size = explicit.get("batch_size") == "auto"
        if tune_latent_dim:
            del explicit["latent_dim"]
        if tune_batch_size:
            del explicit["batch_size"]
        data_path, vae_path, config_path = (None if path is None else Path(path) for path in (data, from_vae, config))
        return cls(
            kind,
            RunDir(Path(run)),
            explicit,
            data_path,
            vae_path,
            config_path,
            force,
            tune_latent_dim,
            tune_batch_size,
            None if from_run is None else Path(from_run),
        )

    @property
    def settings_class(self) -> type[VAESettings] | type[GANSettings]:
        """The settings class of the kind."""
        return VAESettings if self.kind == "vae" else GANSettings

    @property
    def is_resume(self) -> bool:
        """Whether there is a run to resume."""
        return self.run_dir.exists() and not self.force

    def validate(self) -> None:
        """Check the options and the run directory. Writes nothing.

        Raises:
            VaeganError: for bad values, and for a run directory that holds something else.
        """
        require_unicode(self.run_dir.path)
        require_at_most_one(self.explicit_options, DURATION_OPTIONS)
        build_settings(self.settings_class, self.explicit_options)
        self._validate_start()
        parse_augmentations(str(self.explicit_options.get("augment", "none")))
        if not self.is_resume:
            self.run_dir.check_is_run_or_empty(self.force)

    def _validate_start(self) -> None:
        if self.from_run is None:
            return
        flag, run = START_FLAGS[self.kind], self.run_dir.path
        if self.from_vae is not None:
            raise UsageError(f"--from-vae and {flag} contradict each other: give only one of them")
        if self.should_tune_latent_dim:
            raise UsageError(f"--latent-dim auto and {flag} contradict each other: the start's latents are kept")
        if self.from_run.resolve().is_relative_to(run.resolve()):
            raise UsageError(
                f"{flag} {self.from_run} is the run itself: choose another --run for the new one, or leave {flag} out"
                " to resume it"
            )


def merge_options(request: TrainRequest) -> dict[str, Any]:
    """Return the options of a new run that the user decided, directly or by --config.

    What is left out, `choose_recipe` may decide. The later wins:
        1. --config    options of another run (see `config_file_options`)
        2. --objective gan or reconstruction sets the likelihood
        3. flags       a length given by a flag clears the other two ways to give it

    Args:
        request: what the user asked for.

    Returns:
        options by name.

    Raises:
        VaeganError: if the file of --config cannot be used.
    """
    return {
        **config_file_options(request),
        **_objective_defaults(request),
        **clear_other_durations(request),
        **request.explicit_options,
    }


def config_file_options(request: TrainRequest) -> dict[str, Any]:
    """Return the options of --config, without those that trials, --objective or the VAE decide.

    Args:
        request: what the user asked for.

    Returns:
        options by name; empty without --config.

    Raises:
        VaeganError: if the file cannot be used.
    """
    decided_elsewhere, has_start = set(_objective_defaults(request)), bool(request.from_vae or request.from_run)
    if request.should_tune_latent_dim or has_start:
        decided_elsewhere.add("latent_dim")
    if request.should_tune_batch_size:
        decided_elsewhere.add("batch_size")
    if has_start:
        decided_elsewhere.add("preset")
    else:
        decided_elsewhere |= {"freeze_d", "d_warmup_steps"}
    if request.from_run is not None:
        decided_elsewhere.add("minibatch_std")
    return {name: value for name, value in _load_config_file(request).items() if name not in decided_elsewhere}


def _objective_defaults(request: TrainRequest) -> Mapping[str, Any]:
    return OBJECTIVES.get(str(request.explicit_options.get("objective")), {})


def _load_config_file(request: TrainRequest) -> dict[str, Any]:
    """Return the options in the config.json of --config. Raises VaeganError."""
    path = request.config_path
    if path is None:
        return {}
    config = read_json(path)
    if config.get("kind") != request.kind or not isinstance(config.get("options"), dict):
        raise VaeganError(f"--config {path}: expected the config.json of a {request.kind} run")
    update_old_options(config["options"], request.kind)
    options = {name: value for name, value in config["options"].items() if value is not None}
    try:
        build_settings(request.settings_class, options)
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from error
    return options


def clear_other_durations(request: TrainRequest) -> dict[str, Any]:
    """Return None for every duration option where one of them is given.

    Args:
        request: what the user asked for.

    Returns:
        options by name; empty where no length is given.
    """
    has_duration = any(request.explicit_options.get(name) is not None for name in DURATION_OPTIONS)
    return dict.fromkeys(DURATION_OPTIONS) if has_duration else {}
