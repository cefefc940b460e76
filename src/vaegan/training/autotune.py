"""Which length the latents should have: short trainings of several, and a choice that can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import VAESettings
from vaegan.data.sampler import BatchSampler
from vaegan.errors import Interrupted
from vaegan.events import EventHandler, Note, TaskProgress, TextTable
from vaegan.metrics.active_units import active_units
from vaegan.report.line_chart import LabeledPoint, labeled_curve
from vaegan.run_dir import LATENT_DIM_CHART, RunDir
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.data_cache import load_train_val_images
from vaegan.training.duration import measure_step_seconds, requested_steps
from vaegan.training.setup import TrainSetup
from vaegan.training.signals import StopRequest
from vaegan.training.vae_trainer import VAETrainer
from vaegan.training.validation import VAEOutputs, compute_bits_per_dim
from vaegan.utils.files import write_bytes

LATENT_DIM_FACTORS = (0.25, 0.5, 1, 2, 4)
TRIALS_FRACTION = 0.1
"""Of the run's length, for all probes together."""
MIN_GAIN_PER_DOUBLING = {"gan": ("bits_per_dim", 0.01), "reconstruction": ("psnr", 0.25)}
"""By the VAE's purpose, what twice as many latents must gain: bits a value of the evidence lower bound, which counts
what the latents tell against them, or decibels of held-out PSNR (0.25 are 6 % less squared error)."""
METRIC_FORMATS = {"bits_per_dim": ("bits a value", 3, -1), "psnr": ("dB", 2, 1)}
"""Of a measure, its decimals, and 1 where more of it is better."""
NON_FINITE_BITS_PER_DIM = 1e3
"""Bits a value of a probe whose numbers are not finite."""
TRIAL_TIMING_SECONDS = 2.0
MIN_TRIAL_IMAGES = 2_500
"""Pictures that a probe sees at least: after fewer, the order of the sizes is chance."""
MAX_WARMUP_FRACTION = 0.25
"""Share of a probe over which its learning rate and KL weight rise, where the run's own rise is longer."""


@dataclass(frozen=True)
class LatentDimTrial:
    """What a short training with `latent_dim` latents came to, on pictures that it did not see where there are some.

    psnr: of reconstructions, in dB; bits_per_dim: the evidence lower bound (less is better), up to a constant for a
    likelihood that is no density of pixels; bits: KL per picture; active: latents that depend on the picture.
    """

    latent_dim: int
    psnr: float
    bits_per_dim: float
    kl_bits: float
    active_units: int


def candidate_latent_dims(preset: str) -> list[int]:
    """The lengths to try: a quarter to four times the preset's."""
    return [int(PRESETS[preset].latent_dim * factor) for factor in LATENT_DIM_FACTORS]


def choose_latent_dim(trials: Sequence[LatentDimTrial], objective: str) -> tuple[int, str]:
    """The shortest latents beyond which no size gains enough for each doubling (see WORTH), with the reason in words.

    probes: in the order of their sizes, each twice the last.
    """
    measure, worth = MIN_GAIN_PER_DOUBLING[objective]
    unit, digits, sign = METRIC_FORMATS[measure]

    def gains(index: int, more: int) -> float:
        gain: float = getattr(trials[more], measure) - getattr(trials[index], measure)
        return sign * gain / (more - index)

    last = len(trials) - 1
    chosen = next(
        index for index in range(len(trials)) if all(gains(index, more) < worth for more in range(index + 1, last + 1))
    )
    reasons = []
    if chosen:
        reasons.append(f"{trials[chosen - 1].latent_dim} are {gains(chosen - 1, chosen):.{digits}f} {unit} worse")
    if chosen < last:
        gain = gains(chosen, chosen + 1)
        more = trials[chosen + 1].latent_dim
        reasons.append(f"{more} gain only {gain:.{digits}f} {unit}" if gain > 0 else f"{more} gain nothing")
    else:
        reasons.append("more were not tried")
    return trials[chosen].latent_dim, f"{trials[chosen].latent_dim} latents: {', '.join(reasons)}"


class _TrialRunner:
    """What every size is tried with: the same pictures in the same order, from the run's own seed."""

    def __init__(self, setup: TrainSetup, stop: StopRequest, accumulator: GradientAccumulator) -> None:
        """Open the set. Raises VaeganError where there is nothing to train on."""
        assert isinstance(setup.settings, VAESettings)
        self.setup, self.settings, self.stop, self.accumulator = setup, setup.settings, stop, accumulator
        self.train_images, self.val_images = load_train_val_images(setup)
        batch = setup.settings.batch_size
        self.sampler = BatchSampler(
            self.train_images,
            batch,
            setup.settings.seed,
            setup.device_ctx.device,
            accumulator.dist_ctx.local_slice(batch),
        )

    def make_trainer(self, latent_dim: int, num_images: int) -> VAETrainer:
        """A trainer for so many pictures, whose rises are over in time."""
        rise, settings, job = int(MAX_WARMUP_FRACTION * num_images), self.settings, self.setup
        short = replace(settings, kl_warmup=min(settings.kl_warmup, rise), lr_warmup=min(settings.lr_warmup, rise))
        model = replace(job.model_config, latent_dim=latent_dim)
        return VAETrainer(model, short, job.device_ctx, self.train_images, self.val_images, self.accumulator)

    def estimate_total_steps(self, largest_latent_dim: int) -> int:
        """Steps of the run: known, or about what the largest size manages in its minutes."""
        total = requested_steps(self.setup)
        if total is not None:
            return total
        seconds = (self.settings.minutes or 1.0) * 60
        timed = min(TRIAL_TIMING_SECONDS, seconds * TRIALS_FRACTION / 4)
        step = measure_step_seconds(
            self.make_trainer(largest_latent_dim, 0), self.sampler, timed, self.accumulator.dist_ctx
        )
        return int(self.accumulator.dist_ctx.broadcast(int(seconds / step)))

    def run_trial(self, latent_dim: int, num_steps: int, on_step: Callable[[int], None]) -> LatentDimTrial:
        """Train one size; every process takes part in the steps, the leader measures. Raises Interrupted."""
        world, trainer = self.accumulator.dist_ctx, self.make_trainer(latent_dim, num_steps * self.settings.batch_size)
        for step in range(num_steps):
            if world.any_rank(self.stop.requested):
                raise Interrupted("interrupted while trying latent sizes, before the first step: run it again")
            trainer.step(self.sampler[step], step)
            on_step(step + 1)
        found: list[LatentDimTrial] = []
        world.run_on_main(lambda: found.append(_evaluate_trial(trainer, latent_dim)))
        return LatentDimTrial(**world.broadcast(asdict(found[0]) if found else None))


