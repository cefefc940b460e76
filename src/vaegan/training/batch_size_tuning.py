"""How many pictures a step should take on a GPU: doubled until that no longer pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vaegan.data.sampler import Batches
from vaegan.errors import UsageError
from vaegan.events import Emit, Note
from vaegan.training.accumulation import is_out_of_memory
from vaegan.training.distributed import World
from vaegan.training.duration import step_seconds
from vaegan.training.setup import Job
from vaegan.training.trainer import Trainer
from vaegan.training.validation import Watch

GAIN = 1.1
"""What twice the batch must multiply the pictures per second by."""
MOST = 4096
SECONDS = 1.5

Build = Callable[[Job], tuple[Trainer, Batches, Watch]]


def find_batch(rate_of: Callable[[int], float | None], first: int, most: int) -> tuple[int, dict[int, float]]:
    """Return the size that is taken, and pictures per second by size.

    rate_of: measures a size; None where the memory does not hold it.
    """
    size, rates = first, {first: rate_of(first) or 0.0}
    while 2 * size <= most:
        rate = rate_of(2 * size)
        if rate is None:
            break
        rates[2 * size] = rate
        if rate < GAIN * rates[size]:
            break
        size *= 2
    return size, rates


def try_batches(job: Job, build: Build, emit: Emit, world: World) -> Job:
    """Return the job with the batch size that suits its GPU, and what was measured; on other devices the usual size.

    build: makes what trains a job. Raises UsageError for several processes, which share one batch of a given size.
    """
    first, most = job.settings.batch_size, min(MOST, max(1, job.data.counts["train"]))
    if world.size > 1:
        raise UsageError(f"--batch-size auto: {world.size} processes share each batch; give its size")
    if job.place.device.type != "cuda":
        emit(Note(f"Taking {first} pictures a step, as larger steps gain nothing without a GPU"))
        return replace(job, tuned={"batch_size": first, "rates": {}})
    size, rates = find_batch(lambda tried: _rate(job, tried, build, world), first, most)
    measured = ", ".join(f"{tried}: {rate:,.0f}" for tried, rate in rates.items())
    emit(Note(f"Taking {size} pictures a step (pictures per second by size: {measured})"))
    record = {"batch_size": size, "rates": {str(tried): round(rate, 1) for tried, rate in rates.items()}}
    return replace(job, settings=replace(job.settings, batch_size=size), tuned=record)


def _rate(job: Job, size: int, build: Build, world: World) -> float | None:
    """Pictures per second at a batch size, or None where it does not fit the memory."""
    try:
        trainer, batches, _ = build(replace(job, settings=replace(job.settings, batch_size=size)))
        rate = size / step_seconds(trainer, batches, SECONDS, world)
        fits = trainer.shares.parts == 1  # else it was worked through in smaller parts
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    torch.cuda.empty_cache()
    return rate if fits else None
