"""Which length the latents should have: short trainings of several, and a choice that can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from vaegan.config.model_config import PRESETS
from vaegan.config.settings import VAESettings
from vaegan.data.sampler import Batches
from vaegan.errors import Interrupted
from vaegan.events import Counted, Emit, Note, Tabled
from vaegan.metrics.active_units import active_units
from vaegan.report.line_chart import Point, curve
from vaegan.run_dir import LATENT_SIZES, Run
from vaegan.training.accumulation import Shares
from vaegan.training.data_cache import read_pictures
from vaegan.training.duration import asked, step_seconds
from vaegan.training.setup import Job
from vaegan.training.signals import Stop
from vaegan.training.vae_metrics import Seen, bits_per_dim
from vaegan.training.vae_trainer import VAETrainer
from vaegan.utils.files import write_bytes

FACTORS = (0.25, 0.5, 1, 2, 4)
SHARE = 0.1
"""Of the run's length, for all probes together."""
WORTH = {"gan": ("bits_per_dim", 0.01), "reconstruction": ("psnr", 0.25)}
"""By the VAE's purpose, what twice as many latents must gain: bits a value of the evidence lower bound, which counts
what the latents tell against them, or decibels of held-out PSNR (0.25 are 6 % less squared error)."""
UNITS = {"bits_per_dim": ("bits a value", 3, -1), "psnr": ("dB", 2, 1)}
"""Of a measure, its decimals, and 1 where more of it is better."""
WORST = 1e3
"""Bits a value of a probe whose numbers are not finite."""
SPEED_SECONDS = 2.0
FEW = 2_500
"""Pictures that a probe sees at least: after fewer, the order of the sizes is chance."""
RISE = 0.25
"""Share of a probe over which its learning rate and KL weight rise, where the run's own rise is longer."""


@dataclass(frozen=True)
class Probe:
    """What a short training with `latent_dim` latents came to, on pictures that it did not see where there are some.

    psnr: of reconstructions, in dB; bits_per_dim: the evidence lower bound (less is better), up to a constant for a
    likelihood that is no density of pixels; bits: KL per picture; active: latents that depend on the picture.
    """

    latent_dim: int
    psnr: float
    bits_per_dim: float
    bits: float
    active: int


def sizes(preset: str) -> list[int]:
    """The lengths to try: a quarter to four times the preset's."""
    return [int(PRESETS[preset].latent_dim * factor) for factor in FACTORS]


def choose(probes: Sequence[Probe], purpose: str) -> tuple[int, str]:
    """The shortest latents beyond which no size gains enough for each doubling (see WORTH), with the reason in words.

    probes: in the order of their sizes, each twice the last.
    """
    measure, worth = WORTH[purpose]
    unit, digits, sign = UNITS[measure]

    def gains(index: int, more: int) -> float:
        gain: float = getattr(probes[more], measure) - getattr(probes[index], measure)
        return sign * gain / (more - index)

    last = len(probes) - 1
    chosen = next(
        index for index in range(len(probes)) if all(gains(index, more) < worth for more in range(index + 1, last + 1))
    )
    reasons = []
    if chosen:
        reasons.append(f"{probes[chosen - 1].latent_dim} are {gains(chosen - 1, chosen):.{digits}f} {unit} worse")
    if chosen < last:
        gain = gains(chosen, chosen + 1)
        more = probes[chosen + 1].latent_dim
        reasons.append(f"{more} gain only {gain:.{digits}f} {unit}" if gain > 0 else f"{more} gain nothing")
    else:
        reasons.append("more were not tried")
    return probes[chosen].latent_dim, f"{probes[chosen].latent_dim} latents: {', '.join(reasons)}"


class _Bench:
    """What every size is tried with: the same pictures in the same order, from the run's own seed."""

    def __init__(self, job: Job, stop: Stop, shares: Shares) -> None:
        """Open the set. Raises VaeganError where there is nothing to train on."""
        assert isinstance(job.settings, VAESettings)
        self.job, self.settings, self.stop, self.shares = job, job.settings, stop, shares
        self.train, self.held_out = read_pictures(job)
        batch = job.settings.batch_size
        self.batches = Batches(self.train, batch, job.settings.seed, job.place.device, shares.world.rows(batch))

    def trainer(self, latent_dim: int, pictures: int) -> VAETrainer:
        """A trainer for so many pictures, whose rises are over in time."""
        rise, settings, job = int(RISE * pictures), self.settings, self.job
        short = replace(settings, kl_warmup=min(settings.kl_warmup, rise), lr_warmup=min(settings.lr_warmup, rise))
        model = replace(job.model, latent_dim=latent_dim)
        return VAETrainer(model, short, job.place, self.train, self.held_out, self.shares)

    def total(self, largest: int) -> int:
        """Steps of the run: known, or about what the largest size manages in its minutes."""
        total = asked(self.job)
        if total is not None:
            return total
        seconds = (self.settings.minutes or 1.0) * 60
        timed = min(SPEED_SECONDS, seconds * SHARE / 4)
        step = step_seconds(self.trainer(largest, 0), self.batches, timed, self.shares.world)
        return int(self.shares.world.tell(int(seconds / step)))

    def probe(self, latent_dim: int, steps: int, tell: Callable[[int], None]) -> Probe:
        """Train one size; every process takes part in the steps, the leader measures. Raises Interrupted."""
        world, trainer = self.shares.world, self.trainer(latent_dim, steps * self.settings.batch_size)
        for step in range(steps):
            if world.any(self.stop.wished):
                raise Interrupted("interrupted while trying latent sizes, before the first step: run it again")
            trainer.step(self.batches[step], step)
            tell(step + 1)
        found: list[Probe] = []
        world.lead(lambda: found.append(_measured(trainer, latent_dim)))
        return Probe(**world.tell(asdict(found[0]) if found else None))


