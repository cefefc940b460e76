"""How --precision auto is decided on a CPU."""

import itertools

import pytest
import torch

from vaegan.training import precision as precision_module


@pytest.mark.parametrize(("speedup", "is_faster"), [(1.4, True), (1.0, False), (0.6, False)])
@pytest.mark.parametrize("busy", [range(0), range(6), range(3, 9), range(6, 12), range(1, 12, 3)])
def test_a_busy_machine_does_not_change_the_decision(monkeypatch, speedup, is_faster, busy):
    """Timings in `busy` take three times as long."""
    calls = itertools.count()

    def time_forward_backward(layer, images, precision):
        return (0.005 if precision == "fp32" else 0.005 / speedup) * (3 if next(calls) in busy else 1)

    monkeypatch.setattr(precision_module, "_time_forward_backward", time_forward_backward)
    assert precision_module.is_bf16_faster() is is_faster
    assert next(calls) == 2 * precision_module.TIMING_REPEATS


def test_both_precisions_are_timed():
    layer, images = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    assert all(precision_module._time_forward_backward(layer, images, name) > 0 for name in ("fp32", "bf16"))
