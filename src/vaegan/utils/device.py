"""Which device to compute on."""

from __future__ import annotations

import contextlib
import ctypes

import torch

from vaegan.errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MALLOC_THRESHOLD_BYTES = (2**31 - 1, 2**25)


def tune_malloc() -> None:
    """Let the C library keep what tensors give back, instead of fetching zeroed pages for every large one anew.

    Only glibc knows how (mallopt(3)); elsewhere nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            any(mallopt(option, size) for size in MALLOC_THRESHOLD_BYTES)  # some versions refuse more than 32 MiB


def choose_device(name: str) -> torch.device:
    """Turn auto, cpu, cuda, cuda:1 or mps into a device that is there. Raises UsageError otherwise."""
    device = _parse_device(name)
    if device.type == "cpu":
        tune_malloc()
    return device


def _parse_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, cuda:1 or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False):
        raise UsageError(f"--device {name}: this machine has none that PyTorch can use; try --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device
