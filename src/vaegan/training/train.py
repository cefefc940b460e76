"""From options to a finished run: make or resume it, build what it needs, drive the loop."""

from __future__ import annotations

import contextlib
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from vaegan.checkpoint import WeightsInfo, load_into_meta_model, parse_step, read_weights_info
from vaegan.config.options import require_at_most_one
from vaegan.config.settings import DURATION_OPTIONS, VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Event, EventHandler, Note, TrainingFinished, TrainingStarted, ignore_event
from vaegan.metrics_log import MetricsWriter, training_seconds
from vaegan.models.vae import VAE
from vaegan.report.run_report import ReportWriter
from vaegan.run_dir import RunDir, find_run
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.autotune import tune_latent_dim, write_latent_dim_chart
from vaegan.training.batch_size_tuning import tune_batch_size
from vaegan.training.data_cache import load_train_val_images
from vaegan.training.distributed import DistributedContext, init_distributed
from vaegan.training.duration import make_schedule, requested_steps
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.loop import TrainLoop, TrainSchedule
from vaegan.training.precision import describe_machine
from vaegan.training.setup import TrainRequest, TrainSetup, find_source_vae, resolve_setup
from vaegan.training.signals import StopRequest
from vaegan.training.tensorboard import tensorboard_logger
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer
from vaegan.training.validation import QuickEvaluator
from vaegan.utils.files import file_sha256
from vaegan.utils.lock import run_lock
from vaegan.version import __version__

PLACEHOLDER_SCHEDULE = TrainSchedule(0, 1, 1, 1, 1, 0)  # until the speed is measured


def train_vae(
    data: Path | str | None = None,
    run: Path | str = "runs/vae",
    *,
    config: Path | str | None = None,
    force: bool = False,
    on_event: EventHandler = ignore_event,
    **options: Any,
) -> Path:
    """Train a VAE on a prepared set, or go on with the run at `run`; returns the run's directory.

    data: a prepared set (the newest under data/); options: those of VAESettings. Raises VaeganError for all that the
    user can mend, Interrupted after a signal once the state is saved.
    """
    return _train("vae", data, run, None, config, force, on_event, options)


def train_gan(
    data: Path | str | None = None,
    run: Path | str = "runs/gan",
    *,
    from_vae: Path | str | None = None,
    config: Path | str | None = None,
    force: bool = False,
    on_event: EventHandler = ignore_event,
    **options: Any,
) -> Path:
    """Train a GAN, its generator started from the VAE `from_vae` or from scratch; returns the run's directory.

    data: a prepared set (the one that the VAE was trained on, else the newest under data/); options: those of
    GANSettings. Raises as `train_vae` does.
    """
    return _train("gan", data, run, from_vae, config, force, on_event, options)


def _train(
    kind: str,
    data: Path | str | None,
    run: Path | str,
    from_vae: Path | str | None,
    config: Path | str | None,
    force: bool,
    on_event: EventHandler,
    options: dict[str, Any],
) -> Path:
    began = time.perf_counter()
    given = {name: value for name, value in options.items() if value is not None}
    probe = kind == "vae" and given.get("latent_dim") == "auto"
    tune = given.get("batch_size") == "auto"
    tried = {"latent_dim": probe, "batch_size": tune}
    given = {name: value for name, value in given.items() if not tried.get(name)}
    require_at_most_one(given, DURATION_OPTIONS)
    wish = TrainRequest(
        kind, RunDir(Path(run)), given, _to_path(data), _to_path(from_vae), _to_path(config), force, probe, tune
    )
    with init_distributed() as world:
        stop = StopRequest(debounce=world.world_size > 1)
        emit = on_event if world.is_main_process else ignore_event
        with stop.handle_signals():
            job = world.run_on_all_ranks(lambda: resolve_setup(wish, emit, world))
            precision = world.broadcast(
                job.device_ctx.precision
            )  # it may have been measured: the leader's clock decides
            job = replace(job, device_ctx=replace(job.device_ctx, precision=precision))
            with contextlib.ExitStack() as stack:
                world.run_on_main(lambda: stack.enter_context(run_lock(wish.run_dir.path, emit)))
                emit = stack.enter_context(tensorboard_logger(emit, wish.run_dir, job.settings.tensorboard))
                _run_training(job, emit, stop, began, world)
    return wish.run_dir.path


