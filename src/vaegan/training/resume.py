"""The setup of a resumed run: what it must keep, its newest valid checkpoint, and what it was started from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vaegan.checkpoint import parse_step, read_weights_info
from vaegan.config.model_config import ModelConfig
from vaegan.config.options import build_settings, changed_locked_options, option_fields
from vaegan.data.dataset import open_dataset
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler
from vaegan.metrics_log import read_metrics
from vaegan.run_dir import unused_run_path
from vaegan.run_lookup import find_recorded_dataset, find_source
from vaegan.training.distributed import DistributedContext
from vaegan.training.matching import check_can_stop_flat, read_vae_weights
from vaegan.training.precision import choose_device_context
from vaegan.training.request import TrainRequest, TrainSettings, clear_other_durations, config_file_options
from vaegan.training.setup import TrainSetup, with_precision_of_rank_0
from vaegan.training.start import START_FLAGS, read_start
from vaegan.utils.files import file_sha256


def setup_resumed_run(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    """Return the setup of the run to resume. Every rank resolves it from the same files.

    Args:
        request: what the user asked for.
        emit: receives notes and warnings.
        dist_ctx: the processes that train together.

    Returns:
        the setup.

    Raises:
        VaeganError: for options, dataset and VAE that contradict the run, and for damaged files.
    """
    setup = dist_ctx.run_on_all_ranks(lambda: _resolve_resumed_run(request, emit, dist_ctx))
    setup = with_precision_of_rank_0(setup, dist_ctx)
    checkpoint = dist_ctx.run_on_main(lambda: _find_resume_checkpoint(setup, emit))
    if checkpoint:
        return replace(setup, checkpoint=Path(checkpoint))
    # The run was stopped before its first checkpoint: it starts again from its VAE, or from its start.
    return dist_ctx.run_on_all_ranks(lambda: _with_source(setup))


def _resolve_resumed_run(request: TrainRequest, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    path, saved, settings_class = request.run_dir.path, request.run_dir.read_config(), request.settings_class
    if saved["kind"] != request.kind:
        raise VaeganError(
            f"--run {path}: this is a {saved['kind'].upper()} run; resume it with vaegan train-{saved['kind']}, or"
            " choose another --run"
        )
    try:
        saved_settings: TrainSettings = build_settings(settings_class, saved["options"])
        model_config = build_settings(ModelConfig, saved["model"])
    except VaeganError as error:  # a bad option, or a model that cannot be built
        raise VaeganError(f"{path / 'config.json'} is damaged: {error}") from error
    _check_same_options(request, saved_settings, saved)
    _check_same_source(request, saved)

    dataset = open_dataset(request.data_path or find_recorded_dataset(request.run_dir, emit))
    if dataset.fingerprint != saved["data"].get("fingerprint"):
        raise VaeganError(
            f"{dataset.path} is not the dataset that {path} was trained on (its images differ): give that one, or"
            f" choose another --run, such as {unused_run_path(path)}"
        )
    settings: TrainSettings = build_settings(
        settings_class, saved["options"], clear_other_durations(request), request.explicit_options
    )
    check_can_stop_flat(settings, dataset, model_config)
    precision = settings.precision
    if precision == "auto":  # another precision than the one measured at the start would be another run
        precision = str(saved["schedule"].get("precision", precision))
    device_ctx = choose_device_context(dist_ctx.local_device_name(settings.device), precision)
    return TrainSetup(request, settings, model_config, dataset, device_ctx, saved)


def _check_same_options(request: TrainRequest, saved_settings: TrainSettings, saved_config: Mapping[str, Any]) -> None:
    """Raise UsageError where an option that a resumed run must keep is asked for with another value."""
    path, requested = request.run_dir.path, config_file_options(request) | dict(request.explicit_options)
    for name in changed_locked_options(request.settings_class, asdict(saved_settings), requested):
        flag = option_fields(request.settings_class)[name].flag
        is_from_file = name not in request.explicit_options and request.config_path is not None
        origin, remove = (f" of {request.config_path}", "--config") if is_from_file else ("", "it")
        saved_value = getattr(saved_settings, name)
        started = f"without {flag}" if saved_value is None else f"with {flag} {saved_value}"
        raise UsageError(
            f"{flag} {requested[name]}{origin} contradicts {path}, which was started {started}: leave {remove} out to"
            " resume, or choose another --run"
        )
    if request.should_tune_latent_dim and not saved_config.get("latent_dim_trials"):
        latent_dim = saved_config["model"]["latent_dim"]
        raise UsageError(
            f"--latent-dim auto contradicts {path}, which was started with --latent-dim {latent_dim}: leave it out to"
            " resume, or choose another --run"
        )


def _check_same_source(request: TrainRequest, saved_config: Mapping[str, Any]) -> None:
    """Raise UsageError where --from-vae, --from or --from-gan is not what the run to resume was started from."""
    run, started_from = request.run_dir.path, "from scratch"
    for key in ("from_vae", "from_run"):
        if saved_config.get(key):
            started_from = f"from {printable(saved_config[key].get('path'), 300)}"
    for key, given, flag in (
        ("from_vae", request.from_vae, "--from-vae"),
        ("from_run", request.from_run, START_FLAGS[request.kind]),
    ):
        if given is None:
            continue
        weights = read_vae_weights(given) if key == "from_vae" else read_start(given, request.kind).weights
        source = saved_config.get(key)
        if not source:
            raise UsageError(
                f"{flag} {given} contradicts {run}, which was started {started_from}: choose another --run"
            )
        if source.get("sha256") != file_sha256(weights.path):
            raise UsageError(
                f"{flag} {given} is not the {weights.kind.upper()} that {run} was started from, or it was trained"
                f" further: leave it out to resume, or choose another --run, such as {unused_run_path(run)}"
            )


def _find_resume_checkpoint(setup: TrainSetup, emit: EventHandler) -> str | None:
    """Repair the run to resume after a kill, and return the path of its newest valid checkpoint, if any.

    Raises:
        VaeganError: if all checkpoints are damaged, or the newest is of another model.
    """
    run_dir = setup.run_dir
    run_dir.remove_partial_files()
    checkpoint = run_dir.latest_checkpoint(emit)
    if checkpoint is None:
        _refuse_lost_checkpoints(setup)
        return None
    if read_weights_info(checkpoint).config.with_normal_prior() != setup.model_config.with_normal_prior():
        raise VaeganError(
            f"{checkpoint} is of another model than {run_dir.path / 'config.json'} says: start over with --force"
        )
    run_dir.keep_newer_weights(parse_step(checkpoint), emit)
    run_dir.copy_weights_from(checkpoint)  # a kill may have come between the checkpoint and its copy
    return str(checkpoint)


def _refuse_lost_checkpoints(setup: TrainSetup) -> None:
    """Raise VaeganError if a run without checkpoints has trained: a new start would replace its weights and metrics.

    A run that was killed before its first checkpoint is no such run. It has no weights yet, except the best ones, and
    no metrics beyond the step of that checkpoint.
    """
    run_dir, kind = setup.run_dir, setup.request.kind
    first_checkpoint = int((setup.saved_config or {})["schedule"].get("checkpoint_every", 1))
    metrics_step = max((line.get("step", 0.0) for line in read_metrics(run_dir.path)), default=0.0)
    if run_dir.weights_path.exists():
        found = run_dir.weights_path.name
    elif _weights_step(run_dir.best_weights_path) > first_checkpoint:
        found = run_dir.best_weights_path.name
    elif metrics_step > first_checkpoint:
        found = f"metrics up to step {metrics_step:.0f}"
    else:
        return
    use = f"sample from it as it is{f', train a GAN with --from-vae {run_dir.path}' if kind == 'vae' else ''}"
    raise VaeganError(
        f"{run_dir.path} holds {found}, but no checkpoint to resume from, and a new start would replace it: {use},"
        " choose another --run, or add --force"
    )


def _weights_step(path: Path) -> float:
    """Return the step of a weights file: 0 without the file, infinity if it cannot be read."""
    if not path.exists():
        return 0.0
    try:
        return read_weights_info(path).step
    except VaeganError:
        return math.inf


def _with_source(setup: TrainSetup) -> TrainSetup:
    """Return the setup of a resumed run without a checkpoint, with the VAE or the run that it was started from.

    Args:
        setup: the setup of the resumed run.

    Returns:
        the setup; unchanged for a run from scratch.

    Raises:
        VaeganError: if the start is gone or was trained further.
    """
    if (vae := _find_source(setup, "from_vae", setup.request.from_vae, "VAE")) is not None:
        return replace(setup, vae_weights=read_vae_weights(vae))
    if (start := _find_source(setup, "from_run", setup.request.from_run, "start")) is not None:
        config = setup.model_config
        return replace(setup, start=read_start(start, setup.request.kind).for_images(config.size, config.channels))
    return setup


def _find_source(setup: TrainSetup, key: str, given: Path | None, name: str) -> Path | None:
    """Return the weights that a run was started from, or None. Raises VaeganError if they are gone or have changed."""
    found = find_source(setup.run_dir, key)
    if found is None or given is not None:  # `_check_same_source` has compared what was given
        return given if found is not None else None
    path, is_same = found
    try:
        read_weights_info(path)
    except VaeganError as error:
        raise VaeganError(
            f"{setup.run_dir.path} has no checkpoint yet and its {name} is gone ({error}): start over with --force"
        ) from error
    if not is_same:
        raise VaeganError(
            f"{setup.run_dir.path} has no checkpoint yet and {path} has changed since: start over with --force"
        )
    return path
