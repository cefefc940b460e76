"""The process of one side: builds a piece of work, warms up, and measures it when a line on stdin says so.

python -m benchmarks.speed.worker NAME OPTIONS: NAME is plain.X or ours.X, a function that takes the options and
returns another one, which does a unit of work and returns how many pictures that was.
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

Unit = Callable[[], int]


def peak_memory() -> int:
    """Most bytes that this process has had resident; 0 where the system does not tell."""
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


def measure(unit: Unit, seconds: float) -> dict[str, float]:
    """Do whole units for at least `seconds`."""
    used, began, pictures = os.times(), time.perf_counter(), 0
    while not pictures or time.perf_counter() - began < seconds:
        pictures += unit()
    spent, now = time.perf_counter() - began, os.times()
    cpu = now.user + now.system - used.user - used.system
    return {"pictures": pictures, "seconds": spent, "cpu": cpu, "memory": peak_memory()}


def operations(unit: Unit) -> float:
    """Floating-point operations of convolutions and matrix products for each picture.

    By the formulas of torch's FlopCounterMode, which itself cannot look into a gradient of a gradient.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = function(*args, **(kwargs or {}))
            formula = flop_registry.get(function._overloadpacket)
            if formula is not None:
                self.total += formula(*args, **(kwargs or {}), out_val=found)
            return found

    with Counter() as counter:
        pictures = unit()
    return counter.total / pictures


def main() -> None:
    module, _, name = sys.argv[1].partition(".")
    unit: Unit = getattr(importlib.import_module(f"benchmarks.speed.{module}"), name)(**json.loads(sys.argv[2]))
    unit()
    for line in sys.stdin:
        what, *rest = line.split()
        answer = operations(unit) if what == "operations" else measure(unit, float(rest[0]))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
