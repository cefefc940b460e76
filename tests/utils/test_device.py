"""Choice of the device, and settings of malloc."""

import ctypes

import pytest
import torch

from vaegan.errors import UsageError
from vaegan.utils.device import choose_device, tune_malloc


@pytest.mark.parametrize("max_value", [2**40, 2**25, 0])
def test_malloc_gets_the_largest_threshold_that_it_accepts(monkeypatch, max_value):
    accepted = {}

    class Library:
        def mallopt(self, option, value):
            if value > max_value:
                return 0
            accepted[option] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    choose_device("cpu")
    expected = {2**40: 2**31 - 1, 2**25: 2**25, 0: None}
    assert accepted == (
        {-1: expected[max_value], -3: expected[max_value]} if max_value else {}
    )  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD


@pytest.mark.parametrize("missing", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, missing):
    def fail(name):
        raise missing

    monkeypatch.setattr(ctypes, "CDLL", fail)
    tune_malloc()
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:x", ""])
def test_a_device_that_does_not_exist_is_refused(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda"):
        choose_device(name)


def test_on_a_cpu_denormal_numbers_are_zero():
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush denormal numbers")
    tiny = torch.full((64,), 1e-30)
    assert (tiny * 1e-10).count_nonzero() == 64
    choose_device("cpu")
    assert (tiny * 1e-10).count_nonzero() == 0
