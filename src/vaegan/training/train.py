"""Train a VAE or a GAN: the whole story of a run, from the user's options to its last event."""

from __future__ import annotations

import contextlib
import platform
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

import torch

from vaegan.checkpoint import WeightsInfo
from vaegan.config.option_types import GANOptions, VAEOptions
from vaegan.config.options import flag_name
from vaegan.config.settings import CLASS_OPTIONS, GANSettings, VAESettings
from vaegan.data.dataset import find_newest_dataset, open_dataset
from vaegan.data.image_files import image_options
from vaegan.data.sampler import BatchSampler
from vaegan.errors import UsageError, VaeganError
from vaegan.events import (
    Event,
    EventHandler,
    Note,
    TrainingFinished,
    TrainingStarted,
    WarningMessage,
    ignore_event,
)
from vaegan.inference.attribute_files import inherit_attributes
from vaegan.metrics.image_quality import psnr_of_error
from vaegan.metrics_log import MetricsWriter, training_seconds
from vaegan.models.vae import VAE
from vaegan.progress.reporter import default_reporter
from vaegan.report.run_report import ReportWriter
from vaegan.run_dir import RunDir, find_run, unused_run_path
from vaegan.run_lookup import record_path, relative_to_cwd
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.autotune import autotune, write_latent_dim_chart
from vaegan.training.data_cache import load_class_ids, load_train_val_images, open_train_val_images
from vaegan.training.distributed import DistributedContext, init_distributed
from vaegan.training.duration import has_stopped_flat, make_schedule, requested_steps
from vaegan.training.experiment_log import experiment_logger
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.loop import TrainLoop
from vaegan.training.matching import with_prior
from vaegan.training.precision import describe_machine
from vaegan.training.request import TrainRequest, TrainSettings
from vaegan.training.resume import setup_resumed_run
from vaegan.training.setup import TrainSetup, limit_d_warmup, setup_new_run
from vaegan.training.signals import StopRequest
from vaegan.training.start import load_start_networks, load_vae
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer
from vaegan.training.validation import QuickEvaluator
from vaegan.utils.device import flush_denormals
from vaegan.utils.files import file_sha256
from vaegan.utils.lock import run_lock
from vaegan.version import __version__

MIN_IMAGES_FOR_FACES = 10_000
"""Images of a GAN from a VAE below which few samples of any dataset looked like faces (docs/experiments.md)."""


def train_vae(
    data: Path | str | None = None,
    run: Path | str = "runs/vae",
    *,
    config: Path | str | None = None,
    force: bool = False,
    from_run: Path | str | None = None,
    on_event: EventHandler | None = None,
    **options: Unpack[VAEOptions],
) -> Path:
    """Train a VAE, or resume its run.

    Args:
        data: prepared dataset; by default the newest under data/.
        run: run directory; an existing run there is resumed.
        config: config.json of another run to take options from; `options` override it.
        force: start over, replacing the run at `run`.
        from_run: trained VAE to start from, of the same image size or half of it; by default random weights.
        on_event: is called with every event (see `vaegan.events`). By default progress is shown in a terminal and in a
            notebook, and warnings are logged elsewhere; `ignore_event` shows nothing.
        **options: the fields of `VAESettings`.

    Returns:
        the run's directory.

    Raises:
        VaeganError: for whatever the user can mend.
        Interrupted: after a signal, once the state is saved.
    """
    request = TrainRequest.from_arguments("vae", data, run, None, config, force, dict(options), from_run)
    with default_reporter(on_event) as emit:
        return _train(request, emit)