def _to_path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _run_training(
    setup: TrainSetup, on_event: EventHandler, stop: StopRequest, start_time: float, dist_ctx: DistributedContext
) -> None:
    run = setup.run_dir
    writer, reporter = (
        MetricsWriter(run.path),
        ReportWriter(run, str(setup.device_ctx.device), on_event),
    )

    def emit(event: Event) -> None:
        if dist_ctx.is_main_process:
            writer(event)
            reporter(event)
            on_event(event)

    checkpoint = _find_resume_checkpoint(setup, emit, dist_ctx)
    if checkpoint is not None and dist_ctx.run_on_all_ranks(
        lambda: _report_if_finished(setup, parse_step(checkpoint), emit)
    ):
        return
    if checkpoint is None and setup.saved_config is not None:
        begun = setup
        setup = dist_ctx.run_on_all_ranks(lambda: replace(begun, vae_weights=find_source_vae(begun)))
    if setup.request.should_tune_batch_size and setup.saved_config is None:
        setup = tune_batch_size(setup, _build_single_process, emit, dist_ctx)
    if setup.request.should_tune_latent_dim and setup.saved_config is None:
        setup = tune_latent_dim(setup, emit, stop, GradientAccumulator(dist_ctx, setup.settings.batch_size, emit))
    shares = GradientAccumulator(dist_ctx, setup.settings.batch_size, emit)
    trainer, batches, watch = dist_ctx.run_on_all_ranks(lambda: _build(setup, shares, emit))
    session = TrainLoop(trainer, batches, run, PLACEHOLDER_SCHEDULE, emit, dist_ctx, watch)
    start = 0 if checkpoint is None else dist_ctx.run_on_all_ranks(lambda: session.load_checkpoint(checkpoint))
    if setup.saved_config is None:
        dist_ctx.run_on_main(lambda: run.prepare_new(setup.request.force))
    session.schedule, rate = make_schedule(setup, trainer, batches, watch, start_time, dist_ctx)

    def note() -> None:
        run.truncate_metrics(start if checkpoint is not None else -1, session.recovery.num_rollbacks)
        run.write_config(_build_config_json(setup, session.schedule, rate))
        if setup.latent_dim_trials:
            write_latent_dim_chart(setup.latent_dim_trials, setup.model_config.latent_dim, run)

    dist_ctx.run_on_main(note)
    session.replay_metrics_log()
    emit(TrainingStarted(trainer.kind, start, session.schedule.total_steps, batches.batch_size, rate))
    session.run(start, stop)


def _find_resume_checkpoint(setup: TrainSetup, emit: EventHandler, dist_ctx: DistributedContext) -> Path | None:
    """The checkpoint that every process goes on from, if any. Raises VaeganError where the run changed meanwhile."""
    run, found = setup.run_dir, ""

    def look() -> None:
        nonlocal found
        if setup.saved_config is None and run.exists() and not setup.request.force:
            raise VaeganError(f"another process has just begun {run.path}: run the same command again to go on with it")
        if setup.saved_config is not None:
            run.remove_partial_files()
            newest = run.latest_checkpoint(emit)
            found = str(newest or "")
            if (
                newest is not None
                and read_weights_info(newest).config.with_normal_prior() != setup.model_config.with_normal_prior()
            ):
                raise VaeganError(f"{newest} is of another model than {run.path / 'config.json'} says: add --force")
            if newest is not None:
                run.copy_weights_from(newest)  # a kill may have come between the checkpoint and this

    dist_ctx.run_on_main(look)
    path = dist_ctx.broadcast(found)
    return Path(path) if path else None


