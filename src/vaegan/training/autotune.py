"""Choose the latent dimension and the batch size by short trials, where the user asks for `auto`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.errors import Interrupted, UsageError
from vaegan.events import EventHandler, Note, TaskProgress, TextTable
from vaegan.metrics.dimensionality import active_units
from vaegan.report.charts import LabeledPoint, labeled_curve
from vaegan.run_dir import LATENT_DIM_CHART, RunDir
from vaegan.training.accumulation import GradientAccumulator, is_out_of_memory
from vaegan.training.data_cache import load_class_ids, load_train_val_images
from vaegan.training.distributed import DistributedContext
from vaegan.training.duration import requested_steps
from vaegan.training.setup import TrainSetup
from vaegan.training.signals import StopRequest
from vaegan.training.timings import measure_step_seconds
from vaegan.training.trainer import Trainer
from vaegan.training.vae_trainer import VAETrainer
from vaegan.training.validation import QuickEvaluator, VAEOutputs, compute_bits_per_dim
from vaegan.utils.files import write_bytes

LATENT_DIM_FACTORS = (0.25, 0.5, 1, 2, 4)
TRIALS_FRACTION = 0.1
"""Of the run's length, for all trials of the latent dimension together."""
MIN_GAIN_PER_DOUBLING = {"gan": ("bits_per_dim", 0.01), "reconstruction": ("psnr", 0.25)}
"""By the VAE's objective, what twice as many latents must gain: bits per dimension of the negative ELBO, which counts
the information in the latents, or decibels of validation PSNR (0.25 dB are 6 % less squared error)."""
METRIC_FORMATS = {"bits_per_dim": ("bits per dim", 3, -1), "psnr": ("dB", 2, 1)}
"""By metric: unit, decimals, and 1 where more is better, -1 where less is."""
NON_FINITE_BITS_PER_DIM = 1e3
TRIAL_TIMING_SECONDS = 2.0
MIN_TRIAL_IMAGES = 2_500
"""Images that each trial sees at least: after fewer, the order of the sizes is chance."""
MAX_WARMUP_FRACTION = 0.25
"""Longest warm-up of learning rate and KL weight, as a fraction of a trial."""
MIN_THROUGHPUT_GAIN = 1.1
"""What twice the batch size must multiply the images per second by."""
MAX_BATCH_SIZE = 4096
BATCH_SIZE_TIMING_SECONDS = 1.5

BuildFunction = Callable[[TrainSetup], tuple[Trainer, BatchSampler, QuickEvaluator]]


def autotune(
    setup: TrainSetup, build: BuildFunction, emit: EventHandler, stop: StopRequest, dist_ctx: DistributedContext
) -> TrainSetup:
    """Return the setup with batch size and latent dimension found by trials, where `auto` asks for it.

    A resumed run keeps what it was started with.

    Args:
        setup: the setup so far.
        build: makes trainer, sampler and evaluator of a setup, on one process.
        emit: receives notes and progress.
        stop: whether the user wants to stop.
        dist_ctx: the processes that train together.

    Returns:
        the setup; a resumed run's is unchanged.

    Raises:
        Interrupted: if a stop is requested. Nothing is written yet: the same command starts again.
        UsageError: if several processes ask for a batch size.
    """
    if setup.saved_config is not None:
        return setup
    if setup.request.should_tune_batch_size:
        setup = tune_batch_size(setup, build, emit, dist_ctx)
    if setup.request.should_tune_latent_dim:
        setup = tune_latent_dim(setup, emit, stop, GradientAccumulator(dist_ctx, setup.settings.batch_size, emit))
    return setup


@dataclass(frozen=True)
class LatentDimTrial:
    """Validation metrics of a short training with `latent_dim` latents.

    Attributes:
        psnr: of reconstructions, in dB.
        bits_per_dim: negative ELBO; up to a constant for a likelihood that is no density of pixels.
        kl_bits: KL per image, in bits.
        active_units: latents that depend on the image.
    """

    latent_dim: int
    psnr: float
    bits_per_dim: float
    kl_bits: float
    active_units: int


def candidate_latent_dims(preset: str) -> list[int]:
    """Return the latent dimensions to try: a quarter to four times the preset's.

    Args:
        preset: name of a preset.

    Returns:
        in ascending order.
    """
    return [int(PRESETS[preset].latent_dim * factor) for factor in LATENT_DIM_FACTORS]


