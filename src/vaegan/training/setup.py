"""The setup of a training: options, model, dataset, device, VAE or another start."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vaegan.checkpoint import WeightsInfo, parse_step
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.options import build_settings
from vaegan.config.settings import D_WARMUP_MAX_FRACTION, GANSettings
from vaegan.data.classes import count_images
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, open_dataset
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler, Note
from vaegan.run_dir import RunDir, find_run
from vaegan.run_lookup import find_source, open_recorded_dataset, relative_to_cwd
from vaegan.training.augment import parse_augmentations
from vaegan.training.distributed import DistributedContext
from vaegan.training.matching import (
    check_can_stop_flat,
    check_frozen_layers,
    describe_classes,
    match_architecture,
    match_classes,
    match_discriminator,
    read_vae_weights,
    starts_from_trained_discriminator,
    with_prior,
)
from vaegan.training.precision import DeviceContext, choose_device_context
from vaegan.training.recipe import choose_recipe
from vaegan.training.request import TrainRequest, TrainSettings, merge_options
from vaegan.training.start import START_FLAGS, StartRun, read_start
from vaegan.utils.files import read_json


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

    @cached_property
    def image_counts(self) -> dict[str, int]:
        """Number of images that are used, by split; with classes, those that have one."""
        return count_images(self.dataset, self.model_config.class_label, self.model_config.classes)

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
    source = vae_weights or (start.weights if start is not None else None)
    label = source.config.class_label if source is not None and source.config.classes else requested.get("cond")
    recipe = choose_recipe(request.kind, count_images(dataset, label), start is not None, requested)
    settings: TrainSettings = build_settings(request.settings_class, recipe.options, requested)
    device_ctx = choose_device_context(dist_ctx.local_device_name(settings.device), settings.precision)
    if source is not None:
        is_half_size = start is not None and start.is_half_size
        settings, model_config = match_architecture(settings, source, dataset, request, is_half_size)
    else:
        preset_name = settings.preset or ("base" if device_ctx.device.type == "cuda" else "small")
        preset = PRESETS[preset_name]
        latent_dim = preset.latent_dim if request.should_tune_latent_dim else settings.latent_dim or preset.latent_dim
        settings = replace(settings, preset=preset_name, latent_dim=latent_dim)
        model_config = preset.model_config(dataset.size, dataset.channels, latent_dim)
    settings, model_config = match_classes(settings, model_config, dataset, source)
    if isinstance(settings, GANSettings):
        if start is not None:
            settings = match_discriminator(settings, start)
            # the prior of a start is fitted once the images are read, see `load_start_networks`
        else:
            model_config = with_prior(model_config, settings.prior, vae_weights)
        check_frozen_layers(settings, model_config, source, start)
        has_trained_d = starts_from_trained_discriminator(settings, source, start)
        has_encoder = vae_weights is not None or (start is not None and start.has_encoder)
        settings = settings.with_start_defaults(vae_weights is not None, source is not None, has_trained_d, has_encoder)
        if settings.ada_target is not None and not parse_augmentations(settings.augment):
            raise UsageError(
                f"--ada-target {settings.ada_target:g} adapts augmentations, and there are none: add --augment"
                " color,translation"
            )
    if dropped := _describe_dropped_start(request):
        emit(Note(dropped))
    if model_config.classes:
        emit(Note(describe_classes(dataset, model_config)))
    check_can_stop_flat(settings, dataset, model_config)
    if description := recipe.describe():
        emit(Note(description))
    return TrainSetup(request, settings, model_config, dataset, device_ctx, vae_weights=vae_weights, start=start)


def _describe_dropped_start(request: TrainRequest) -> str:
    """Say that --config does not take over the start of its run; "" if there is none, or another is given."""
    path, kind = request.config_path, request.kind
    if path is None or request.from_vae is not None or request.from_run is not None:
        return ""
    config, run_dir = read_json(path), RunDir(path.parent)
    for key, flag in (("from_vae", "--from-vae"), ("from_run", START_FLAGS[kind])):
        recorded = config.get(key)
        if not isinstance(recorded, dict):
            continue
        source = Path(str(recorded.get("path")))
        with contextlib.suppress(VaeganError, OSError):  # of a copied file: the recorded path stays
            found = find_source(run_dir, key) if run_dir.config_path == path else None
            source = found[0] if found is not None else source
        start = f"{flag} {printable(relative_to_cwd(source), 300)}"
        return (
            f"--config takes options only: the run of {path} was started with {start}, and this one starts from"
            f" scratch. Add {start} to start as it did"
        )
    return ""


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
