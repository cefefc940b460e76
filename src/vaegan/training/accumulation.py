"""How one step's batch is worked through: shared by ranks, in parts that fit the memory, as if it were one piece."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vaegan.events import Emit, Warned, ignore
from vaegan.training.distributed import World

Work = Callable[[slice, float], Mapping[str, Tensor]]


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether a device's memory ran out (MPS has no class of its own for it)."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "MPS backend out of memory" in str(error)
    )


class Shares:
    """Rows of this rank, taken in `parts` micro-batches.

    Every loss is a mean over the batch's pictures, so a part's loss, weighted by its share of the whole batch, adds
    its gradient to the others', over micro-batches and over ranks. What a step draws at random is drawn for the whole
    batch and cut, so it does not depend on either. `together` neighbouring rows of a rank are never put asunder, for
    losses that see them beside each other.
    """

    def __init__(self, world: World | None = None, batch_size: int = 0, emit: Emit = ignore) -> None:
        """Share batches of `batch_size` pictures among the ranks of `world`; one process takes batches of any size."""
        self.world = world or World()
        self.batch_size = batch_size
        self.emit = emit
        self.parts = self._told = self.together = 1

    def whole(self, count: int) -> int:
        """Size of the whole batch of which this rank holds `count` pictures."""
        return count if self.world.size == 1 else self.batch_size

    def cut(self, drawn: Tensor) -> Tensor:
        """This rank's rows of what was drawn for the whole batch [B, ...]."""
        return drawn[self.world.rows(len(drawn))]

    def accumulate(self, count: int, work: Work, restart: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
        """Call work(rows, share) on this rank's `count` rows, part by part; returns sums of its scalars times share.

        work: leaves gradients behind, of its rows' mean loss times share. Where memory runs out, `restart` clears what
        was accumulated and the parts are halved, down to `together` pictures; the error is raised where that does not
        help.
        """
        while True:
            restart()
            try:
                sums = self._once(count, work)
                self._tell(count)
                return sums
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.parts >= self._units(count):
                    raise
            # outside of the handler: the error's frames hold the tensors that did not fit
            self.parts = min(2 * self.parts, self._units(count))
            restart()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _units(self, count: int) -> int:
        """How many parts `count` rows can be worked through in: what is left over stays with the last."""
        return max(1, count // self.together)

    def _tell(self, count: int) -> None:
        """Say, once it works, that the parts became smaller."""
        if self.parts > self._told:
            self._told = self.parts
            self.emit(
                Warned(
                    f"{count} pictures at once do not fit the memory: every batch is now worked through in"
                    f" {self.parts} parts, which gives the same steps, slower"
                )
            )

    def _once(self, count: int, work: Work) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        units = self._units(count)
        parts = min(self.parts, units)
        edges = [self.together * (units * part // parts) for part in range(parts)]
        for begin, end in itertools.pairwise([*edges, count]):
            rows = slice(begin, end)
            share = (rows.stop - rows.start) / self.whole(count)
            for name, value in work(rows, share).items():
                value = value * share
                sums[name] = sums[name] + value if name in sums else value
        return sums

    def mean(self, count: int, of: Callable[[slice], Tensor]) -> Tensor:
        """Return the mean over the whole batch of what `of(rows)`, float [rows, ...], says of pictures; no gradient."""
        with torch.no_grad():
            mean = self.accumulate(count, lambda rows, share: {"mean": of(rows).mean(0)})["mean"]
        self.world.sum([mean])
        return mean

    def update(self, optimizer: torch.optim.Optimizer, count: int, work: Work, clip: float = 0.0) -> dict[str, Tensor]:
        """Take one optimizer step on the whole batch; returns the batch's scalars.

        clip: largest norm of the whole gradient (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1); 0 for none.

        Where a gradient or a scalar is not finite, nothing moves and the result is empty, on every rank alike.
        """
        sums = self.accumulate(count, work, lambda: optimizer.zero_grad(set_to_none=True))
        names = sorted(sums)
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        numbers = [*gradients, *(sums[name] for name in names)]
        self.world.sum(numbers)
        if not all_finite(numbers):
            return {}
        if clip:
            shorten(gradients, clip)
        optimizer.step()
        return sums


def shorten(gradients: list[Tensor], norm: float) -> None:
    """Scale finite gradients, together, to the length `norm` where they are longer."""
    length = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, norm / length.clamp_min(norm))


def all_finite(tensors: list[Tensor]) -> bool:
    """Say whether every number of float tensors is finite (a norm that overflows counts as infinite)."""
    return bool(torch.stack(torch._foreach_norm(tensors)).sum().isfinite())