def try_latents(job: Job, emit: Emit, stop: Stop, shares: Shares) -> Job:
    """Train every size for a few steps, choose one, and return the job with it and with what was found.

    Raises Interrupted where a stop is wished: nothing of the run is there yet, and the same command begins again.
    """
    bench, tried = _Bench(job, stop, shares), sizes(job.settings.preset or "small")
    total = bench.total(tried[-1])
    steps = int(total * SHARE / len(tried))
    if steps * job.settings.batch_size < FEW:
        return _untried(job, emit)
    timed = job.settings.steps is None and job.settings.images is None and job.settings.minutes is not None
    emit(
        Note(
            f"Trying {len(tried)} lengths of the latents ({', '.join(map(str, tried))}), {steps} steps each: together"
            f" {steps * len(tried) / total:.0%} of the run, {'of its minutes' if timed else 'before it'}"
        )
    )
    probes: list[Probe] = []
    for latent_dim in tried:
        before = steps * len(probes)

        def tell(done: int, before: int = before) -> None:
            emit(Counted("Trying latents", before + done, steps * len(tried), "steps"))

        probes.append(bench.probe(latent_dim, steps, tell))
    chosen, why = choose(probes, bench.settings.purpose)
    emit(
        Tabled(("latents", "PSNR, dB", "bits a value", "KL, bits", "active", ""), [_row(one, chosen) for one in probes])
    )
    emit(Note(f"Taking {why}"))
    record = {"steps": steps, "why": why, "sizes": [asdict(one) for one in probes]}
    settings, model = replace(job.settings, latent_dim=chosen), replace(job.model, latent_dim=chosen)
    return replace(job, settings=settings, model=model, probed=record)


def _untried(job: Job, emit: Emit) -> Job:
    """The job as it is, where its run is too short to learn from a share of it."""
    needed = int(FEW * len(FACTORS) / SHARE)
    why = f"{job.model.latent_dim} latents, the preset's: only runs of at least {needed:,} pictures try several"
    emit(Note(f"Taking {why}"))
    return replace(job, probed={"steps": 0, "why": why, "sizes": []})


def _row(one: Probe, chosen: int) -> tuple[str, ...]:
    mark = "<- taken" if one.latent_dim == chosen else ""
    return str(one.latent_dim), f"{one.psnr:.2f}", f"{one.bits_per_dim:.3f}", f"{one.bits:.0f}", str(one.active), mark


def _measured(trainer: VAETrainer, latent_dim: int) -> Probe:
    pictures = trainer.held_out if len(trainer.held_out) else trainer.seen.to(trainer.place.device)
    settings = trainer.settings
    seen = Seen(trainer.ema.model, pictures, trainer.place, settings.likelihood, settings.seed)
    nats, dimensions = seen.nats(), pictures[0].numel()
    bound = bits_per_dim(nats, settings.likelihood, dimensions)
    found = {
        "psnr": (seen.mean("psnr"), 0.0),
        "bits_per_dim": (nats / dimensions / math.log(2) if bound is None else bound, WORST),
        "bits": (float(seen.kl().sum()) / math.log(2), 0.0),
    }
    numbers = {name: round(value if math.isfinite(value) else worst, 4) for name, (value, worst) in found.items()}
    return Probe(latent_dim, **numbers, active=active_units(seen["means"]))


def draw(record: Mapping[str, Any], chosen: int, run: Run) -> None:
    """Write the chart of reconstruction against bits into `run`, where sizes were tried. Raises VaeganError."""
    if not record["sizes"]:
        return
    points = [
        Point(one["bits"], one["psnr"], str(one["latent_dim"]), one["latent_dim"] == chosen) for one in record["sizes"]
    ]
    title = f"Latents after {record['steps']} steps each; {chosen} taken"
    text = curve(points, title, "bits that the latents tell of a picture (KL)", "PSNR of reconstructions, dB")
    write_bytes(run.path / LATENT_SIZES, text.encode())
