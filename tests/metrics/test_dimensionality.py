import torch

from vaegan.metrics.active_units import active_units


def test_active_units_are_axes_whose_means_differ_between_pictures():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(500, 4, generator=generator) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 3
    assert active_units(means) == 2  # variances 1, 0.04, 0.0025 and 0 against 0.01
    assert active_units(means, 0.001) == 3
    assert active_units(torch.ones(5, 7)) == 0
