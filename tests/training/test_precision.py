"""Which precision a run computes in."""

import itertools

import pytest
import torch

from vaegan.training import precision as precision_module


@pytest.mark.parametrize(("ratio", "faster"), [(1.4, True), (1.0, False), (0.6, False)])
@pytest.mark.parametrize("busy", [range(0), range(6), range(3, 9), range(6, 12), range(1, 12, 3)])
def test_a_busy_moment_decides_nothing(monkeypatch, ratio, faster, busy):
    """Each pass takes three times as long while other programs run."""
    calls = itertools.count()

    def seconds(layer, pictures, precision):
        return (0.005 if precision == "fp32" else 0.005 / ratio) * (3 if next(calls) in busy else 1)

    monkeypatch.setattr(precision_module, "_time_forward_backward", seconds)
    assert precision_module.is_bf16_faster() is faster
    assert next(calls) == 2 * precision_module.TIMING_REPEATS


def test_the_passes_are_timed():
    layer, pictures = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    assert all(precision_module._time_forward_backward(layer, pictures, name) > 0 for name in ("fp32", "bf16"))
