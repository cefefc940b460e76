"""The request and the setup of a training: options, model, dataset, device, VAE or another start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaegan.checkpoint import WeightsInfo, parse_step, read_weights_info
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.options import build_settings, require_at_most_one
from vaegan.config.settings import D_WARMUP_MAX_FRACTION, DURATION_OPTIONS, OBJECTIVES, GANSettings, VAESettings
from vaegan.data.classes import NO_CLASS, find_classes, read_class_ids
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, open_dataset
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler, Note
from vaegan.models.growth import grown_config
from vaegan.models.layers import channel_widths
from vaegan.run_dir import RunDir, find_run
from vaegan.run_lookup import open_recorded_dataset, relative_to_cwd
from vaegan.training.augment import parse_augmentations
from vaegan.training.distributed import DistributedContext
from vaegan.training.precision import DeviceContext, choose_device_context
from vaegan.training.recipe import choose_recipe
from vaegan.training.start import START_FLAGS, StartRun, read_start
from vaegan.training.validation import MIN_EVAL_IMAGES
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


@dataclass(frozen=True)
class TrainSetup:
    """Everything that is decided before the networks are built.

    Attributes:
        saved_config: config.json of the run that is resumed; None for a new run.
        checkpoint: the checkpoint to resume from, if any.
        vae_weights: the VAE that initializes the GAN, unless a checkpoint does.
        start: the run of --from or --from-gan, unless a checkpoint takes its place.
        latent_dim_trials, batch_size_trials: records of the trials of `autotune`.
    """

    request: TrainRequest
    settings: TrainSettings
    model_config: ModelConfig
    dataset: PreparedDataset
    device_ctx: DeviceContext
    saved_config: Mapping[str, Any] | None = None
    checkpoint: Path | None = None
    vae_weights: WeightsInfo | None = None
    start: StartRun | None = None
    latent_dim_trials: Mapping[str, Any] | None = None
    batch_size_trials: Mapping[str, Any] | None = None

    @property
    def run_dir(self) -> RunDir:
        """The run's directory."""
        return self.request.run_dir

    @property
    def steps_done(self) -> int:
        """Steps of the checkpoint to resume from; 0 without one."""
        return 0 if self.checkpoint is None else parse_step(self.checkpoint)


