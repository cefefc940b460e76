"""Where a set's pictures are kept during training: on the GPU, in memory, or on disk until a batch needs them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch
from torch import Tensor

from vaegan.data.dataset import PreparedDataset
from vaegan.data.memmap import ImageArray, strided_subset
from vaegan.errors import VaeganError
from vaegan.training.setup import TrainSetup

MAX_RAM_FRACTION = 0.4
"""Of the machine's memory: sets that would take more stay on disk."""
MAX_GPU_FRACTION = 0.5
MAX_VAL_IMAGES = 2048
"""Nothing beside the steps looks at more held-out pictures."""
CGROUP_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_limit_bytes() -> int:
    """Bytes of memory that this process may count on, or 0 where the system does not tell."""
    found = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CGROUP_LIMIT_FILES:  # of a container; "max" where there is none
        with contextlib.suppress(OSError, ValueError):
            found.append(int(path.read_text()))
    return min((size for size in found if size > 0), default=0)


def should_memory_map(cache_mode: str, dataset: PreparedDataset) -> bool:
    """Say whether --cache means mapped for this set; where the memory's size is unknown, auto takes the memory."""
    if cache_mode != "auto":
        return cache_mode == "mmap"
    size = sum(dataset.counts[split] for split in ("train", "val")) * dataset.channels * dataset.size**2
    return 0 < memory_limit_bytes() * MAX_RAM_FRACTION < size


def load_train_val_images(setup: TrainSetup) -> tuple[ImageArray, Tensor]:
    """Training pictures, uint8 [N, C, S, S], and held-out ones on the device, a few thousand of them at most.

    Raises VaeganError where there is nothing to train on.
    """
    device, train, held_out = setup.device_ctx.device, *setup.dataset.open_memmap()
    if not len(train):
        raise VaeganError(
            f"{setup.dataset.path} holds no pictures to train on: prepare it with a smaller --val-fraction"
        )
    few = strided_subset(held_out, MAX_VAL_IMAGES).to(device)
    if should_memory_map(setup.settings.cache, setup.dataset):
        return train, few
    kept = train[:]
    if device.type == "cuda" and kept.numel() < torch.cuda.mem_get_info(device)[0] * MAX_GPU_FRACTION:
        kept = kept.to(device)
    return kept, few
