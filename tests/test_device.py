"""Where training computes."""

import ctypes
import subprocess
import sys

import pytest

from vaegan.device import choose_device, keep_freed_memory
from vaegan.errors import UsageError

FAULTS = """
import resource, torch
from vaegan.device import choose_device
if {keep}: choose_device("cpu")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(4_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_large_tensors_do_not_cost_page_faults_again_and_again():
    def faults(keep):
        command = [sys.executable, "-c", FAULTS.format(keep=keep)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults(True) < faults(False) / 2


@pytest.mark.parametrize("missing", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_as_they_are(monkeypatch, missing):
    def refuse(name):
        raise missing

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory()
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:x", ""])
def test_a_device_that_does_not_exist(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda"):
        choose_device(name)