def choose_latent_dim(trials: Sequence[LatentDimTrial], objective: str) -> tuple[int, str]:
    """Return the smallest latent dimension beyond which no other gains enough per doubling.

    Args:
        trials: in ascending order, each latent dimension twice the one before.
        objective: a key of MIN_GAIN_PER_DOUBLING.

    Returns:
        the latent dimension, and the reason.
    """
    metric, min_gain = MIN_GAIN_PER_DOUBLING[objective]
    unit, digits, sign = METRIC_FORMATS[metric]

    def gain_per_doubling(smaller: int, larger: int) -> float:
        difference: float = getattr(trials[larger], metric) - getattr(trials[smaller], metric)
        return sign * difference / (larger - smaller)

    last = len(trials) - 1
    chosen = next(
        index
        for index in range(len(trials))
        if all(gain_per_doubling(index, larger) < min_gain for larger in range(index + 1, last + 1))
    )
    reasons = []
    if chosen:
        loss = gain_per_doubling(chosen - 1, chosen)
        reasons.append(f"{trials[chosen - 1].latent_dim} are {loss:.{digits}f} {unit} worse")
    if chosen < last:
        gain, larger_dim = gain_per_doubling(chosen, chosen + 1), trials[chosen + 1].latent_dim
        reasons.append(f"{larger_dim} gain only {gain:.{digits}f} {unit}" if gain > 0 else f"{larger_dim} gain nothing")
    else:
        reasons.append("more were not tried")
    return trials[chosen].latent_dim, f"{trials[chosen].latent_dim} latents: {', '.join(reasons)}"


class _TrialRunner:
    """Trains every candidate on the same images in the same order, with the run's own seed."""

    def __init__(self, setup: TrainSetup, stop: StopRequest, accumulator: GradientAccumulator) -> None:
        assert isinstance(setup.settings, VAESettings)
        self.setup, self.settings, self.stop, self.accumulator = setup, setup.settings, stop, accumulator
        self.dist_ctx = accumulator.dist_ctx
        self.train_images, self.val_images = load_train_val_images(setup)
        self.class_ids = load_class_ids(setup)
        batch_size = self.settings.batch_size
        device, local_slice = setup.device_ctx.device, self.dist_ctx.local_slice(batch_size)
        train_class_ids = None if self.class_ids is None else self.class_ids.train
        self.sampler = BatchSampler(
            self.train_images,
            batch_size,
            self.settings.seed,
            device,
            local_slice,
            train_class_ids,
            self.settings.balance,
        )

    def make_trainer(self, latent_dim: int, num_images: int) -> VAETrainer:
        """Return a trainer whose warm-ups end within a training of `num_images`."""
        max_warmup = int(MAX_WARMUP_FRACTION * num_images)
        settings = replace(
            self.settings,
            kl_warmup=min(self.settings.kl_warmup, max_warmup),
            lr_warmup=min(self.settings.lr_warmup, max_warmup),
        )
        model_config = replace(self.setup.model_config, latent_dim=latent_dim)
        device_ctx = self.setup.device_ctx
        return VAETrainer(
            model_config,
            settings,
            device_ctx,
            self.train_images,
            self.val_images,
            self.accumulator,
            class_ids=self.class_ids,
        )

    def estimate_total_steps(self, largest_latent_dim: int) -> int:
        """Return the run's number of steps: as requested, or about what the largest model does in its minutes."""
        total_steps = requested_steps(self.setup)
        if total_steps is not None:
            return total_steps
        seconds = (self.settings.minutes or 1.0) * 60
        timing_seconds = min(TRIAL_TIMING_SECONDS, seconds * TRIALS_FRACTION / 4)
        trainer = self.make_trainer(largest_latent_dim, 0)
        step_seconds = measure_step_seconds(trainer, self.sampler, timing_seconds, self.dist_ctx)
        return int(self.dist_ctx.broadcast(int(seconds / step_seconds)))

    def run_trial(self, latent_dim: int, num_steps: int, on_step: Callable[[int], None]) -> LatentDimTrial:
        """Train one candidate on all ranks and evaluate it on rank 0. Raises Interrupted."""
        trainer = self.make_trainer(latent_dim, num_steps * self.settings.batch_size)
        for step in range(num_steps):
            if self.dist_ctx.any_rank(self.stop.requested):
                raise Interrupted("interrupted while trying latent sizes, before the first step: run it again")
            trainer.step(self.sampler[step], step, self.sampler.class_ids(step))
            on_step(step + 1)
        return LatentDimTrial(**self.dist_ctx.run_on_main(lambda: asdict(_evaluate_trial(trainer, latent_dim))))


