"""One line that describes the machine of a benchmark."""

from __future__ import annotations

import os
import platform

import torch


def describe_machine(with_threads: bool = False) -> str:
    """Return the processor, the number of cores, torch's version, and optionally torch's number of threads."""
    parts = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores"]
    if with_threads:
        parts.append(f"{torch.get_num_threads()} threads")
    return ", ".join([*parts, f"torch {torch.__version__}"])