def train_gan(
    data: Path | str | None = None,
    run: Path | str = "runs/gan",
    *,
    from_vae: Path | str | None = None,
    from_gan: Path | str | None = None,
    config: Path | str | None = None,
    force: bool = False,
    on_event: EventHandler | None = None,
    **options: Unpack[GANOptions],
) -> Path:
    """Train a GAN, or resume its run.

    Args:
        data: prepared dataset; by default the one that the VAE was trained on, else the newest under data/.
        run: run directory; an existing run there is resumed.
        from_vae: VAE whose decoder initializes the generator; by default the GAN is trained from scratch.
        from_gan: trained GAN to start from instead, of the same image size or half of it.
        config: config.json of another run to take options from; `options` override it.
        force: start over, replacing the run at `run`.
        on_event: is called with every event (see `vaegan.events`). By default progress is shown in a terminal and in a
            notebook, and warnings are logged elsewhere; `ignore_event` shows nothing.
        **options: the fields of `GANSettings`.

    Returns:
        the run's directory.

    Raises:
        VaeganError: for whatever the user can mend.
        Interrupted: after a signal, once the state is saved.
    """
    request = TrainRequest.from_arguments("gan", data, run, from_vae, config, force, dict(options), from_gan)
    with default_reporter(on_event) as emit:
        return _train(request, emit)


def _train(request: TrainRequest, on_event: EventHandler) -> Path:
    """Run one training from start to end, in seven steps; every rank takes each of them."""
    start_time, run_dir = time.perf_counter(), request.run_dir
    request.validate()
    with flush_denormals(), init_distributed() as dist_ctx, contextlib.ExitStack() as stack:
        stop = StopRequest(debounce=dist_ctx.world_size > 1)
        stack.enter_context(stop.handle_signals())
        emit = on_event if dist_ctx.is_main_process else ignore_event
        dist_ctx.run_on_main(lambda: stack.enter_context(run_lock(run_dir.path, emit)))

        # 1. Settings, model, dataset, device, checkpoint to resume from, VAE weights
        resolve_setup = setup_resumed_run if request.is_resume else setup_new_run
        setup = resolve_setup(request, emit, dist_ctx)
        emit = stack.enter_context(_event_handler(setup, emit, dist_ctx))

        dist_ctx.run_on_main(lambda: _note_if_newer_dataset(setup, emit))

        # 2. Nothing left to do
        if dist_ctx.run_on_all_ranks(lambda: _is_finished(setup)):
            _emit_already_finished(setup, emit)
            return run_dir.path

        # 3. Networks of --from or --from-gan; new runs: batch size and latent dimension by trials, where asked for
        setup = _load_start(setup, emit, dist_ctx)
        setup = autotune(setup, _build_single_process, emit, stop, dist_ctx)

        # 4. Networks and optimizers, batches, evaluation of samples
        accumulator = GradientAccumulator(dist_ctx, setup.settings.batch_size, emit)
        trainer, sampler, evaluator = dist_ctx.run_on_all_ranks(lambda: build(setup, accumulator, emit))

        # 5. Length and intervals in steps, by a measurement where minutes were asked for
        schedule, images_per_second, planner = make_schedule(setup, trainer, sampler, evaluator, start_time, dist_ctx)
        setup = limit_d_warmup(setup, schedule.total_steps)
        if setup.saved_config is None:
            trainer.settings = setup.settings
        loop = TrainLoop(trainer, sampler, run_dir, schedule, emit, dist_ctx, evaluator, planner)

        # 6. Resume from the checkpoint, or prepare the directory of a new run
        checkpoint = setup.checkpoint
        if checkpoint is not None:
            dist_ctx.run_on_all_ranks(lambda: loop.load_checkpoint(checkpoint))
        elif setup.saved_config is None:
            dist_ctx.run_on_main(lambda: run_dir.prepare_new(request.force))
        dist_ctx.run_on_main(lambda: _write_run_files(setup, loop, images_per_second))
        if setup.saved_config is None and setup.vae_weights is not None:
            vae_path = setup.vae_weights.path
            dist_ctx.run_on_main(lambda: inherit_attributes(vae_path, run_dir.path, emit))
        loop.replay_metrics_log()
        _warn_if_nothing_learns(setup, schedule.total_steps, emit)
        _note_if_short(setup, schedule.total_steps, emit)

        # 7. Train
        emit(
            TrainingStarted(
                trainer.kind,
                loop.steps_done,
                schedule.total_steps,
                sampler.batch_size,
                images_per_second,
                setup.image_counts["train"],
            )
        )
        loop.run(stop)
    return run_dir.path


