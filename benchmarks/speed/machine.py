"""Description of the machine, collected by a child process so that this process does not import torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.speed.processes import ROOT, child_environment

SCRIPT = """
import json, torch
from vaegan.training.precision import choose_device_context, describe_machine
device_ctx = choose_device_context("auto", "auto")
details = {"precision": device_ctx.precision, "torch": torch.__version__, "threads": torch.get_num_threads()}
print(json.dumps(describe_machine(device_ctx) | details))
"""


def describe_machine() -> dict[str, Any]:
    """Return the processor, cores, device, precision, versions, threads and load average."""
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=child_environment(), cwd=ROOT, check=True, capture_output=True, text=True
    )
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return json.loads(child.stdout) | {"load": load}