def tune_latent_dim(
    setup: TrainSetup, emit: EventHandler, stop: StopRequest, accumulator: GradientAccumulator
) -> TrainSetup:
    """Train every candidate latent dimension for a few steps, and choose one.

    Args:
        setup: the setup so far.
        emit: receives notes and progress.
        stop: whether the user wants to stop.
        accumulator: splits batches over ranks.

    Returns:
        the setup with the chosen dimension and the record of the trials.

    Raises:
        Interrupted: if a stop is requested.
    """
    runner, candidates = _TrialRunner(setup, stop, accumulator), candidate_latent_dims(setup.settings.preset or "small")
    total_steps = runner.estimate_total_steps(candidates[-1])
    steps = int(total_steps * TRIALS_FRACTION / len(candidates))
    if steps * setup.settings.batch_size < MIN_TRIAL_IMAGES:
        return _skip_latent_dim_tuning(setup, emit)

    is_timed = setup.settings.steps is None and setup.settings.images is None and setup.settings.minutes is not None
    emit(
        Note(
            f"Trying {len(candidates)} latent sizes ({', '.join(map(str, candidates))}), {steps} steps each: together"
            f" {steps * len(candidates) / total_steps:.0%} of the run,"
            f" {'taken from its minutes' if is_timed else 'before it starts'}"
        )
    )
    trials: list[LatentDimTrial] = []
    for latent_dim in candidates:
        steps_before = steps * len(trials)

        def report_progress(steps_done: int, steps_before: int = steps_before) -> None:
            emit(TaskProgress("Trying latent sizes", steps_before + steps_done, steps * len(candidates), "steps"))

        trials.append(runner.run_trial(latent_dim, steps, report_progress))

    chosen, reason = choose_latent_dim(trials, runner.settings.objective)
    header = ("latents", "PSNR, dB", "bits per dim", "KL, bits", "active", "")
    emit(TextTable(header, [_format_trial_row(trial, chosen) for trial in trials]))
    emit(Note(f"Taking {reason}"))
    record = {"steps": steps, "reason": reason, "trials": [asdict(trial) for trial in trials]}
    settings, model_config = replace(setup.settings, latent_dim=chosen), replace(setup.model_config, latent_dim=chosen)
    return replace(setup, settings=settings, model_config=model_config, latent_dim_trials=record)


def _skip_latent_dim_tuning(setup: TrainSetup, emit: EventHandler) -> TrainSetup:
    """Return the setup with the preset's latent dimension: the run is too short for trials."""
    needed = int(MIN_TRIAL_IMAGES * len(LATENT_DIM_FACTORS) / TRIALS_FRACTION)
    reason = (
        f"{setup.model_config.latent_dim} latents, the preset's: only runs of at least {needed:,} images try several"
    )
    emit(Note(f"Taking {reason}"))
    return replace(setup, latent_dim_trials={"steps": 0, "reason": reason, "trials": []})


def _format_trial_row(trial: LatentDimTrial, chosen_latent_dim: int) -> tuple[str, ...]:
    return (
        str(trial.latent_dim),
        f"{trial.psnr:.2f}",
        f"{trial.bits_per_dim:.3f}",
        f"{trial.kl_bits:.0f}",
        str(trial.active_units),
        "<- taken" if trial.latent_dim == chosen_latent_dim else "",
    )


def _evaluate_trial(trainer: VAETrainer, latent_dim: int) -> LatentDimTrial:
    """Evaluate the EMA weights on validation images, or on training images where there are none."""
    images = trainer.val_images if len(trainer.val_images) else trainer.train_subset.to(trainer.device_ctx.device)
    settings, num_dims = trainer.settings, images[0].numel()
    class_weights = trainer.val_class_weights if len(trainer.val_images) else trainer.train_class_weights
    outputs = VAEOutputs(
        trainer.ema.model, images, trainer.device_ctx, settings.likelihood, settings.seed, class_weights
    )
    negative_elbo = outputs.negative_elbo()
    bits_per_dim = compute_bits_per_dim(negative_elbo, settings.likelihood, num_dims)
    if bits_per_dim is None:
        bits_per_dim = negative_elbo / num_dims / math.log(2)
    kl_bits = float(outputs.mean_kl_per_dim().sum()) / math.log(2)
    return LatentDimTrial(
        latent_dim,
        psnr=_finite_or(outputs.mean("psnr"), 0.0),
        bits_per_dim=_finite_or(bits_per_dim, NON_FINITE_BITS_PER_DIM),
        kl_bits=_finite_or(kl_bits, 0.0),
        active_units=active_units(outputs["means"]),
    )


