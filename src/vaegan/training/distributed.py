"""Several processes as one, started by torchrun: the only place that knows torch.distributed.

Every process (rank) holds the same networks, works on its rows of every batch, and takes the same step. Gradients are
summed by hand, one flat buffer an update, after all backward passes of the update. The DDP wrapper would reduce during
backward, which a gradient penalty's double backward, micro-batches, uneven shares and a step that is left out all
disturb; what it would gain is hiding the sum behind the backward pass. Nothing is sent as a pickle.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from vaegan.errors import Abandoned, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes that train together: this one is `rank` of `size`, `local_rank` on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Say whether this process writes the files."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Rows of a batch that are this rank's: contiguous, and as even as can be."""
        return slice(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def device(self, name: str) -> str:
        """Give every rank of a machine its own GPU. Raises UsageError where one GPU is named for all."""
        if self.size == 1 or name == "cpu":
            return name
        if name not in ("auto", "cuda"):
            raise UsageError(f"--device {name}: {self.size} processes need a device each; give cpu or cuda")
        return f"cuda:{self.local_rank}" if name == "cuda" or torch.cuda.is_available() else "cpu"

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype and device by their sums over all ranks, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _exchange(flat, dist.ReduceOp.SUM)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def any(self, wish: bool) -> bool:
        """Say whether any rank wishes so; every rank gets the same answer."""
        return self._lowest(0 if wish else 1) == 0

    def tell(self, value: Any) -> Any:
        """Return the leader's value (anything that JSON can say) on every rank."""
        if self.size == 1:
            return value
        said = json.dumps(value).encode() if self.leads else b""
        length = torch.tensor([len(said)])
        _exchange(length, dist.ReduceOp.SUM)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.leads:
            content.copy_(torch.frombuffer(bytearray(said), dtype=torch.uint8))
        _exchange(content, dist.ReduceOp.SUM)
        return json.loads(bytes(content.tolist()))

    def together(self, action: Callable[[], T]) -> T:
        """Act on every rank; where one fails, all stop: the lowest that failed says why, the others go quietly."""
        if self.size == 1:
            return action()
        result: T | None = None
        error: Exception | None = None
        try:
            result = action()
        except Exception as caught:
            error = caught
        failed = self._lowest(self.size if error is None else self.rank)
        if failed == self.rank and error is not None:
            raise error
        if failed < self.size:
            raise Abandoned(f"process {failed} of this training stopped")
        return result  # type: ignore[return-value]

    def lead(self, action: Callable[[], object]) -> None:
        """Let the leader act while the others wait; where it fails, all stop."""
        self.together(lambda: action() if self.leads else None)

    def _lowest(self, number: int) -> int:
        if self.size == 1:
            return number
        value = torch.tensor([number])
        _exchange(value, dist.ReduceOp.MIN)
        return int(value)


def _exchange(tensor: Tensor, how: Any) -> None:
    """Reduce over all ranks in place. Raises Abandoned when another rank is gone."""
    try:
        dist.all_reduce(tensor, how)
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise
        raise Abandoned(
            "another process of this training is gone: the last checkpoint is whole, run the same command again"
        ) from error


@contextmanager
def joined() -> Iterator[World]:
    """Yield the world that torchrun's environment names (WORLD_SIZE, RANK, LOCAL_RANK), or that of one process.

    CPU tensors travel by gloo, CUDA tensors by NCCL. A process group that the caller has made is used and left alone.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        yield World()
        return
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    made = not dist.is_initialized()
    if made:
        # Its functions have the group of the moment of import as a default. Imported later (an optimizer of torch does
        # so) they would keep it beyond its end, and its threads may then abort the process while Python shuts down.
        importlib.import_module("torch.distributed.nn.functional")
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        if gpus:
            torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        yield world
    finally:
        if made:
            dist.destroy_process_group()
