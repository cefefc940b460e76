"""What is decided before the first step: a new run's options, or a resumed run's, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaegan.checkpoint import WeightsInfo, read_weights_info
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.options import build_settings, changed_locked_options, option_fields
from vaegan.config.settings import DURATION_OPTIONS, OBJECTIVES, GANSettings, VAESettings
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, open_dataset
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, Note
from vaegan.run_dir import RunDir
from vaegan.training.augment import parse_augmentations
from vaegan.training.distributed import DistributedContext
from vaegan.training.precision import DeviceContext, choose_device_context
from vaegan.utils.files import file_sha256, read_json

TrainSettings = VAESettings | GANSettings


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked for: options that were given, and paths. `kind` is "vae" or "gan".

    probe: whether the length of the latents is to be found by trying several; tune: whether the batch size is.
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

    @property
    def settings_class(self) -> type[VAESettings] | type[GANSettings]:
        """Class of the kind's settings."""
        return VAESettings if self.kind == "vae" else GANSettings


@dataclass(frozen=True)
class TrainSetup:
    """Everything decided. `saved` is the config.json of a run that is resumed.

    probed, tuned: what was found by trying latent lengths and batch sizes.
    """

    request: TrainRequest
    settings: TrainSettings
    model_config: ModelConfig
    dataset: PreparedDataset
    device_ctx: DeviceContext
    saved_config: Mapping[str, Any] | None
    vae_weights: WeightsInfo | None = None
    latent_dim_trials: Mapping[str, Any] | None = None
    batch_size_trials: Mapping[str, Any] | None = None

    @property
    def run_dir(self) -> RunDir:
        """Where it all goes."""
        return self.request.run_dir