def tune_latent_dim(
    setup: TrainSetup, emit: EventHandler, stop: StopRequest, accumulator: GradientAccumulator
) -> TrainSetup:
    """Train every size for a few steps, choose one, and return the job with it and with what was found.

    Raises Interrupted where a stop is wished: nothing of the run is there yet, and the same command begins again.
    """
    bench, tried = _TrialRunner(setup, stop, accumulator), candidate_latent_dims(setup.settings.preset or "small")
    total = bench.estimate_total_steps(tried[-1])
    steps = int(total * TRIALS_FRACTION / len(tried))
    if steps * setup.settings.batch_size < MIN_TRIAL_IMAGES:
        return _skip_latent_dim_tuning(setup, emit)
    timed = setup.settings.steps is None and setup.settings.images is None and setup.settings.minutes is not None
    emit(
        Note(
            f"Trying {len(tried)} lengths of the latents ({', '.join(map(str, tried))}), {steps} steps each: together"
            f" {steps * len(tried) / total:.0%} of the run, {'of its minutes' if timed else 'before it'}"
        )
    )
    probes: list[LatentDimTrial] = []
    for latent_dim in tried:
        before = steps * len(probes)

        def tell(done: int, before: int = before) -> None:
            emit(TaskProgress("Trying latents", before + done, steps * len(tried), "steps"))

        probes.append(bench.run_trial(latent_dim, steps, tell))
    chosen, why = choose_latent_dim(probes, bench.settings.objective)
    emit(
        TextTable(
            ("latents", "PSNR, dB", "bits a value", "KL, bits", "active", ""),
            [_format_trial_row(one, chosen) for one in probes],
        )
    )
    emit(Note(f"Taking {why}"))
    record = {"steps": steps, "why": why, "sizes": [asdict(one) for one in probes]}
    settings, model = replace(setup.settings, latent_dim=chosen), replace(setup.model_config, latent_dim=chosen)
    return replace(setup, settings=settings, model_config=model, latent_dim_trials=record)


def _skip_latent_dim_tuning(setup: TrainSetup, emit: EventHandler) -> TrainSetup:
    """The job as it is, where its run is too short to learn from a share of it."""
    needed = int(MIN_TRIAL_IMAGES * len(LATENT_DIM_FACTORS) / TRIALS_FRACTION)
    why = (
        f"{setup.model_config.latent_dim} latents, the preset's: only runs of at least {needed:,} pictures try several"
    )
    emit(Note(f"Taking {why}"))
    return replace(setup, latent_dim_trials={"steps": 0, "why": why, "sizes": []})


def _format_trial_row(trial: LatentDimTrial, chosen_latent_dim: int) -> tuple[str, ...]:
    mark = "<- taken" if trial.latent_dim == chosen_latent_dim else ""
    return (
        str(trial.latent_dim),
        f"{trial.psnr:.2f}",
        f"{trial.bits_per_dim:.3f}",
        f"{trial.kl_bits:.0f}",
        str(trial.active_units),
        mark,
    )


def _evaluate_trial(trainer: VAETrainer, latent_dim: int) -> LatentDimTrial:
    pictures = trainer.val_images if len(trainer.val_images) else trainer.train_subset.to(trainer.device_ctx.device)
    settings = trainer.settings
    seen = VAEOutputs(trainer.ema.model, pictures, trainer.device_ctx, settings.likelihood, settings.seed)
    nats, dimensions = seen.negative_elbo(), pictures[0].numel()
    bound = compute_bits_per_dim(nats, settings.likelihood, dimensions)
    found = {
        "psnr": (seen.mean("psnr"), 0.0),
        "bits_per_dim": (nats / dimensions / math.log(2) if bound is None else bound, NON_FINITE_BITS_PER_DIM),
        "bits": (float(seen.mean_kl_per_dim().sum()) / math.log(2), 0.0),
    }
    numbers = {name: round(value if math.isfinite(value) else worst, 4) for name, (value, worst) in found.items()}
    return LatentDimTrial(latent_dim, **numbers, active_units=active_units(seen["means"]))


def write_latent_dim_chart(trials_record: Mapping[str, Any], chosen_latent_dim: int, run_dir: RunDir) -> None:
    """Write the chart of reconstruction against bits into `run`, where sizes were tried. Raises VaeganError."""
    if not trials_record["sizes"]:
        return
    points = [
        LabeledPoint(one["bits"], one["psnr"], str(one["latent_dim"]), one["latent_dim"] == chosen_latent_dim)
        for one in trials_record["sizes"]
    ]
    title = f"Latents after {trials_record['steps']} steps each; {chosen_latent_dim} taken"
    text = labeled_curve(points, title, "bits that the latents tell of a picture (KL)", "PSNR of reconstructions, dB")
    write_bytes(run_dir.path / LATENT_DIM_CHART, text.encode())
