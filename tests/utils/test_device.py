"""Choice of the device, and settings of malloc."""

import ctypes

import pytest
import torch

from vaegan.errors import UsageError
from vaegan.training.train import train_vae
from vaegan.utils.device import choose_device, flush_denormals, tune_malloc


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


needs_flush = pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor keeps denormal numbers")


def count_denormals():
    return (torch.full((64,), 1e-30) * 1e-10).count_nonzero().item()


@needs_flush
def test_denormal_numbers_are_zero_within_the_context_alone():
    assert count_denormals() == 64
    with flush_denormals():
        assert count_denormals() == 0
        with flush_denormals():
            assert count_denormals() == 0
        assert count_denormals() == 0
    assert count_denormals() == 64


@needs_flush
def test_denormal_numbers_come_back_after_an_error():
    with pytest.raises(ValueError, match="stop"), flush_denormals():
        raise ValueError("stop")
    assert count_denormals() == 64


@needs_flush
def test_training_flushes_denormal_numbers_and_leaves_no_setting_behind(prepared, tmp_path):
    counts = []
    options = {"preset": "tiny", "latent_dim": 8, "batch_size": 8, "precision": "fp32", "steps": 2}
    train_vae(prepared, tmp_path / "vae", on_event=lambda event: counts.append(count_denormals()), **options)
    assert counts
    assert set(counts) == {0}
    assert count_denormals() == 64
