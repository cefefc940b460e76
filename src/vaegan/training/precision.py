"""Device and numeric precision of training."""

from __future__ import annotations

import contextlib
import copy
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vaegan.models.layers import ConvTrunk
from vaegan.utils.device import choose_device

MIN_BF16_SPEEDUP, TIMING_REPEATS = 1.1, 6

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class DeviceContext:
    """A device and the precision on it: "bf16" (autocast) or "fp32"."""

    device: torch.device
    precision: str

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which convolutions and matrix products run in bfloat16; empty for fp32.

        Returns:
            the context.
        """
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def with_cast_weights(self, model: M) -> M:
        """Return a network that is not trained, for `autocast`, which casts weights at each use otherwise.

        Args:
            model: its weights stay as they are from now on.

        Returns:
            a copy with the same output whose layers have bfloat16 weights; for fp32 the model itself.
        """
        if self.precision != "bf16":
            return model
        model = copy.deepcopy(model)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.bfloat16()
        return model

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, in channels_last layout, which makes convolutions faster.

        Args:
            model: any model.

        Returns:
            the same model.
        """
        prepared: nn.Module = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return prepared


def has_bf16(device: torch.device) -> bool:
    """Return whether a device has bfloat16 instructions (CPUs with AVX512-BF16 or AMX, GPUs since Ampere).

    Args:
        device: the device.

    Returns:
        whether it has.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private to torch, so they may be missing
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def is_bf16_faster() -> bool:
    """Return whether a convolutional network trains faster in bfloat16 on this CPU, by timing it.

    That does not follow from its bfloat16 instructions. Both precisions are timed in turn, so that other programs slow
    down both, and the best times are compared. A single small layer would stay in the CPU's caches, and mislead.

    Returns:
        whether it does.
    """
    trunk = ConvTrunk(3, 64, 32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    seconds = [
        (_time_forward_backward(trunk, images, "fp32"), _time_forward_backward(trunk, images, "bf16"))
        for _ in range(TIMING_REPEATS)
    ]
    return min(bf16 for _, bf16 in seconds) * MIN_BF16_SPEEDUP < min(fp32 for fp32, _ in seconds)


def _time_forward_backward(layer: nn.Module, images: torch.Tensor, precision: str) -> float:
    start_time = time.perf_counter()
    with DeviceContext(torch.device("cpu"), precision).autocast():
        layer(images).float().sum().backward()
    return time.perf_counter() - start_time


def choose_device_context(device_name: str, precision: str) -> DeviceContext:
    """Resolve --device and --precision.

    Args:
        device_name: value of --device.
        precision: "fp32", "bf16" or "auto", which is bf16 where that is supported and faster.

    Returns:
        device and precision.

    Raises:
        UsageError: if this machine has no such device.
    """
    device = choose_device(device_name)
    if precision == "auto":
        precision = "bf16" if has_bf16(device) and (device.type != "cpu" or is_bf16_faster()) else "fp32"
    if device.type == "cuda":
        configure_cuda(precision)
    return DeviceContext(device, precision)


def configure_cuda(precision: str) -> None:
    """Let cuDNN benchmark its algorithms, as shapes do not change; with bf16, allow TF32 elsewhere.

    Args:
        precision: "fp32" or "bf16".
    """
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high" if precision == "bf16" else "highest")


def describe_machine(device_ctx: DeviceContext) -> dict[str, str | int]:
    """Return the system, processor, number of cores and device, for display.

    Args:
        device_ctx: device and precision.

    Returns:
        texts and numbers by name.
    """
    device = device_ctx.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": os.cpu_count() or 1,
        "device": name,
    }


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