def _note_if_newer_dataset(setup: TrainSetup, emit: EventHandler) -> None:
    """Say how to train on the newest dataset where an existing run keeps to another one."""
    request, saved_config = setup.request, setup.saved_config
    if saved_config is None or request.data_path is not None or saved_config.get("from_vae"):
        return
    newest = find_newest_dataset(Path("data"))
    with contextlib.suppress(VaeganError):  # a damaged dataset, which this run does not need
        if newest is not None and open_dataset(newest).fingerprint != setup.dataset.fingerprint:
            run, used = request.run_dir.path, relative_to_cwd(setup.dataset.path)
            words = ["vaegan", f"train-{request.kind}", str(newest), "--run", str(unused_run_path(run))]
            command = shlex.join(words)
            emit(Note(f"{run} was started on {used}, not on {newest}, the newest dataset. To train on that: {command}"))


def _warn_if_nothing_learns(setup: TrainSetup, total_steps: int, emit: EventHandler) -> None:
    """Warn if the whole run is the discriminator's warm-up, so that the generator never changes."""
    settings = setup.settings
    if not isinstance(settings, GANSettings):
        return
    warmup_steps = settings.d_warmup_steps or 0
    if total_steps <= warmup_steps:
        emit(
            WarningMessage(
                f"all {total_steps} steps of this run train only the discriminator (--d-warmup-steps {warmup_steps}):"
                " the generator stays as it starts. Train longer"
            )
        )


def _note_if_short(setup: TrainSetup, total_steps: int, emit: EventHandler) -> None:
    """Say before the training of a GAN that it is too short for whole faces."""
    num_images = total_steps * setup.settings.batch_size
    has_trained_gan = setup.start is not None or (setup.saved_config or {}).get("from_run")
    if setup.request.kind == "gan" and num_images < MIN_IMAGES_FOR_FACES and not has_trained_gan:
        emit(
            Note(
                f"This run trains on {num_images:,} images: expect vague samples. Faces become whole after some"
                f" {2 * MIN_IMAGES_FOR_FACES:,}"
            )
        )


def _load_start(setup: TrainSetup, emit: EventHandler, dist_ctx: DistributedContext) -> TrainSetup:
    """Load the networks of --from or --from-gan, fit a GAN's prior to the new dataset, and say what was taken."""
    start, settings = setup.start, setup.settings
    if start is None:
        return setup
    train_images, _ = dist_ctx.run_on_all_ranks(lambda: open_train_val_images(setup))
    class_ids = dist_ctx.run_on_all_ranks(lambda: load_class_ids(setup))
    train_ids = None if class_ids is None else class_ids.train
    start = load_start_networks(
        start, train_images, settings.seed, settings.mirror, dist_ctx, setup.model_config, train_ids
    )
    emit(Note(start.describe(setup.image_counts["train"])))
    config = start.config or setup.model_config
    config = replace(config, classes=setup.model_config.classes, class_label=setup.model_config.class_label)
    if isinstance(settings, GANSettings):
        config = with_prior(config, settings.prior, start.weights)
    return replace(setup, start=start, model_config=config)


@contextlib.contextmanager
def _event_handler(setup: TrainSetup, on_event: EventHandler, dist_ctx: DistributedContext) -> Iterator[EventHandler]:
    """Yield a handler that writes metrics.jsonl, report.html and the log of --log before the caller's handler."""
    run_dir = setup.run_dir
    with experiment_logger(on_event, run_dir, setup.settings.log) as handle_event:
        metrics_writer = MetricsWriter(run_dir.path)
        report_writer = ReportWriter(run_dir, str(setup.device_ctx.device), handle_event)

        def emit(event: Event) -> None:
            if dist_ctx.is_main_process:
                metrics_writer(event)
                report_writer(event)
                handle_event(event)

        yield emit