def _finite_or(value: float, fallback: float) -> float:
    return round(value if math.isfinite(value) else fallback, 4)


def write_latent_dim_chart(trials_record: Mapping[str, Any], chosen_latent_dim: int, run_dir: RunDir) -> None:
    """Write the chart of PSNR against KL, where latent sizes were tried.

    Args:
        trials_record: as in config.json.
        chosen_latent_dim: the one that is marked.
        run_dir: the run.

    Raises:
        VaeganError: if the file cannot be written.
    """
    if not trials_record["trials"]:
        return
    points = [
        LabeledPoint(
            trial["kl_bits"], trial["psnr"], str(trial["latent_dim"]), trial["latent_dim"] == chosen_latent_dim
        )
        for trial in trials_record["trials"]
    ]
    title = f"Latent sizes after {trials_record['steps']} steps each; {chosen_latent_dim} taken"
    svg = labeled_curve(points, title, "KL per image, bits", "PSNR of reconstructions, dB")
    write_bytes(run_dir.path / LATENT_DIM_CHART, svg.encode())


def search_batch_size(
    measure_throughput: Callable[[int], float | None], initial_batch_size: int, max_batch_size: int
) -> tuple[int, dict[int, float]]:
    """Double the batch size while that pays.

    Args:
        measure_throughput: images per second at a batch size; None where it does not fit the memory.
        initial_batch_size: where to start.
        max_batch_size: largest size to try.

    Returns:
        the batch size, and the images per second that were measured by size.
    """
    batch_size, rates = initial_batch_size, {initial_batch_size: measure_throughput(initial_batch_size) or 0.0}
    while 2 * batch_size <= max_batch_size:
        rate = measure_throughput(2 * batch_size)
        if rate is None:
            break
        rates[2 * batch_size] = rate
        if rate < MIN_THROUGHPUT_GAIN * rates[batch_size]:
            break
        batch_size *= 2
    return batch_size, rates


def tune_batch_size(
    setup: TrainSetup, build: BuildFunction, emit: EventHandler, dist_ctx: DistributedContext
) -> TrainSetup:
    """Choose the batch size that suits the GPU; elsewhere it stays the default.

    Args:
        setup: the setup so far.
        build: makes trainer, sampler and evaluator of a setup.
        emit: receives notes.
        dist_ctx: the processes that train together.

    Returns:
        the setup with the batch size and the record of the trials.

    Raises:
        UsageError: for several processes, which share a batch of a given size.
    """
    default, largest = setup.settings.batch_size, min(MAX_BATCH_SIZE, max(1, setup.image_counts["train"]))
    if dist_ctx.world_size > 1:
        raise UsageError(f"--batch-size auto: {dist_ctx.world_size} processes share each batch; give its size")
    if setup.device_ctx.device.type != "cuda":
        emit(Note(f"Taking batches of {default} images: larger ones gain nothing without a GPU"))
        return replace(setup, batch_size_trials={"batch_size": default, "images_per_second": {}})
    batch_size, rates = search_batch_size(
        lambda size: _measure_throughput(setup, size, build, dist_ctx), default, largest
    )
    rates_text = ", ".join(f"{size}: {rate:,.0f}" for size, rate in rates.items())
    emit(Note(f"Taking batches of {batch_size} images (images per second by batch size: {rates_text})"))
    record = {
        "batch_size": batch_size,
        "images_per_second": {str(size): round(rate, 1) for size, rate in rates.items()},
    }
    return replace(setup, settings=replace(setup.settings, batch_size=batch_size), batch_size_trials=record)


def _measure_throughput(
    setup: TrainSetup, batch_size: int, build: BuildFunction, dist_ctx: DistributedContext
) -> float | None:
    """Return the images per second at a batch size, or None where it does not fit the memory."""
    try:
        trainer, sampler, _ = build(replace(setup, settings=replace(setup.settings, batch_size=batch_size)))
        rate = batch_size / measure_step_seconds(trainer, sampler, BATCH_SIZE_TIMING_SECONDS, dist_ctx)
        fits = trainer.accumulator.num_micro_batches == 1
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    torch.cuda.empty_cache()
    return rate if fits else None
