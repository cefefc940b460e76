"""Where a set's pictures are kept during training: on the GPU, in memory, or on disk until a batch needs them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch
from torch import Tensor

from vaegan.data.dataset import PreparedSet
from vaegan.data.memmap import Pictures, some_of
from vaegan.errors import VaeganError
from vaegan.training.setup import Job

SHARE = 0.4
"""Of the machine's memory: sets that would take more stay on disk."""
SHARE_OF_GPU = 0.5
HELD_OUT = 2048
"""Nothing beside the steps looks at more held-out pictures."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_of_machine() -> int:
    """Bytes of memory that this process may count on, or 0 where the system does not tell."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in LIMITS:  # of a container; "max" where there is none
        with contextlib.suppress(OSError, ValueError):
            found.append(int(path.read_text()))
    return min((size for size in found if size > 0), default=0)


def stays_on_disk(cache: str, data: PreparedSet) -> bool:
    """Say whether --cache means mapped for this set; where the memory's size is unknown, auto takes the memory."""
    if cache != "auto":
        return cache == "mapped"
    size = sum(data.counts[split] for split in ("train", "held-out")) * data.channels * data.size**2
    return 0 < memory_of_machine() * SHARE < size


def read_pictures(job: Job) -> tuple[Pictures, Tensor]:
    """Training pictures, uint8 [N, C, S, S], and held-out ones on the device, a few thousand of them at most.

    Raises VaeganError where there is nothing to train on.
    """
    device, train, held_out = job.place.device, *job.data.mapped()
    if not len(train):
        raise VaeganError(f"{job.data.path} holds no pictures to train on: prepare it with a smaller --held-out")
    few = some_of(held_out, HELD_OUT).to(device)
    if stays_on_disk(job.settings.cache, job.data):
        return train, few
    kept = train[:]
    if device.type == "cuda" and kept.numel() < torch.cuda.mem_get_info(device)[0] * SHARE_OF_GPU:
        kept = kept.to(device)
    return kept, few
