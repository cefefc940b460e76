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

from vaegan.errors import PeerProcessFailed, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class DistributedContext:
    """The processes that train together: this one is `rank` of `size`, `local_rank` on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main_process(self) -> bool:
        """Say whether this process writes the files."""
        return self.rank == 0

    def local_slice(self, batch_size: int) -> slice:
        """Rows of a batch that are this rank's: contiguous, and as even as can be."""
        return slice(batch_size * self.rank // self.world_size, batch_size * (self.rank + 1) // self.world_size)

    def local_device_name(self, name: str) -> str:
        """Give every rank of a machine its own GPU. Raises UsageError where one GPU is named for all."""
        if self.world_size == 1 or name == "cpu":
            return name
        if name not in ("auto", "cuda"):
            raise UsageError(f"--device {name}: {self.world_size} processes need a device each; give cpu or cuda")
        return f"cuda:{self.local_rank}" if name == "cuda" or torch.cuda.is_available() else "cpu"

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype and device by their sums over all ranks, in one exchange."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _all_reduce(flat, dist.ReduceOp.SUM)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def any_rank(self, flag: bool) -> bool:
        """Say whether any rank wishes so; every rank gets the same answer."""
        return self._all_reduce_min(0 if flag else 1) == 0

    def broadcast(self, value: Any) -> Any:
        """Return the leader's value (anything that JSON can say) on every rank."""
        if self.world_size == 1:
            return value
        said = json.dumps(value).encode() if self.is_main_process else b""
        length = torch.tensor([len(said)])
        _all_reduce(length, dist.ReduceOp.SUM)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main_process:
            content.copy_(torch.frombuffer(bytearray(said), dtype=torch.uint8))
        _all_reduce(content, dist.ReduceOp.SUM)
        return json.loads(bytes(content.tolist()))

    def run_on_all_ranks(self, action: Callable[[], T]) -> T:
        """Act on every rank; where one fails, all stop: the lowest that failed says why, the others go quietly."""
        if self.world_size == 1:
            return action()
        result: T | None = None
        error: Exception | None = None
        try:
            result = action()
        except Exception as caught:
            error = caught
        failed = self._all_reduce_min(self.world_size if error is None else self.rank)
        if failed == self.rank and error is not None:
            raise error
        if failed < self.world_size:
            raise PeerProcessFailed(f"process {failed} of this training stopped")
        return result  # type: ignore[return-value]

    def run_on_main(self, action: Callable[[], object]) -> None:
        """Let the leader act while the others wait; where it fails, all stop."""
        self.run_on_all_ranks(lambda: action() if self.is_main_process else None)

    def _all_reduce_min(self, local_value: int) -> int:
        if self.world_size == 1:
            return local_value
        value = torch.tensor([local_value])
        _all_reduce(value, dist.ReduceOp.MIN)
        return int(value)


def _all_reduce(tensor: Tensor, op: Any) -> None:
    """Reduce over all ranks in place. Raises Abandoned when another rank is gone."""
    try:
        dist.all_reduce(tensor, op)
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise
        raise PeerProcessFailed(
            "another process of this training is gone: the last checkpoint is whole, run the same command again"
        ) from error


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Yield the world that torchrun's environment names (WORLD_SIZE, RANK, LOCAL_RANK), or that of one process.

    CPU tensors travel by gloo, CUDA tensors by NCCL. A process group that the caller has made is used and left alone.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        yield DistributedContext()
        return
    world = DistributedContext(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
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