def _is_finished(setup: TrainSetup) -> bool:
    """Return whether the run is at its last step. Raises UsageError if it is past it."""
    total_steps, steps_done = requested_steps(setup), setup.steps_done
    if setup.checkpoint is not None and has_stopped_flat(setup):
        return True
    if setup.checkpoint is None or total_steps is None or steps_done < total_steps:
        return False
    if steps_done > total_steps:
        raise UsageError(
            f"{setup.run_dir.path} is already at step {steps_done}, past the {total_steps} asked for: ask for more,"
            " or leave the length out"
        )
    return True


def _emit_already_finished(setup: TrainSetup, emit: EventHandler) -> None:
    """Say that the run is finished, and how to train it longer."""
    kind, path, images_seen = setup.request.kind, setup.run_dir.path, setup.steps_done * setup.settings.batch_size
    reason, more = "", f"--images {2 * images_seen}, or --steps or --minutes, counted from the start"
    if has_stopped_flat(setup):
        reason, more = ", and KID no longer improved (--stop-when flat)", f"--stop-when end --images {2 * images_seen}"
    emit(
        Note(
            f"{path} is finished: {setup.steps_done} steps, {images_seen:,} images{reason}. To train longer: vaegan"
            f" train-{kind} --run {path} {more}"
        )
    )
    emit(TrainingFinished(kind, 0.0, setup.steps_done, images_seen))


def build(
    setup: TrainSetup, accumulator: GradientAccumulator, emit: EventHandler
) -> tuple[Trainer, BatchSampler, QuickEvaluator]:
    """Load the images and build trainer, batch sampler and evaluator.

    Args:
        setup: the setup.
        accumulator: splits batches over ranks.
        emit: receives a note about the weights that were copied.

    Returns:
        trainer, batches and evaluator of samples.

    Raises:
        UsageError: if the batch is smaller than the number of processes.
        VaeganError: if dataset or VAE cannot be read.
    """
    settings, device_ctx, dist_ctx = setup.settings, setup.device_ctx, accumulator.dist_ctx
    batch_size, num_ranks = settings.batch_size, dist_ctx.world_size
    if batch_size < num_ranks:
        raise UsageError(f"--batch-size {batch_size}: {num_ranks} processes need an image each, at least {num_ranks}")
    train_images, val_images = load_train_val_images(setup)
    options, class_ids = image_options(setup.dataset), load_class_ids(setup)
    local_slice = dist_ctx.local_slice(batch_size)
    sampler = BatchSampler(
        train_images,
        batch_size,
        settings.seed,
        device_ctx.device,
        local_slice,
        None if class_ids is None else class_ids.train,
        settings.balance,
    )
    evaluator = QuickEvaluator(train_images, val_images, device_ctx.device)
    if isinstance(settings, VAESettings):
        initial = setup.start.networks if setup.start is not None else None
        assert initial is None or isinstance(initial, VAE)
        vae_trainer = VAETrainer(
            setup.model_config,
            settings,
            device_ctx,
            train_images,
            val_images,
            accumulator,
            options,
            initial,
            class_ids,
        )
        return vae_trainer, sampler, evaluator
    vae = load_vae(setup.vae_weights) if setup.vae_weights else None
    gan_trainer = GANTrainer(
        setup.model_config,
        settings,
        device_ctx,
        vae,
        accumulator,
        (train_images, val_images),
        options,
        setup.start,
        class_ids,
    )
    difference = gan_trainer.decoder_difference
    if difference is not None and setup.vae_weights is not None:
        images = f"images that differ by up to {difference:g}" if difference else "the same images"
        trunk = ", and the discriminator as its encoder" if settings.init_d_from_encoder else ""
        emit(Note(f"The generator starts as the decoder of {setup.vae_weights.path}, with {images}{trunk}"))
        if gan_trainer.recon_error is not None:
            values = [f"{flag_name(name)} {value:.2g}" for name, value in gan_trainer.adapted().items()]
            psnr = float(psnr_of_error(torch.tensor(gan_trainer.recon_error)))
            emit(Note(f"The VAE's reconstructions have {psnr:.1f} dB: {', '.join(values)}"))
    return gan_trainer, sampler, evaluator