def _report_if_finished(setup: TrainSetup, steps_done: int, emit: EventHandler) -> bool:
    """Say whether nothing is left to do, and how to go on if so."""
    total = requested_steps(setup)
    if total is None or steps_done < total:
        return False
    path, images = setup.run_dir.path, steps_done * setup.settings.batch_size
    if steps_done > total:
        raise UsageError(
            f"{path} is already at step {steps_done}, past the {total} asked for: ask for more, or nothing"
        )
    emit(
        Note(
            f"{path} is finished: {steps_done} steps, {images:,} pictures. To go on: vaegan train-{setup.request.kind} --run"
            f" {path} --images {2 * images}, or --steps or --minutes, counted from the beginning"
        )
    )
    emit(TrainingFinished(setup.request.kind, 0.0, steps_done, images))
    return True


def _build(
    setup: TrainSetup, accumulator: GradientAccumulator, emit: EventHandler
) -> tuple[Trainer, BatchSampler, QuickEvaluator]:
    """Load the set, build the trainer, and report a transfer from a VAE."""
    batch, world = setup.settings.batch_size, accumulator.dist_ctx
    if batch < world.world_size:
        raise UsageError(
            f"--batch-size {batch}: {world.world_size} processes need a picture each, at least {world.world_size}"
        )
    device = setup.device_ctx.device
    train, held_out = load_train_val_images(setup)
    batches = BatchSampler(train, batch, setup.settings.seed, device, world.local_slice(batch))
    watch = QuickEvaluator(train, held_out, device)
    if isinstance(setup.settings, VAESettings):
        return (
            VAETrainer(setup.model_config, setup.settings, setup.device_ctx, train, held_out, accumulator),
            batches,
            watch,
        )
    vae = _load_vae(setup.vae_weights) if setup.vae_weights else None
    trainer = GANTrainer(setup.model_config, setup.settings, setup.device_ctx, vae, accumulator, (train, held_out))
    moved = trainer.decoder_transfer
    if moved is not None and setup.vae_weights is not None:
        emit(
            Note(
                f"Generator started from {setup.vae_weights.path}: {moved.num_tensors} tensors, {moved.num_values:,} numbers"
                f" moved; largest difference of the pictures {moved.max_abs_difference:g}"
                + ("; discriminator's trunk started from the encoder" if trainer.settings.init_d_from_encoder else "")
            )
        )
    return trainer, batches, watch


def _build_single_process(setup: TrainSetup) -> tuple[Trainer, BatchSampler, QuickEvaluator]:
    """The same in a process that trains alone, and says nothing."""
    return _build(setup, GradientAccumulator(DistributedContext(), setup.settings.batch_size), ignore_event)


def _load_vae(weights: WeightsInfo) -> VAE:
    with torch.device("meta"):
        vae = VAE(weights.config)
    load_into_meta_model(vae, weights.path)
    return vae.eval()


def _build_config_json(setup: TrainSetup, schedule: TrainSchedule, images_per_second: float | None) -> dict[str, Any]:
    """What config.json says."""
    source = (setup.saved_config or {}).get("from_vae")
    if setup.vae_weights is not None:
        weights = setup.vae_weights
        source = {"path": str(weights.path.resolve()), "sha256": file_sha256(weights.path), "step": weights.step}
        run = find_run(weights.path)
        source["train_seconds"] = training_seconds(run.path) if run is not None else 0.0
    data = {
        "path": str(setup.dataset.path.resolve()),
        "fingerprint": setup.dataset.fingerprint,
        "counts": setup.dataset.counts,
    }
    return {
        "kind": setup.request.kind,
        "vaegan_version": __version__,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": describe_machine(setup.device_ctx),
        "model": asdict(setup.model_config),
        "options": asdict(setup.settings),
        "data": data,
        "from_vae": source,
        "latent_dim_trials": setup.latent_dim_trials or (setup.saved_config or {}).get("latent_dim_trials"),
        "batch_size_trials": setup.batch_size_trials or (setup.saved_config or {}).get("batch_size_trials"),
        "plan": {
            "total_steps": schedule.total_steps,
            "checkpoint_every": schedule.checkpoint_every,
            "sample_every": schedule.sample_every,
            "evaluate_every": schedule.evaluate_every,
            "precision": setup.device_ctx.precision,
            "images_per_second": images_per_second,
        },
    }
