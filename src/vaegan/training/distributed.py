"""Data-parallel training with torchrun: the only module that knows torch.distributed.

Every process (rank) holds the same networks, works on its rows of every batch, and takes the same step. Gradients are
summed explicitly, one flat buffer per update, after all backward passes of the update. DistributedDataParallel would
reduce during backward, which does not fit the double backward of a gradient penalty, micro-batches of unequal size or
a step that is skipped. What it would gain is overlapping the sum with the backward pass. Nothing is sent as a pickle.
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

from vaegan.errors import PeerProcessFailed, UsageError, VaeganError, error_text, printable
from vaegan.models.discriminator import MBSTD_GROUP_SIZE
from vaegan.training.batch_rows import split_rows

T = TypeVar("T")
DISTRIBUTED_HINT = "start several processes with torchrun, or unset WORLD_SIZE for one"


@dataclass(frozen=True)
class DistributedContext:
    """The processes that train together. This one is `rank` of `world_size`, `local_rank` on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def local_slice(self, batch_size: int) -> slice:
        """Return this rank's rows of a global batch: contiguous, and as even as possible.

        Each MBSTD_GROUP_SIZE neighboring rows stay together, if there are enough: the minibatch standard deviation is
        then that of one process.

        Args:
            batch_size: size of the global batch.

        Returns:
            the rows.
        """
        group_size = MBSTD_GROUP_SIZE if batch_size // MBSTD_GROUP_SIZE >= self.world_size else 1
        slices = split_rows(batch_size, self.world_size, group_size)
        return slices[self.rank] if self.rank < len(slices) else slice(batch_size, batch_size)

    def local_device_name(self, name: str) -> str:
        """Return the device of this rank.

        Args:
            name: value of --device.

        Returns:
            such as "cuda:1".

        Raises:
            UsageError: if one GPU is named for several ranks.
        """
        if self.world_size == 1 or name == "cpu":
            return name
        if name not in ("auto", "cuda"):
            raise UsageError(f"--device {name}: {self.world_size} processes need a device each; give cpu or cuda")
        return f"cuda:{self.local_rank}" if name == "cuda" or torch.cuda.is_available() else "cpu"

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all ranks, in one collective.

        Args:
            tensors: of one dtype and device; changed in place.
        """
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _all_reduce(flat, dist.ReduceOp.SUM)
        summed = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, summed, strict=True):
            tensor.copy_(total.view(tensor.shape))

    def any_rank(self, flag: bool) -> bool:
        """Return whether a flag is true on any rank.

        Args:
            flag: this rank's.

        Returns:
            the same on every rank.
        """
        return self._all_reduce_min(0 if flag else 1) == 0

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank.

        Args:
            value: anything with a JSON form.

        Returns:
            rank 0's value; tuples become lists.
        """
        if self.world_size == 1:
            return value
        encoded = json.dumps(value).encode() if self.is_main_process else b""
        length = torch.tensor([len(encoded)])
        _all_reduce(length, dist.ReduceOp.SUM)
        buffer = torch.zeros(int(length), dtype=torch.uint8)
        if self.is_main_process:
            buffer.copy_(torch.frombuffer(bytearray(encoded), dtype=torch.uint8))
        _all_reduce(buffer, dist.ReduceOp.SUM)
        return json.loads(bytes(buffer.tolist()))

    def run_on_all_ranks(self, action: Callable[[], T]) -> T:
        """Run an action on every rank.

        Args:
            action: what to run.

        Returns:
            this rank's result.

        Raises:
            Exception: on the lowest rank that failed, its own error.
            PeerProcessFailed: on the other ranks, if any rank failed.
        """
        if self.world_size == 1:
            return action()
        result: T | None = None
        error: Exception | None = None
        try:
            result = action()
        except Exception as caught:
            error = caught
        first_failed = self._all_reduce_min(self.world_size if error is None else self.rank)
        if first_failed == self.rank and error is not None:
            raise error
        if first_failed < self.world_size:
            raise PeerProcessFailed(f"process {first_failed} of this training stopped")
        return result  # type: ignore[return-value]

    def run_on_main(self, action: Callable[[], T]) -> T:
        """Run an action on rank 0 while the others wait.

        Args:
            action: what to run; its result must have a JSON form.

        Returns:
            rank 0's result, on every rank.

        Raises:
            Exception: as in `run_on_all_ranks`.
        """
        value = self.run_on_all_ranks(lambda: action() if self.is_main_process else None)
        return self.broadcast(value)  # type: ignore[no-any-return]

    def _all_reduce_min(self, local_value: int) -> int:
        if self.world_size == 1:
            return local_value
        value = torch.tensor([local_value])
        _all_reduce(value, dist.ReduceOp.MIN)
        return int(value)


def _all_reduce(tensor: Tensor, op: Any) -> None:
    """Reduce over all ranks in place. Raises PeerProcessFailed when another rank is gone."""
    try:
        dist.all_reduce(tensor, op)
    except RuntimeError as error:
        if "out of memory" in str(error).lower():
            raise
        raise PeerProcessFailed(
            "another process of this training is gone: the last checkpoint is valid, run the same command again"
        ) from error


def _read_environment() -> DistributedContext:
    """Return the context that the environment describes. Raises UsageError if it is not that of torchrun."""
    values = {}
    for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        text = os.environ.get(name, default).strip() or default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise UsageError(f"{name}={printable(text)} is set, expected a whole number: {DISTRIBUTED_HINT}")
        values[name] = int(text)
    world_size = max(1, values["WORLD_SIZE"])
    if world_size > 1 and dist.is_available() and not dist.is_initialized():
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if missing:
            raise UsageError(f"WORLD_SIZE={world_size} is set, but {' and '.join(missing)} not: {DISTRIBUTED_HINT}")
        if values["RANK"] >= world_size:
            raise UsageError(f"RANK={values['RANK']} is not below WORLD_SIZE={world_size}: {DISTRIBUTED_HINT}")
    return DistributedContext(values["RANK"], world_size, values["LOCAL_RANK"])


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Join the processes that torchrun has started (WORLD_SIZE, RANK and LOCAL_RANK describe them).

    CPU tensors use gloo, CUDA tensors NCCL. A process group that the caller has made is used and left alone.

    Yields:
        the context; that of a single process without torchrun.

    Raises:
        UsageError: if the environment is incomplete, such as a left-over WORLD_SIZE.
        VaeganError: if the processes do not find each other.
    """
    dist_ctx = _read_environment()
    if dist_ctx.world_size == 1 or not dist.is_available():
        yield DistributedContext()
        return
    owns_group = not dist.is_initialized()
    if owns_group:
        # Its functions have the group of the moment of import as a default. Imported later (an optimizer of torch does
        # so) they would keep it beyond its end, and its threads may then abort the process while Python shuts down.
        importlib.import_module("torch.distributed.nn.functional")
        use_nccl = torch.cuda.is_available() and dist.is_nccl_available()
        if use_nccl:
            torch.cuda.set_device(dist_ctx.local_rank % torch.cuda.device_count())
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if use_nccl else "gloo")
        except (RuntimeError, ValueError) as error:
            cause = printable(error_text(error), 200)
            raise VaeganError(
                f"the processes of WORLD_SIZE={dist_ctx.world_size} do not find each other ({cause}):"
                f" {DISTRIBUTED_HINT}"
            ) from error
    try:
        yield dist_ctx
    finally:
        if owns_group:
            dist.destroy_process_group()