def setup_new_run(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    """Return the setup of a new run. Every rank resolves it from the same files.

    Args:
        request: what the user asked for.
        emit: receives notes.
        dist_ctx: the processes that train together.

    Returns:
        the setup.

    Raises:
        VaeganError: for options, dataset and VAE that contradict each other, and for damaged files.
    """
    setup = dist_ctx.run_on_all_ranks(lambda: _resolve_new_run(request, emit, dist_ctx))
    return with_precision_of_rank_0(setup, dist_ctx)


def with_precision_of_rank_0(setup: TrainSetup, dist_ctx: DistributedContext) -> TrainSetup:
    """Return the setup with the precision of rank 0, which it may have measured.

    Args:
        setup: this rank's setup.
        dist_ctx: the processes that train together.

    Returns:
        the setup.
    """
    precision = dist_ctx.broadcast(setup.device_ctx.precision)
    return replace(setup, device_ctx=replace(setup.device_ctx, precision=precision))


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
        decided_elsewhere.add("freeze_d")
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


def _resolve_new_run(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    requested = merge_options(request)
    vae_weights = read_vae_weights(request.from_vae) if request.from_vae is not None else None
    start = read_start(request.from_run, request.kind) if request.from_run is not None else None
    if vae_weights is not None and vae_weights.path.resolve().is_relative_to(request.run_dir.path.resolve()):
        raise UsageError(
            f"--from-vae {vae_weights.path} lies in {request.run_dir.path}, the run directory of the GAN: choose"
            " another --run"
        )
    dataset = _open_dataset(request.data_path, vae_weights, emit)
    if start is not None:
        start = start.for_images(dataset.size, dataset.channels)
    recipe = choose_recipe(request.kind, dataset.counts, start is not None, requested)
    settings: TrainSettings = build_settings(request.settings_class, recipe.options, requested)
    device_ctx = choose_device_context(dist_ctx.local_device_name(settings.device), settings.precision)
    source = vae_weights or (start.weights if start is not None else None)
    if source is not None:
        is_half_size = start is not None and start.is_half_size
        settings, model_config = _match_architecture(settings, source, dataset, request, is_half_size)
    else:
        preset_name = settings.preset or ("base" if device_ctx.device.type == "cuda" else "small")
        preset = PRESETS[preset_name]
        latent_dim = preset.latent_dim if request.should_tune_latent_dim else settings.latent_dim or preset.latent_dim
        settings = replace(settings, preset=preset_name, latent_dim=latent_dim)
        model_config = preset.model_config(dataset.size, dataset.channels, latent_dim)
    settings, model_config = _with_classes(settings, model_config, dataset, source)
    if isinstance(settings, GANSettings):
        if start is not None:
            settings = _match_discriminator(settings, start)
            # the prior of a start is fitted once the images are read, see `load_start_networks`
        else:
            model_config = with_prior(model_config, settings.prior, vae_weights)
        has_encoder = vae_weights is not None or (start is not None and start.has_encoder)
        has_trained_d = start is not None and start.discriminator is not None
        has_trained_d = has_trained_d or (has_encoder and settings.init_d_from_encoder)
        has_new_stage = start is not None and start.is_half_size
        _check_frozen_layers(settings, model_config, has_trained_d and not has_new_stage)
        settings = settings.with_start_defaults(vae_weights is not None)
        if settings.ada_target is not None and not parse_augmentations(settings.augment):
            raise UsageError(
                f"--ada-target {settings.ada_target:g} adapts augmentations, and there are none: add --augment"
                " color,translation"
            )
    if model_config.classes:
        emit(Note(_describe_classes(dataset, model_config)))
    check_can_stop_flat(settings, dataset)
    if description := recipe.describe():
        emit(Note(description))
    return TrainSetup(request, settings, model_config, dataset, device_ctx, vae_weights=vae_weights, start=start)


def check_can_stop_flat(settings: TrainSettings, dataset: PreparedDataset) -> None:
    """Check that --stop-when flat has evaluations to look at.

    Args:
        settings: options of the run.
        dataset: its dataset.

    Raises:
        UsageError: if the run has no evaluations.
    """
    if settings.stop_when != "flat":
        return
    if settings.evaluate_every == 0:
        raise UsageError(
            "--stop-when flat needs the evaluations that --evaluate-every 0 turns off: leave one of them out"
        )
    num_images = min(dataset.counts["train"], dataset.counts["val"])
    if num_images < MIN_EVAL_IMAGES:
        raise UsageError(
            f"--stop-when flat needs {MIN_EVAL_IMAGES} training and {MIN_EVAL_IMAGES} validation images, {dataset.path}"
            f" has {dataset.counts['train']} and {dataset.counts['val']}: leave it out, or prepare the dataset with a"
            " larger --val-fraction"
        )


def _check_frozen_layers(settings: GANSettings, model_config: ModelConfig, is_trained: bool) -> None:
    """Check that the layers of --freeze-d exist, and are of a trained discriminator. Raises UsageError."""
    count, num_layers = settings.freeze_d, len(channel_widths(model_config.base_channels, model_config.size))
    if count and not is_trained:
        raise UsageError(
            f"--freeze-d {count} keeps trained layers as they are, and here they are random: add --from-gan RUN or"
            " --from-vae RUN, or leave it out"
        )
    if count > num_layers:
        raise UsageError(
            f"--freeze-d {count}: at {model_config.size} pixels at most {num_layers} layers can be frozen: give"
            f" --freeze-d {num_layers} or fewer"
        )


def _with_classes(
    settings: TrainSettings, model_config: ModelConfig, dataset: PreparedDataset, source: WeightsInfo | None
) -> tuple[TrainSettings, ModelConfig]:
    """Return settings and config with the classes of the start, or else those of --cond. Raises VaeganError."""
    if source is not None and model_config.classes:
        label, path = model_config.class_label, source.path
        if settings.cond not in (None, label):
            raise UsageError(
                f"--cond {printable(settings.cond)} contradicts {path}, whose classes are the values of {label}: leave"
                " it out"
            )
        unknown = [name for name in find_classes(dataset, label) if name not in model_config.classes]
        if unknown:
            raise VaeganError(
                f"{dataset.path} has the {label} {', '.join(unknown)[:300]}, which {path} was not trained on; it knows"
                f" {', '.join(model_config.classes)[:300]}: start from a run without classes, or from nothing"
            )
        return replace(settings, cond=label), model_config
    if settings.cond is not None:
        classes = find_classes(dataset, settings.cond)
        return settings, replace(model_config, classes=classes, class_label=settings.cond)
    if settings.balance:
        raise UsageError("--balance draws classes equally often, and there are none: add --cond LABEL")
    return settings, model_config


def _describe_classes(dataset: PreparedDataset, model_config: ModelConfig) -> str:
    """Say how many training images each class has, and how many have none."""
    label, names = model_config.class_label, model_config.classes
    train = read_class_ids(dataset, label, names).train
    counts = train[train != NO_CLASS].bincount(minlength=len(names)).tolist()
    text = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    num_missing = len(train) - sum(counts)
    left_out = f"; {num_missing:,} without it are left out" if num_missing else ""
    return f"Classes of {label}, by training images: {text[:1000]}{left_out}"


def limit_d_warmup(setup: TrainSetup, total_steps: int) -> TrainSetup:
    """Return the setup with a default warm-up of the discriminator that leaves a short run time to learn.

    A warm-up that was asked for stays, and so does that of a run that is resumed.

    Args:
        setup: the setup.
        total_steps: steps of the whole run.

    Returns:
        the setup; its warm-up takes at most D_WARMUP_MAX_FRACTION of the steps.
    """
    settings = setup.settings
    is_default = setup.saved_config is None and merge_options(setup.request).get("d_warmup_steps") is None
    if not isinstance(settings, GANSettings) or not is_default:
        return setup
    limit = int(D_WARMUP_MAX_FRACTION * total_steps)
    return replace(setup, settings=replace(settings, d_warmup_steps=min(settings.d_warmup_steps or 0, limit)))


def _match_discriminator(settings: GANSettings, start: StartRun) -> GANSettings:
    """Return the settings with the minibatch_std and the warm-up that suit the start. Raises UsageError."""
    has_minibatch_std = start.has_minibatch_std()
    if has_minibatch_std is None:
        return settings
    if settings.minibatch_std not in (None, has_minibatch_std):
        flags = {True: "--minibatch-std", False: "--no-minibatch-std"}
        raise UsageError(
            f"{flags[not has_minibatch_std]} contradicts {start.weights.path}, which was trained with"
            f" {flags[has_minibatch_std]}: leave it out"
        )
    return replace(settings, minibatch_std=has_minibatch_std)


def with_prior(model_config: ModelConfig, requested_prior: str | None, source: WeightsInfo | None) -> ModelConfig:
    """Return the config with the prior of --prior; a mixture can only come from a VAE or GAN that has one.

    Args:
        model_config: sizes of the networks, with the prior that was fitted, if any.
        requested_prior: value of --prior.
        source: weights that the run starts from.

    Returns:
        the config.

    Raises:
        UsageError: if a mixture is asked for and none was fitted.
    """
    if requested_prior in (None, model_config.prior):
        return model_config
    if requested_prior == "mixture":
        if source is None:
            raise UsageError("--prior mixture: it is fitted to a VAE's latents: add --from-vae")
        raise UsageError(f"--prior mixture: {source.path} has no fitted mixture: leave it out")
    return replace(model_config.with_normal_prior(), prior=requested_prior)


def read_vae_weights(path: Path) -> WeightsInfo:
    """Read the weights of --from-vae.

    Args:
        path: run, checkpoint or weights file.

    Returns:
        their description.

    Raises:
        VaeganError: if they are not a VAE's, or damaged.
    """
    weights = read_weights_info(path)
    if weights.kind != "vae":
        raise VaeganError(f"--from-vae {path}: this is a {weights.kind.upper()}; give a run of vaegan train-vae")
    return weights


def _match_architecture(
    settings: TrainSettings, source: WeightsInfo, dataset: PreparedDataset, request: TrainRequest, is_half_size: bool
) -> tuple[TrainSettings, ModelConfig]:
    """Return settings and model config with the start's architecture. Raises VaeganError for a contradiction."""
    config, path = source.config, source.path
    flag = "--from-vae" if request.from_vae is not None else START_FLAGS[request.kind]
    half_size = " or on images of half the size" if request.from_run is not None else ""
    if is_half_size:
        config = grown_config(config)
    if (dataset.size, dataset.channels) != (config.size, config.channels):
        grayscale_flag = " --grayscale" if config.channels == 1 else ""
        if dataset.channels < config.channels:
            grayscale_flag = ", without --grayscale"
        raise VaeganError(
            f"{dataset.path} holds {dataset.size}x{dataset.size} images of {dataset.channels} channels, but {path} was"
            f" trained on {config.size}x{config.size} of {config.channels}: preprocess them with --size"
            f" {config.size}{grayscale_flag}, or give {flag} a {source.kind.upper()} that was trained on such images"
            f"{half_size}"
        )
    if settings.latent_dim not in (None, config.latent_dim):
        raise UsageError(
            f"--latent-dim {settings.latent_dim} contradicts {path}, whose latents have {config.latent_dim}: leave it"
            " out"
        )
    presets = [name for name, preset in PRESETS.items() if preset.base_channels == config.base_channels]
    if settings.preset is not None and settings.preset not in presets:
        own_preset = presets[0] if presets else f"of {config.base_channels} base channels"
        raise UsageError(f"--preset {settings.preset} contradicts {path}, which is {own_preset}: leave it out")
    preset_name = settings.preset or (presets or ["small"])[0]
    return replace(settings, preset=preset_name, latent_dim=config.latent_dim), config


def _open_dataset(data_path: Path | None, vae_weights: WeightsInfo | None, emit: EventHandler) -> PreparedDataset:
    """Open DATA, else the VAE's dataset, else the newest one under data/. Raises VaeganError."""
    if data_path is not None:
        return open_dataset(data_path)
    if vae_weights is not None:
        vae_run = find_run(vae_weights.path)
        if vae_run is None:
            raise VaeganError(f"{vae_weights.path} is in no run that names its dataset: give DATA, a prepared dataset")
        dataset = open_recorded_dataset(vae_run, emit)
        if dataset.fingerprint == vae_run.read_config()["data"].get("fingerprint"):
            emit(Note(f"Using {relative_to_cwd(dataset.path)}, which the VAE was trained on"))
        return dataset
    newest = find_newest_dataset(Path("data"))
    if newest is None:
        raise VaeganError("no prepared dataset under data/: make one with: vaegan preprocess FOLDER")
    emit(Note(f"Using {newest}, the newest prepared dataset"))
    return open_dataset(newest)
