"""Where things are computed."""

import ctypes

import pytest

from vaegan.errors import UsageError
from vaegan.utils.device import choose_device, tune_malloc


@pytest.mark.parametrize("most", [2**40, 2**25, 0])
def test_the_c_library_is_asked_to_keep_as_much_as_it_takes(monkeypatch, most):
    taken = {}

    class Library:
        def mallopt(self, option, value):
            if value > most:
                return 0
            taken[option] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    choose_device("cpu")
    sizes = {2**40: 2**31 - 1, 2**25: 2**25, 0: None}
    assert taken == ({-1: sizes[most], -3: sizes[most]} if most else {})  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD


@pytest.mark.parametrize("missing", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_as_they_are(monkeypatch, missing):
    def refuse(name):
        raise missing

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    tune_malloc()
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:x", ""])
def test_a_device_that_does_not_exist(name):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda"):
        choose_device(name)
