"""One side of a pair, always in a process of its own: a worker that takes turns, or a whole command.

Memory settings and thread counts hold for a whole process, so that neither side may run in another's. This module
imports no torch: a child's peak memory is never told as less than that of the process that started it.
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
MEMORY_LIMIT = "VAEGAN_BENCHMARK_MEMORY_LIMIT"


@dataclass(frozen=True)
class Taken:
    """One turn: how many pictures, in how many seconds of the clock and of the processors; peak memory in bytes."""

    pictures: float
    seconds: float
    cpu: float
    memory: int

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return self.pictures / self.seconds


def environment() -> dict[str, str]:
    """What children get: this machine's, and a path on which they find both packages."""
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


class Worker:
    """A process that has built what it measures, and measures when told."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        """Start benchmarks.speed.worker with the piece `name` of it; it builds and warms up meanwhile."""
        command = [sys.executable, "-m", "benchmarks.speed.worker", name, json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), cwd=ROOT, text=True
        )

    def ask(self, question: str) -> Any:
        """Send a line and return the answer. Raises RuntimeError when the process has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(answer)

    def turn(self, seconds: float) -> Taken:
        """Measure for about so long."""
        return Taken(**self.ask(f"go {seconds}"))

    def close(self) -> None:
        """Let it end."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def run_command(arguments: list[str], pictures: float) -> Taken:
    """Run `python -m ...` to its end, with what all its processes used. Raises RuntimeError when it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, env=environment(), cwd=ROOT
    )
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        unit = 1 if sys.platform == "darwin" else 1024
        cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit
    else:  # Windows tells neither
        process.wait()
        cpu, memory = 0.0, 0
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    return Taken(pictures, time.perf_counter() - began, cpu, memory)
