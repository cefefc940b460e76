"""Where images are kept during training: on the GPU, in RAM, or memory-mapped from disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch
from torch import Tensor

from vaegan.data.classes import NO_CLASS, ClassIds, read_class_ids
from vaegan.data.dataset import PreparedDataset
from vaegan.data.memmap import ImageArray, MemmapImages, strided_subset
from vaegan.errors import VaeganError
from vaegan.training.setup import TrainSetup

MAX_RAM_FRACTION = 0.4
"""Larger datasets are memory-mapped by --cache auto."""
MAX_GPU_FRACTION = 0.5
MAX_VAL_IMAGES = 2048
"""No evaluation during training uses more validation images."""
CGROUP_LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def memory_limit_bytes() -> int:
    """Return the bytes of RAM that this process may use, or 0 where the system does not say.

    Returns:
        number of bytes.
    """
    limits = []
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CGROUP_LIMIT_FILES:  # of a container; "max" where there is no limit
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(path.read_text()))
    return min((limit for limit in limits if limit > 0), default=0)


def should_memory_map(cache_mode: str, dataset: PreparedDataset) -> bool:
    """Return whether a dataset is memory-mapped.

    "auto" decides by the size of the RAM, and keeps the images in RAM where that is unknown.

    Args:
        cache_mode: "auto", "memory" or "mmap".
        dataset: the dataset.

    Returns:
        whether it is.
    """
    if cache_mode != "auto":
        return cache_mode == "mmap"
    num_bytes = sum(dataset.counts[split] for split in ("train", "val")) * dataset.channels * dataset.size**2
    return 0 < memory_limit_bytes() * MAX_RAM_FRACTION < num_bytes


def open_train_val_images(setup: TrainSetup) -> tuple[MemmapImages, MemmapImages]:
    """Memory-map the images of a training; for a conditional model those that have a class.

    Args:
        setup: the setup.

    Returns:
        training and validation images.

    Raises:
        VaeganError: if the dataset or its labels cannot be read.
    """
    train_images, val_images = setup.dataset.open_memmap()
    if setup.model_config.classes:
        class_ids = read_class_ids(setup.dataset, setup.model_config.class_label, setup.model_config.classes)
        train_images = train_images.select((class_ids.train != NO_CLASS).nonzero().flatten())
        val_images = val_images.select((class_ids.val != NO_CLASS).nonzero().flatten())
    return train_images, val_images


def load_train_val_images(setup: TrainSetup) -> tuple[ImageArray, Tensor]:
    """Return the images of a training; see `open_train_val_images`.

    Args:
        setup: the setup.

    Returns:
        training images, uint8 [N, C, S, S], and at most 2,048 validation images, uint8 on the device.

    Raises:
        VaeganError: if there are no training images.
    """
    device, train_images, val_images = setup.device_ctx.device, *open_train_val_images(setup)
    if not len(train_images):
        raise VaeganError(
            f"{setup.dataset.path} holds no training images: prepare it again with a smaller --val-fraction"
        )
    val_subset = strided_subset(val_images, MAX_VAL_IMAGES).to(device)
    if should_memory_map(setup.settings.cache, setup.dataset):
        return train_images, val_subset
    cached = train_images[:]
    if device.type == "cuda" and cached.numel() < torch.cuda.mem_get_info(device)[0] * MAX_GPU_FRACTION:
        cached = cached.to(device)
    return cached, val_subset


def load_class_ids(setup: TrainSetup) -> ClassIds | None:
    """Return the classes of the images that `load_train_val_images` returns.

    Args:
        setup: the setup.

    Returns:
        numbers of the classes; None for an unconditional model.

    Raises:
        VaeganError: if the labels of the dataset cannot be read.
    """
    config = setup.model_config
    if not config.classes:
        return None
    class_ids = read_class_ids(setup.dataset, config.class_label, config.classes)
    train, val = (part[part != NO_CLASS] for part in (class_ids.train, class_ids.val))
    return ClassIds(train, strided_subset(val, MAX_VAL_IMAGES))
