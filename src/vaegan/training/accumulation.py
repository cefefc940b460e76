"""How one step's batch is worked through: shared by ranks, in parts that fit the memory, as if it were one piece."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vaegan.events import EventHandler, WarningMessage, ignore_event
from vaegan.training.distributed import DistributedContext

LossClosure = Callable[[slice, float], Mapping[str, Tensor]]


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a device's memory ran out (MPS has no class of its own for it)."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "MPS backend out of memory" in str(error)
    )


class GradientAccumulator:
    """Rows of this rank, taken in `parts` micro-batches.

    Every loss is a mean over the batch's pictures, so a part's loss, weighted by its share of the whole batch, adds
    its gradient to the others', over micro-batches and over ranks. What a step draws at random is drawn for the whole
    batch and cut, so it does not depend on either. `together` neighbouring rows of a rank are never put asunder, for
    losses that see them beside each other.
    """

    def __init__(
        self, dist_ctx: DistributedContext | None = None, batch_size: int = 0, emit: EventHandler = ignore_event
    ) -> None:
        """Share batches of `batch_size` pictures among the ranks of `world`; one process takes batches of any size."""
        self.dist_ctx = dist_ctx or DistributedContext()
        self.batch_size = batch_size
        self.emit = emit
        self.num_micro_batches = self._warned_num_micro_batches = self.group_size = 1

    def global_batch_size(self, num_rows: int) -> int:
        """Size of the whole batch of which this rank holds `count` pictures."""
        return num_rows if self.dist_ctx.world_size == 1 else self.batch_size

    def local_rows(self, global_tensor: Tensor) -> Tensor:
        """This rank's rows of what was drawn for the whole batch [B, ...]."""
        return global_tensor[self.dist_ctx.local_slice(len(global_tensor))]

    def accumulate(
        self, num_rows: int, loss_closure: LossClosure, reset: Callable[[], None] = lambda: None
    ) -> dict[str, Tensor]:
        """Call work(rows, share) on this rank's `count` rows, part by part; returns sums of its scalars times share.

        work: leaves gradients behind, of its rows' mean loss times share. Where memory runs out, `restart` clears what
        was accumulated and the parts are halved, down to `together` pictures; the error is raised where that does not
        help.
        """
        while True:
            reset()
            try:
                sums = self._accumulate_once(num_rows, loss_closure)
                self._warn_once(num_rows)
                return sums
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.num_micro_batches >= self._max_micro_batches(num_rows):
                    raise
            # outside of the handler: the error's frames hold the tensors that did not fit
            self.num_micro_batches = min(2 * self.num_micro_batches, self._max_micro_batches(num_rows))
            reset()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _max_micro_batches(self, num_rows: int) -> int:
        """How many parts `count` rows can be worked through in: what is left over stays with the last."""
        return max(1, num_rows // self.group_size)

    def _warn_once(self, num_rows: int) -> None:
        """Say, once it works, that the parts became smaller."""
        if self.num_micro_batches > self._warned_num_micro_batches:
            self._warned_num_micro_batches = self.num_micro_batches
            self.emit(
                WarningMessage(
                    f"{num_rows} pictures at once do not fit the memory: every batch is now worked through in"
                    f" {self.num_micro_batches} parts, which gives the same steps, slower"
                )
            )

    def _accumulate_once(self, num_rows: int, loss_closure: LossClosure) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        units = self._max_micro_batches(num_rows)
        parts = min(self.num_micro_batches, units)
        edges = [self.group_size * (units * part // parts) for part in range(parts)]
        for begin, end in itertools.pairwise([*edges, num_rows]):
            rows = slice(begin, end)
            share = (rows.stop - rows.start) / self.global_batch_size(num_rows)
            for name, value in loss_closure(rows, share).items():
                value = value * share
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def global_mean(self, num_rows: int, compute_values: Callable[[slice], Tensor]) -> Tensor:
        """Return the mean over the whole batch of what `of(rows)`, float [rows, ...], says of pictures; no gradient."""
        with torch.no_grad():
            mean = self.accumulate(num_rows, lambda rows, share: {"mean": compute_values(rows).mean(0)})["mean"]
        self.dist_ctx.all_reduce_sum_([mean])
        return mean

    def optimizer_step(
        self, optimizer: torch.optim.Optimizer, num_rows: int, loss_closure: LossClosure, max_grad_norm: float = 0.0
    ) -> dict[str, Tensor]:
        """Take one optimizer step on the whole batch; returns the batch's scalars.

        clip: largest norm of the whole gradient (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1); 0 for none.

        Where a gradient or a scalar is not finite, nothing moves and the result is empty, on every rank alike.
        """
        sums = self.accumulate(num_rows, loss_closure, lambda: optimizer.zero_grad(set_to_none=True))
        names = sorted(sums)
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        numbers = [*gradients, *(sums[name] for name in names)]
        self.dist_ctx.all_reduce_sum_(numbers)
        if not are_all_finite(numbers):
            return {}
        if max_grad_norm:
            clip_grad_norm_(gradients, max_grad_norm)
        optimizer.step()
        return sums


def clip_grad_norm_(gradients: list[Tensor], max_norm: float) -> None:
    """Scale finite gradients, together, to the length `norm` where they are longer."""
    length = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, max_norm / length.clamp_min(max_norm))


def are_all_finite(tensors: list[Tensor]) -> bool:
    """Say whether every number of float tensors is finite (a norm that overflows counts as infinite)."""
    return bool(torch.stack(torch._foreach_norm(tensors)).sum().isfinite())
