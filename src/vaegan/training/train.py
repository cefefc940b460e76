"""From options to a finished run: make or resume it, build what it needs, drive the loop."""

from __future__ import annotations

import contextlib
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from vaegan.checkpoint import Weights, adopt, read_weights, step_named
from vaegan.config.options import only_one
from vaegan.config.settings import LENGTHS, VAESettings
from vaegan.data.sampler import Batches
from vaegan.errors import UsageError, VaeganError
from vaegan.events import Emit, Event, Finished, Note, Started, ignore
from vaegan.metrics_log import MetricsWriter, seconds_of
from vaegan.models.vae import VAE
from vaegan.report.run_report import ReportWriter
from vaegan.run_dir import Run, run_of
from vaegan.training.accumulation import Shares
from vaegan.training.autotune import draw, try_latents
from vaegan.training.batch_size_tuning import try_batches
from vaegan.training.data_cache import read_pictures
from vaegan.training.distributed import World, joined
from vaegan.training.duration import asked, fix
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.loop import Plan, Session
from vaegan.training.precision import machine_of
from vaegan.training.setup import Job, Wish, decide, vae_of_resumed
from vaegan.training.signals import Stop
from vaegan.training.tensorboard import logging_too
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer
from vaegan.training.validation import Watch
from vaegan.utils.files import sha256
from vaegan.utils.lock import locked
from vaegan.vae_diagnostics import of_run
from vaegan.version import __version__

NO_PLAN = Plan(0, 1, 1, 1, 1, 0)  # until the speed is measured


def train_vae(
    data: Path | str | None = None,
    run: Path | str = "runs/vae",
    *,
    config: Path | str | None = None,
    force: bool = False,
    on_event: Emit = ignore,
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
    on_event: Emit = ignore,
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
    on_event: Emit,
    options: dict[str, Any],
) -> Path:
    began = time.perf_counter()
    given = {name: value for name, value in options.items() if value is not None}
    probe = kind == "vae" and given.get("latent_dim") == "auto"
    tune = given.get("batch_size") == "auto"
    tried = {"latent_dim": probe, "batch_size": tune}
    given = {name: value for name, value in given.items() if not tried.get(name)}
    only_one(given, LENGTHS)
    wish = Wish(kind, Run(Path(run)), given, _path(data), _path(from_vae), _path(config), force, probe, tune)
    with joined() as world:
        stop = Stop(patient=world.size > 1)
        emit = on_event if world.leads else ignore
        with stop.on_signals():
            job = world.together(lambda: decide(wish, emit, world))
            precision = world.tell(job.place.precision)  # it may have been measured: the leader's clock decides
            job = replace(job, place=replace(job.place, precision=precision))
            with contextlib.ExitStack() as stack:
                world.lead(lambda: stack.enter_context(locked(wish.run.path, emit)))
                emit = stack.enter_context(logging_too(emit, wish.run, job.settings.tensorboard))
                _execute(job, emit, stop, began, world)
    return wish.run.path


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def _execute(job: Job, on_event: Emit, stop: Stop, began: float, world: World) -> None:
    run = job.run
    writer, reporter = MetricsWriter(run.path), ReportWriter(run, str(job.place.device), on_event, of_run)

    def emit(event: Event) -> None:
        if world.leads:
            writer(event)
            reporter(event)
            on_event(event)

    checkpoint = _agree(job, emit, world)
    if checkpoint is not None and world.together(lambda: _is_finished(job, step_named(checkpoint), emit)):
        return
    if checkpoint is None and job.saved is not None:
        begun = job
        job = world.together(lambda: replace(begun, from_vae=vae_of_resumed(begun)))
    if job.wish.tune and job.saved is None:
        job = try_batches(job, _assemble_alone, emit, world)
    if job.wish.probe and job.saved is None:
        job = try_latents(job, emit, stop, Shares(world, job.settings.batch_size, emit))
    shares = Shares(world, job.settings.batch_size, emit)
    trainer, batches, watch = world.together(lambda: _assemble(job, shares, emit))
    session = Session(trainer, batches, run, NO_PLAN, emit, world, watch)
    start = 0 if checkpoint is None else world.together(lambda: session.restore(checkpoint))
    if job.saved is None:
        world.lead(lambda: run.claim(job.wish.force))
    session.plan, rate = fix(job, trainer, batches, watch, began, world)

    def note() -> None:
        run.cut_metrics(start if checkpoint is not None else -1, session.guard.went_back)
        run.write_config(_config(job, session.plan, rate))
        if job.probed:
            draw(job.probed, job.model.latent_dim, run)

    world.lead(note)
    session.remember()
    emit(Started(trainer.kind, start, session.plan.total, batches.batch_size, rate))
    session.go(start, stop)


