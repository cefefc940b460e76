"""Where training computes, and in what precision."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaegan.models.layers import ConvTrunk
from vaegan.utils.device import choose_device

MIN_BF16_SPEEDUP, TIMING_REPEATS = 1.1, 6


@dataclass(frozen=True)
class DeviceContext:
    """A device and the precision used on it ("bf16" autocast or "fp32")."""

    device: torch.device
    precision: str

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Context in which convolutions run in bfloat16, or an empty one for fp32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a model there, in channels_last: faster convolutions on CPUs and tensor cores alike."""
        moved: nn.Module = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved


def has_bf16(device: torch.device) -> bool:
    """Say whether bfloat16 convolutions are native there (AVX512-BF16 or AMX on a CPU, Ampere on a GPU)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def is_bf16_faster() -> bool:
    """Time the discriminator's body forwards and backwards in both precisions on this CPU (about 0.2 s).

    Having the instructions is not enough: without AMX, bfloat16 was measured 1.7 times slower than float32 on one
    processor that has AVX512-BF16, and 1.5 times faster on another. There a single small layer, which stays in the
    caches, gained between 5 and 40 %, by the hour. The two take turns, so that a moment in which the machine is busy
    meets both.
    """
    trunk = ConvTrunk(3, 64, 32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    turns = [
        (_time_forward_backward(trunk, pictures, "fp32"), _time_forward_backward(trunk, pictures, "bf16"))
        for _ in range(TIMING_REPEATS)
    ]
    return min(bf16 for _, bf16 in turns) * MIN_BF16_SPEEDUP < min(fp32 for fp32, _ in turns)


def _time_forward_backward(layer: nn.Module, images: torch.Tensor, precision: str) -> float:
    began = time.perf_counter()
    with DeviceContext(torch.device("cpu"), precision).autocast():
        layer(images).float().sum().backward()
    return time.perf_counter() - began


def choose_device_context(device_name: str, precision: str) -> DeviceContext:
    """Resolve --device and --precision; auto takes bfloat16 where it is native and, on a CPU, clearly faster."""
    chosen = choose_device(device_name)
    if precision == "auto":
        native = has_bf16(chosen)
        precision = "bf16" if native and (chosen.type != "cpu" or is_bf16_faster()) else "fp32"
    if chosen.type == "cuda":
        configure_cuda(precision)
    return DeviceContext(chosen, precision)


def configure_cuda(precision: str) -> None:
    """Let cuDNN try its algorithms, as every step has the same shapes; TF32 for what bf16 leaves in float32."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high" if precision == "bf16" else "highest")


def describe_machine(device_ctx: DeviceContext) -> dict[str, str | int]:
    """What a run is trained on, for people to read: system, processor, cores and device."""
    device = device_ctx.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": os.cpu_count() or 1,
        "device": name,
    }


def _processor_name() -> str:
    """Name of the processor, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
