"""Worker process: builds a workload, warms it up, and measures it for every line on stdin.

python -m benchmarks.speed.worker NAME OPTIONS

NAME is plain.X or ours.X, a function that takes OPTIONS (JSON) and returns the workload: another function, which does
one unit of work and returns the number of images it processed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Workload = Callable[[], int]


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(workload: Workload, seconds: float) -> dict[str, float]:
    """Run the workload for at least `seconds`; return the fields of a Timing."""
    cpu_start, start_time, num_images = os.times(), time.perf_counter(), 0
    while not num_images or time.perf_counter() - start_time < seconds:
        num_images += workload()
    elapsed, cpu_end = time.perf_counter() - start_time, os.times()
    cpu_seconds = cpu_end.user + cpu_end.system - cpu_start.user - cpu_start.system
    return {"num_images": num_images, "seconds": elapsed, "cpu_seconds": cpu_seconds, "peak_memory": peak_memory()}


def count_flops(workload: Workload) -> float:
    """Return the floating-point operations of convolutions and matrix products per image.

    Uses the formulas of torch's FlopCounterMode, which itself does not support second derivatives.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            formula = flop_registry.get(function._overloadpacket)
            if formula is not None:
                self.total += formula(*args, **(kwargs or {}), out_val=result)
            return result

    with Counter() as counter:
        num_images = workload()
    return counter.total / num_images


def main() -> None:
    module, _, name = sys.argv[1].partition(".")
    workload: Workload = getattr(importlib.import_module(f"benchmarks.speed.{module}"), name)(**json.loads(sys.argv[2]))
    workload()
    for line in sys.stdin:
        request, *arguments = line.split()
        reply = count_flops(workload) if request == "flops" else measure(workload, float(arguments[0]))
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
