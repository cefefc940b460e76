"""How many pictures a step should take on a GPU: doubled until that no longer pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from vaegan.data.sampler import BatchSampler
from vaegan.errors import UsageError
from vaegan.events import EventHandler, Note
from vaegan.training.accumulation import is_out_of_memory
from vaegan.training.distributed import DistributedContext
from vaegan.training.duration import measure_step_seconds
from vaegan.training.setup import TrainSetup
from vaegan.training.trainer import Trainer
from vaegan.training.validation import QuickEvaluator

MIN_THROUGHPUT_GAIN = 1.1
"""What twice the batch must multiply the pictures per second by."""
MAX_BATCH_SIZE = 4096
BATCH_SIZE_TIMING_SECONDS = 1.5

BuildFunction = Callable[[TrainSetup], tuple[Trainer, BatchSampler, QuickEvaluator]]


def search_batch_size(
    measure_throughput: Callable[[int], float | None], initial_batch_size: int, max_batch_size: int
) -> tuple[int, dict[int, float]]:
    """Return the size that is taken, and pictures per second by size.

    rate_of: measures a size; None where the memory does not hold it.
    """
    size, rates = initial_batch_size, {initial_batch_size: measure_throughput(initial_batch_size) or 0.0}
    while 2 * size <= max_batch_size:
        rate = measure_throughput(2 * size)
        if rate is None:
            break
        rates[2 * size] = rate
        if rate < MIN_THROUGHPUT_GAIN * rates[size]:
            break
        size *= 2
    return size, rates


def tune_batch_size(
    setup: TrainSetup, build: BuildFunction, emit: EventHandler, dist_ctx: DistributedContext
) -> TrainSetup:
    """Return the job with the batch size that suits its GPU, and what was measured; on other devices the usual size.

    build: makes what trains a job. Raises UsageError for several processes, which share one batch of a given size.
    """
    first, most = setup.settings.batch_size, min(MAX_BATCH_SIZE, max(1, setup.dataset.counts["train"]))
    if dist_ctx.world_size > 1:
        raise UsageError(f"--batch-size auto: {dist_ctx.world_size} processes share each batch; give its size")
    if setup.device_ctx.device.type != "cuda":
        emit(Note(f"Taking {first} pictures a step, as larger steps gain nothing without a GPU"))
        return replace(setup, batch_size_trials={"batch_size": first, "rates": {}})
    size, rates = search_batch_size(lambda tried: _measure_throughput(setup, tried, build, dist_ctx), first, most)
    measured = ", ".join(f"{tried}: {rate:,.0f}" for tried, rate in rates.items())
    emit(Note(f"Taking {size} pictures a step (pictures per second by size: {measured})"))
    record = {"batch_size": size, "rates": {str(tried): round(rate, 1) for tried, rate in rates.items()}}
    return replace(setup, settings=replace(setup.settings, batch_size=size), batch_size_trials=record)


def _measure_throughput(
    setup: TrainSetup, batch_size: int, build: BuildFunction, dist_ctx: DistributedContext
) -> float | None:
    """Pictures per second at a batch size, or None where it does not fit the memory."""
    try:
        trainer, batches, _ = build(replace(setup, settings=replace(setup.settings, batch_size=batch_size)))
        rate = batch_size / measure_step_seconds(trainer, batches, BATCH_SIZE_TIMING_SECONDS, dist_ctx)
        fits = trainer.accumulator.num_micro_batches == 1  # else it was worked through in smaller parts
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    torch.cuda.empty_cache()
    return rate if fits else None