def _build_single_process(setup: TrainSetup) -> tuple[Trainer, BatchSampler, QuickEvaluator]:
    return build(setup, GradientAccumulator(DistributedContext(), setup.settings.batch_size), ignore_event)


def _write_run_files(setup: TrainSetup, loop: TrainLoop, images_per_second: float | None) -> None:
    """Write config.json, drop the lines of metrics.jsonl that come again, and draw the chart of latent sizes."""
    last_step_kept = loop.steps_done if setup.checkpoint is not None else -1
    setup.run_dir.truncate_metrics(last_step_kept, loop.recovery.num_rollbacks)
    setup.run_dir.write_config(_run_config(setup, loop, images_per_second))
    if setup.latent_dim_trials:
        write_latent_dim_chart(setup.latent_dim_trials, setup.model_config.latent_dim, setup.run_dir)


def _saved_options(settings: TrainSettings) -> dict[str, Any]:
    """Return the options as they are saved; those of classes are left out where there are none."""
    options = asdict(settings)
    if settings.cond is not None:
        return options
    return {name: value for name, value in options.items() if name not in CLASS_OPTIONS}


def _describe_source(weights: WeightsInfo, run_dir: RunDir) -> dict[str, Any]:
    """Return the entry of config.json for the weights that a run starts from."""
    path, source_run = weights.path, find_run(weights.path)
    return {
        **record_path(path, run_dir.path),
        "sha256": file_sha256(path),
        "step": weights.step,
        "train_seconds": training_seconds(source_run.path) if source_run is not None else 0.0,
    }


def _adapted_options(trainer: Trainer, setup: TrainSetup) -> dict[str, float] | None:
    """Return what the error of the start's reconstructions has changed; None if it was not measured in this process."""
    if not isinstance(trainer, GANTrainer) or trainer.recon_error is None:
        return None
    adapted = trainer.adapted()
    return adapted if setup.vae_weights else {"d_recon_weight": adapted["d_recon_weight"]}


def _run_config(setup: TrainSetup, loop: TrainLoop, images_per_second: float | None) -> dict[str, Any]:
    """Return the contents of config.json."""
    saved, dataset, schedule = setup.saved_config or {}, setup.dataset, loop.schedule
    source_vae, source_run = saved.get("from_vae"), saved.get("from_run")
    if setup.vae_weights is not None:
        source_vae = _describe_source(setup.vae_weights, setup.run_dir)
    if setup.start is not None:
        weights = setup.start.weights
        source_run = {**_describe_source(weights, setup.run_dir), "taken": setup.start.taken()}
    return {
        "kind": setup.request.kind,
        "vaegan_version": __version__,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": describe_machine(setup.device_ctx),
        "model": setup.model_config.to_json(),
        "options": _saved_options(setup.settings),
        "data": {
            **record_path(dataset.path, setup.run_dir.path),
            "fingerprint": dataset.fingerprint,
            "counts": dataset.counts,
        },
        "from_vae": source_vae,
        "from_run": source_run,
        "adapted": _adapted_options(loop.trainer, setup) or saved.get("adapted"),
        "latent_dim_trials": setup.latent_dim_trials or saved.get("latent_dim_trials"),
        "batch_size_trials": setup.batch_size_trials or saved.get("batch_size_trials"),
        "schedule": {
            **schedule.to_json(),
            "precision": setup.device_ctx.precision,
            "images_per_second": images_per_second,
        },
    }