def _agree(job: Job, emit: Emit, world: World) -> Path | None:
    """The checkpoint that every process goes on from, if any. Raises VaeganError where the run changed meanwhile."""
    run, found = job.run, ""

    def look() -> None:
        nonlocal found
        if job.saved is None and run.exists() and not job.wish.force:
            raise VaeganError(f"another process has just begun {run.path}: run the same command again to go on with it")
        if job.saved is not None:
            run.mend()
            newest = run.newest(emit)
            found = str(newest or "")
            if newest is not None and read_weights(newest).config.trained() != job.model.trained():
                raise VaeganError(f"{newest} is of another model than {run.path / 'config.json'} says: add --force")
            if newest is not None:
                run.publish(newest)  # a kill may have come between the checkpoint and this

    world.lead(look)
    path = world.tell(found)
    return Path(path) if path else None


def _is_finished(job: Job, start: int, emit: Emit) -> bool:
    """Say whether nothing is left to do, and how to go on if so."""
    total = asked(job)
    if total is None or start < total:
        return False
    path, images = job.run.path, start * job.settings.batch_size
    if start > total:
        raise UsageError(f"{path} is already at step {start}, past the {total} asked for: ask for more, or nothing")
    emit(
        Note(
            f"{path} is finished: {start} steps, {images:,} pictures. To go on: vaegan train-{job.wish.kind} --run"
            f" {path} --images {2 * images}, or --steps or --minutes, counted from the beginning"
        )
    )
    emit(Finished(job.wish.kind, 0.0, start, images))
    return True


def _assemble(job: Job, shares: Shares, emit: Emit) -> tuple[Trainer, Batches, Watch]:
    """Load the set, build the trainer, and report a transfer from a VAE."""
    batch, world = job.settings.batch_size, shares.world
    if batch < world.size:
        raise UsageError(f"--batch-size {batch}: {world.size} processes need a picture each, at least {world.size}")
    device = job.place.device
    train, held_out = read_pictures(job)
    batches = Batches(train, batch, job.settings.seed, device, world.rows(batch))
    watch = Watch(train, held_out, device)
    if isinstance(job.settings, VAESettings):
        return VAETrainer(job.model, job.settings, job.place, train, held_out, shares), batches, watch
    vae = _load_vae(job.from_vae) if job.from_vae else None
    trainer = GANTrainer(job.model, job.settings, job.place, vae, shares, (train, held_out))
    moved = trainer.transfer
    if moved is not None and job.from_vae is not None:
        emit(
            Note(
                f"Generator started from {job.from_vae.path}: {moved.tensors} tensors, {moved.numbers:,} numbers"
                f" moved; largest difference of the pictures {moved.difference:g}"
                + ("; discriminator's trunk started from the encoder" if trainer.settings.warm_discriminator else "")
            )
        )
    return trainer, batches, watch


def _assemble_alone(job: Job) -> tuple[Trainer, Batches, Watch]:
    """The same in a process that trains alone, and says nothing."""
    return _assemble(job, Shares(World(), job.settings.batch_size), ignore)


def _load_vae(weights: Weights) -> VAE:
    with torch.device("meta"):
        vae = VAE(weights.config)
    adopt(vae, weights.path)
    return vae.eval()


def _config(job: Job, plan: Plan, rate: float | None) -> dict[str, Any]:
    """What config.json says."""
    source = (job.saved or {}).get("from_vae")
    if job.from_vae is not None:
        weights = job.from_vae
        source = {"path": str(weights.path.resolve()), "sha256": sha256(weights.path), "step": weights.step}
        run = run_of(weights.path)
        source["seconds"] = seconds_of(run.path) if run is not None else 0.0
    data = {"path": str(job.data.path.resolve()), "fingerprint": job.data.fingerprint, "counts": job.data.counts}
    return {
        "kind": job.wish.kind,
        "vaegan": __version__,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": machine_of(job.place),
        "model": asdict(job.model),
        "options": asdict(job.settings),
        "data": data,
        "from_vae": source,
        "probed": job.probed or (job.saved or {}).get("probed"),
        "tuned": job.tuned or (job.saved or {}).get("tuned"),
        "plan": {
            "total": plan.total,
            "checkpoint_every": plan.checkpoint_every,
            "preview_every": plan.preview_every,
            "evaluate_every": plan.evaluate_every,
            "precision": job.place.precision,
            "rate": rate,
        },
    }
