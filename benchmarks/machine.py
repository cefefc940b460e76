"""What a benchmark's numbers were measured on, in a line."""

from __future__ import annotations

import os
import platform

import torch


def machine(*more: str) -> str:
    """Processor, cores, `more` and the version of torch."""
    parts = (platform.processor() or platform.machine(), f"{os.cpu_count()} cores", *more, f"torch {torch.__version__}")
    return ", ".join(parts)


def threaded() -> str:
    """The same with the threads that torch takes."""
    return machine(f"{torch.get_num_threads()} threads")
