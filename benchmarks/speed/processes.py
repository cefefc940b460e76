"""Processes to measure: a worker that is timed several times, or a command from start to end.

Memory settings and thread counts apply to a whole process, so each side of a comparison gets its own. This module must
not import torch: the reported peak memory of a child is at least the memory of the process that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Timing:
    """One measurement: images processed, wall-clock seconds, CPU seconds, and peak memory in bytes."""

    num_images: float
    seconds: float
    cpu_seconds: float
    peak_memory: int

    @property
    def images_per_second(self) -> float:
        return self.num_images / self.seconds


def child_environment() -> dict[str, str]:
    """Return the environment variables of a child process, which can import `vaegan` and `benchmarks`."""
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


class Worker:
    """A process that builds one workload and measures it on request."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "benchmarks.speed.worker", name, json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(), cwd=ROOT, text=True
        )

    def request(self, line: str) -> Any:
        """Send a line and return the reply. Raises RuntimeError if the process has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if not reply:
            raise RuntimeError(f"{self.process.args} exited with status {self.process.wait()}")
        return json.loads(reply)

    def measure(self, seconds: float) -> Timing:
        """Measure for at least `seconds`."""
        return Timing(**self.request(f"measure {seconds}"))

    def close(self) -> None:
        """Close the worker's stdin, which ends it, and wait for it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def time_command(arguments: list[str], num_images: float) -> Timing:
    """Run `python -m ...` to its end and measure it with its children. Raises RuntimeError if it fails."""
    start_time = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, env=child_environment(), cwd=ROOT
    )
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        cpu_seconds, peak_memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit
    else:  # Windows reports neither
        process.wait()
        cpu_seconds, peak_memory = 0.0, 0
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} exited with status {process.returncode}")
    return Timing(num_images, time.perf_counter() - start_time, cpu_seconds, peak_memory)
