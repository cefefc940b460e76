"""Gradient accumulation over micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import torch
from torch import Tensor

from vaegan.events import EventHandler, WarningMessage, ignore_event
from vaegan.training.batch_rows import split_rows
from vaegan.training.distributed import DistributedContext


@dataclass
class Batch:
    """Base class of dataclasses of tensors with one row per image, or None; slicing slices every tensor."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, rows: slice) -> Self:
        values = (getattr(self, field.name) for field in fields(self) if field.init)
        return type(self)(*(None if value is None else value[rows] for value in values))


B = TypeVar("B", bound=Batch)
Backward = Callable[[B, float], Mapping[str, Tensor]]
"""backward(micro_batch, weight) accumulates the gradients of weight * loss and returns scalar metrics."""


class GradientAccumulator:
    """Takes optimizer steps on a global batch, which is split over ranks and micro-batches.

    Every loss is a mean over images. So the losses of the micro-batches, each weighted by its fraction of the global
    batch, add up to the loss of the global batch. Random numbers are drawn for the global batch and then split, so a
    step does not depend on the number of ranks or micro-batches.

    Args:
        dist_ctx: the ranks that share the work.
        batch_size: size of the global batch; not needed for a single process.
        emit: receives a warning when memory runs out.

    Attributes:
        num_micro_batches: number of parts that this rank's rows are split into.
        group_size: number of neighboring rows that stay in one micro-batch, for losses that compare them.
    """

    def __init__(
        self, dist_ctx: DistributedContext | None = None, batch_size: int = 0, emit: EventHandler = ignore_event
    ) -> None:
        self.dist_ctx = dist_ctx or DistributedContext()
        self.batch_size = batch_size
        self.emit = emit
        self.num_micro_batches = self._warned_num_micro_batches = self.group_size = 1

    def global_batch_size(self, num_rows: int) -> int:
        """Return the size of the global batch.

        Args:
            num_rows: rows of this rank.

        Returns:
            number of images.
        """
        return num_rows if self.dist_ctx.world_size == 1 else self.batch_size

    def local_rows(self, global_tensor: Tensor) -> Tensor:
        """Return this rank's rows of a tensor.

        Args:
            global_tensor: has a row for every image of the global batch.

        Returns:
            its rows for this rank.
        """
        return global_tensor[self.dist_ctx.local_slice(len(global_tensor))]

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        batch: B,
        backward: Backward[B],
        max_grad_norm: float = 0.0,
        on_split: Callable[[], None] | None = None,
    ) -> dict[str, Tensor] | None:
        """Take one optimizer step on the global batch.

        Args:
            optimizer: its gradients are reset first.
            batch: this rank's rows.
            backward: called with each micro-batch and its fraction of the global batch.
            max_grad_norm: clip the norm of all gradients together (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1);
                0 for no clipping.
            on_split: called once before the first micro-batch if that is not the global batch, to compute statistics of
                the global batch that `backward` needs.

        Returns:
            The metrics, averaged over the global batch. None if a gradient or metric is not finite on any rank: then no
            rank has changed a weight.
        """
        sums = self._accumulate(batch, backward, lambda: optimizer.zero_grad(set_to_none=True), on_split)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        tensors = [*gradients, *(sums[name] for name in sorted(sums))]
        self.dist_ctx.all_reduce_sum_(tensors)
        if not are_all_finite(tensors):
            return None
        if max_grad_norm:
            clip_grad_norm_(gradients, max_grad_norm)
        optimizer.step()
        return sums

    def global_mean(self, batch: B, compute_values: Callable[[B], Tensor]) -> Tensor:
        """Return the mean of values over the global batch, without gradients.

        Args:
            batch: this rank's rows.
            compute_values: returns float [rows, ...] of a micro-batch.

        Returns:
            float [...].
        """
        with torch.no_grad():
            mean = self._accumulate(batch, lambda rows, weight: {"mean": compute_values(rows).mean(0)})["mean"]
        self.dist_ctx.all_reduce_sum_([mean])
        return mean

    def global_rows(self, batch: B, compute_values: Callable[[B], Tensor]) -> Tensor:
        """Return values of each row of the global batch, without gradients.

        Args:
            batch: this rank's rows.
            compute_values: returns float [rows, ...] of a micro-batch.

        Returns:
            float [global batch size, ...].
        """
        values: list[Tensor] = []

        def append(micro_batch: B, weight: float) -> dict[str, Tensor]:
            values.append(compute_values(micro_batch))
            return {}

        with torch.no_grad():
            self._accumulate(batch, append, values.clear)
        local_values = torch.cat(values)
        if self.dist_ctx.world_size == 1:
            return local_values
        all_values = local_values.new_zeros(self.batch_size, *local_values.shape[1:])
        self.local_rows(all_values).copy_(local_values)
        self.dist_ctx.all_reduce_sum_([all_values])
        return all_values

    def _accumulate(
        self,
        batch: B,
        backward: Backward[B],
        reset: Callable[[], None] = lambda: None,
        on_split: Callable[[], None] | None = None,
    ) -> dict[str, Tensor]:
        """Run `backward` on all micro-batches; return the weighted sums of its metrics.

        If memory runs out, start again with smaller micro-batches, down to `group_size` rows each.
        """
        max_micro_batches = max(1, len(batch) // self.group_size)
        reset()
        while True:
            is_split = self.dist_ctx.world_size > 1 or min(self.num_micro_batches, max_micro_batches) > 1
            if is_split and on_split is not None:
                on_split()
                on_split = None
            try:
                sums = self._sum_over_micro_batches(batch, backward)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.num_micro_batches >= max_micro_batches:
                    raise
            else:
                self._warn_if_more_micro_batches(len(batch))
                return sums
            # Out of memory: double the number of micro-batches and retry. This is done outside of the `except` block,
            # because in it the exception's frames still hold the tensors that did not fit.
            self.num_micro_batches = min(2 * self.num_micro_batches, max_micro_batches)
            reset()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _sum_over_micro_batches(self, batch: B, backward: Backward[B]) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for micro_batch in self._micro_batches(batch):
            weight = len(micro_batch) / self.global_batch_size(len(batch))
            for name, value in backward(micro_batch, weight).items():
                sums[name] = sums[name] + value * weight if name in sums else value * weight
        return sums

    def _micro_batches(self, batch: B) -> Iterator[B]:
        if self.num_micro_batches == 1:
            yield batch
            return
        for rows in split_rows(len(batch), self.num_micro_batches, self.group_size):
            yield batch[rows]

    def _warn_if_more_micro_batches(self, num_rows: int) -> None:
        if self.num_micro_batches > self._warned_num_micro_batches:
            self._warned_num_micro_batches = self.num_micro_batches
            self.emit(
                WarningMessage(
                    f"out of memory with {num_rows} images at once: every batch is now split into"
                    f" {self.num_micro_batches} micro-batches, which gives the same steps, but slower"
                )
            )


def evenly_spaced_mask(fraction: float, count: int) -> Tensor:
    """Return a mask that is true for a fraction of the rows, also within every micro-batch and rank.

    Args:
        fraction: in 0..1.
        count: number of rows.

    Returns:
        bool [count], on the CPU.
    """
    # In double precision, the small number makes up for rounding: 41 * (1 / 41) counts as 1.
    counts_before = (torch.arange(count + 1, dtype=torch.float64) * fraction + 1e-9).floor()
    return counts_before[1:] > counts_before[:-1]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a device ran out of memory (MPS has no exception class of its own for it).

    Args:
        error: any exception.

    Returns:
        whether it says so.
    """
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "MPS backend out of memory" in str(error)
    )


def clip_grad_norm_(gradients: list[Tensor], max_norm: float) -> None:
    """Scale finite gradients in place so that their total norm has a maximum.

    Args:
        gradients: of any shapes, on one device.
        max_norm: largest norm.
    """
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, max_norm / norm.clamp_min(max_norm))


def are_all_finite(tensors: list[Tensor]) -> bool:
    """Return whether all values of float tensors are finite (a norm that overflows counts as infinite).

    Args:
        tensors: float, of any shapes, on one device.

    Returns:
        whether they are.
    """
    return bool(torch.stack(torch._foreach_norm(tensors)).sum().isfinite())