def resolve_setup(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    """Begin a new run, or resume the one that is there. Raises VaeganError for all that contradicts itself.

    Every process decides by itself, from the same files.
    """
    build_settings(request.settings_class, request.explicit_options)  # a bad value is told before anything else
    parse_augmentations(str(request.explicit_options.get("augment", "none")))
    return (
        _setup_resumed_run(request, dist_ctx)
        if request.run_dir.exists() and not request.force
        else _setup_new_run(request, emit, dist_ctx)
    )


def _load_config_file(path: Path | None, kind: str, settings_class: type) -> dict[str, Any]:
    """Options of the run whose config.json `path` is."""
    if path is None:
        return {}
    saved = read_json(path)
    if saved.get("kind") != kind or not isinstance(saved.get("options"), dict):
        raise VaeganError(f"--config {path}: expected the config.json of a {kind} run")
    told = {name: value for name, value in saved["options"].items() if value is not None}
    try:
        build_settings(settings_class, told)
    except UsageError as error:
        raise UsageError(f"--config {path}: {error}") from error
    return told


def _options_from_config_file(request: TrainRequest) -> dict[str, Any]:
    """Options that --config gives: not those that are to be tried, or follow from the purpose or from the VAE."""
    left = {"latent_dim"} if request.should_tune_latent_dim or request.from_vae is not None else set()
    left |= {"batch_size"} if request.should_tune_batch_size else set()
    left |= {"preset"} if request.from_vae is not None else set()
    left |= _objective_defaults(request).keys()
    base = _load_config_file(request.config_path, request.kind, request.settings_class)
    return {name: value for name, value in base.items() if name not in left}


def _objective_defaults(request: TrainRequest) -> Mapping[str, Any]:
    return OBJECTIVES.get(str(request.explicit_options.get("objective")), {})


def _clear_other_durations(explicit_options: Mapping[str, Any]) -> dict[str, None]:
    """The lengths that are not in force where one of them is given."""
    return (
        dict.fromkeys(DURATION_OPTIONS)
        if any(explicit_options.get(name) is not None for name in DURATION_OPTIONS)
        else {}
    )


def _setup_new_run(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    request.run_dir.check_is_run_or_empty(request.force)
    settings: TrainSettings = build_settings(
        request.settings_class,
        _options_from_config_file(request),
        _objective_defaults(request),
        _clear_other_durations(request.explicit_options),
        request.explicit_options,
    )
    vae = _read_vae_weights(request.from_vae) if request.from_vae is not None else None
    if vae is not None and vae.path.resolve().is_relative_to(request.run_dir.path.resolve()):
        raise UsageError(
            f"--from-vae {vae.path} lies in {request.run_dir.path}, where the GAN is to go: choose another --run"
        )
    data = _open_dataset(request.data_path, vae, emit)
    place = choose_device_context(dist_ctx.local_device_name(settings.device), settings.precision)
    if vae is not None:
        settings, model = _match_vae_architecture(settings, vae, data)
    else:
        preset = settings.preset or ("base" if place.device.type == "cuda" else "small")
        row = PRESETS[preset]
        latent_dim = row.latent_dim if request.should_tune_latent_dim else settings.latent_dim or row.latent_dim
        settings = replace(settings, preset=preset, latent_dim=latent_dim)
        model = ModelConfig(data.size, data.channels, latent_dim, row.base_channels)
    if isinstance(settings, GANSettings):
        model = _with_prior(model, settings.prior, vae)
        settings = settings.with_start_defaults(vae is not None)
        if settings.ada_target is not None and not parse_augmentations(settings.augment):
            raise UsageError(
                f"--ada-target {settings.ada_target:g} adapts augmentations, and there are none: add --augment"
                " color,translation"
            )
    return TrainSetup(request, settings, model, data, place, None, vae)


def _with_prior(model_config: ModelConfig, requested_prior: str | None, vae_weights: WeightsInfo | None) -> ModelConfig:
    """model: of the VAE, or from scratch; prior: as asked."""
    if requested_prior in (None, model_config.prior):
        return model_config
    if requested_prior == "mixture":
        scratch, without = "the VAE finds it: add --from-vae", "found one normal to do as well: leave it out"
        raise UsageError(f"--prior mixture: {scratch if vae_weights is None else f'{vae_weights.path} {without}'}")
    return replace(model_config.with_normal_prior(), prior=requested_prior)


def _read_vae_weights(path: Path) -> WeightsInfo:
    weights = read_weights_info(path)
    if weights.kind != "vae":
        raise VaeganError(f"--from-vae {path}: this is a {weights.kind.upper()}; give a run of vaegan train-vae")
    return weights


def _match_vae_architecture(
    settings: TrainSettings, vae_weights: WeightsInfo, dataset: PreparedDataset
) -> tuple[TrainSettings, ModelConfig]:
    """Take the network's shape from the VAE, and refuse what contradicts it."""
    config = vae_weights.config
    if (dataset.size, dataset.channels) != (config.size, config.channels):
        grey = " --grayscale" if config.channels == 1 else ""
        grey = ", without --grayscale" if dataset.channels < config.channels else grey
        raise VaeganError(
            f"{dataset.path} holds {dataset.size}x{dataset.size} pictures of {dataset.channels} channels, but {vae_weights.path} was"
            f" trained on {config.size}x{config.size} of {config.channels}: prepare them with --size"
            f" {config.size}{grey}, or give --from-vae a VAE that was trained on such pictures"
        )
    if settings.latent_dim not in (None, config.latent_dim):
        raise UsageError(
            f"--latent-dim {settings.latent_dim} contradicts {vae_weights.path}, whose latents have {config.latent_dim}:"
            " leave it out"
        )
    names = [name for name, row in PRESETS.items() if row.base_channels == config.base_channels]
    if settings.preset is not None and settings.preset not in names:
        theirs = names[0] if names else f"of width {config.base_channels}"
        raise UsageError(f"--preset {settings.preset} contradicts {vae_weights.path}, which is {theirs}: leave it out")
    return replace(settings, preset=settings.preset or (names or ["small"])[0], latent_dim=config.latent_dim), config


def _open_dataset(data_path: Path | None, vae_weights: WeightsInfo | None, emit: EventHandler) -> PreparedDataset:
    if data_path is not None:
        return open_dataset(data_path)
    if vae_weights is not None:
        run = next((RunDir(parent) for parent in vae_weights.path.resolve().parents if RunDir(parent).exists()), None)
        if run is None:
            raise VaeganError(f"{vae_weights.path} is in no run that names its set: give DATA, a prepared set")
        path = Path(str(run.read_config()["data"].get("path", "")))
        emit(Note(f"Using {_relative_to_cwd(path)}, which the VAE was trained on"))
        return open_dataset(path)
    newest = find_newest_dataset(Path("data"))
    if newest is None:
        raise VaeganError("no prepared set under data/: make one with: vaegan preprocess FOLDER")
    emit(Note(f"Using {newest}, the newest prepared set"))
    return open_dataset(newest)


def _relative_to_cwd(path: Path) -> Path:
    """Relative to the working directory where it lies under it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _setup_resumed_run(request: TrainRequest, dist_ctx: DistributedContext) -> TrainSetup:
    run, saved, settings_class = request.run_dir, request.run_dir.read_config(), request.settings_class
    if saved["kind"] != request.kind:
        raise VaeganError(
            f"--run {run.path}: this is a {saved['kind'].upper()} run, which vaegan train-{saved['kind']} goes on"
            " with; choose another --run"
        )
    try:
        options = saved["options"]
        was: TrainSettings = build_settings(settings_class, options)
        model = build_settings(ModelConfig, saved["model"])
    except UsageError as error:
        raise VaeganError(f"{run.path / 'config.json'} is damaged: {error}") from error
    asked = {**_options_from_config_file(request), **request.explicit_options}
    for name in changed_locked_options(settings_class, options, asked):
        flag = option_fields(settings_class)[name].flag
        of, out = (
            ("", "it")
            if name in request.explicit_options or request.config_path is None
            else (f" of {request.config_path}", "--config")
        )
        raise UsageError(
            f"{flag} {asked[name]}{of} contradicts {run.path}, which was started with {flag}"
            f" {getattr(was, name)}: leave {out} out to go on, or choose another --run"
        )
    if request.should_tune_latent_dim and not saved.get("latent_dim_trials"):
        raise UsageError(
            f"--latent-dim auto contradicts {run.path}, which was started with --latent-dim {model.latent_dim}: leave"
            " it out to go on, or choose another --run"
        )
    _check_same_vae(request, saved)
    data = open_dataset(request.data_path or Path(str(saved["data"].get("path", ""))))
    if data.fingerprint != saved["data"].get("fingerprint"):
        raise VaeganError(
            f"{data.path} is not the set that {run.path} was trained on (its pictures differ): give that one, or"
            " choose another --run"
        )
    settings: TrainSettings = build_settings(
        settings_class, options, _clear_other_durations(request.explicit_options), request.explicit_options
    )
    precision = settings.precision
    if precision == "auto":  # what was found best where the run began: another precision is another run
        precision = str(saved["plan"].get("precision", precision))
    place = choose_device_context(dist_ctx.local_device_name(settings.device), precision)
    return TrainSetup(request, settings, model, data, place, saved)


def find_source_vae(setup: TrainSetup) -> WeightsInfo | None:
    """The VAE that a resumed run was started from, for a run that was stopped before its first checkpoint.

    Raises VaeganError when it is gone or was trained further.
    """
    source = (setup.saved_config or {}).get("from_vae")
    if not source:
        return None
    path = setup.request.from_vae or Path(str(source.get("path", "")))
    try:
        weights = _read_vae_weights(path)
    except VaeganError as error:
        raise VaeganError(
            f"{setup.run_dir.path} has no checkpoint yet and its VAE is gone ({error}): add --force"
        ) from error
    if source.get("sha256") != file_sha256(weights.path):
        raise VaeganError(
            f"{setup.run_dir.path} has no checkpoint yet and {path} has changed since: start over with --force"
        )
    return weights


def _check_same_vae(request: TrainRequest, saved_config: Mapping[str, Any]) -> None:
    if request.from_vae is None:
        return
    path, weights, source = request.run_dir.path, _read_vae_weights(request.from_vae), saved_config.get("from_vae")
    if not source:
        raise UsageError(
            f"--from-vae {request.from_vae} contradicts {path}, which was started from scratch: choose another --run"
        )
    if source.get("sha256") != file_sha256(weights.path):
        raise UsageError(
            f"--from-vae {request.from_vae} is not the VAE that {path} was started from, or it was trained further:"
            " leave it out to go on, or choose another --run"
        )
