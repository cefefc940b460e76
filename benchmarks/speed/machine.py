"""What the numbers were measured on, told by a child process, so that this one needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.speed.sides import ROOT, environment

QUESTION = """
import json, torch
from vaegan.training.precision import choose_place, machine_of
place = choose_place("auto", "auto")
told = {"precision": place.precision, "torch": torch.__version__, "threads": torch.get_num_threads()}
print(json.dumps(machine_of(place) | told))
"""


def describe() -> dict[str, Any]:
    """Processor, cores, device, precision, versions, threads, and how busy the machine is."""
    answer = subprocess.run(
        [sys.executable, "-c", QUESTION], env=environment(), cwd=ROOT, check=True, capture_output=True, text=True
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return json.loads(answer.stdout) | {"load": None if load is None else round(load, 1)}
