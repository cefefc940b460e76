"""Choose the device to compute on, and copy to it."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import torch

from vaegan.errors import UsageError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MALLOC_THRESHOLD_BYTES = (2**31 - 1, 2**25)  # some glibc versions refuse values above 32 MiB


def tune_malloc() -> None:
    """Make glibc's malloc keep freed memory for the next tensor instead of returning it to the system.

    Otherwise every large tensor gets new pages, which the kernel fills with zeros. See mallopt(3); other C libraries
    are left as they are.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            any(mallopt(option, size) for size in MALLOC_THRESHOLD_BYTES)  # stops at the first that is accepted


@contextlib.contextmanager
def flush_denormals() -> Iterator[None]:
    """Count denormal numbers as 0 on the CPU, and restore what was set before at the end.

    A loss that saturates has tiny gradients, and arithmetic on denormal numbers takes many times as long. Threads have
    the setting of the thread that starts them, so this belongs around the first computation. Other code, such as
    NumPy's `finfo`, warns of numbers that it cannot represent, so the setting does not stay. Processors that have no
    such setting are left as they are.

    Yields:
        nothing, while it is set.
    """
    was_flushing = sys.float_info.min / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)


def copy_to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a small tensor from the CPU to a device without waiting for the work of a GPU.

    Args:
        tensor: on the CPU; CUDA has read it when the function returns.
        device: the device.

    Returns:
        the tensor on the device; the same tensor for a CPU.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def choose_device(name: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        the device.

    Raises:
        UsageError: if this machine has none.
    """
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
    is_available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not is_available.get(device.type, False):
        raise UsageError(f"--device {name}: this machine has no {device.type} device for PyTorch; try --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    return device
