import pytest
import torch

from vaegan.metrics.dimensionality import active_units, effective_rank


def test_active_units_are_axes_whose_means_differ_between_images():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(500, 4, generator=generator) * torch.tensor([1.0, 0.2, 0.05, 0.0]) + 3
    assert active_units(means) == 2  # variances 1, 0.04, 0.0025 and 0 against 0.01
    assert active_units(means, 0.001) == 3
    assert active_units(torch.ones(5, 7)) == 0


def test_effective_rank_counts_directions():
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(20, 20)).Q
    for rank in (1, 3, 20):
        rows = torch.linalg.qr(torch.randn(500, rank) - 0).Q
        rows = rows - rows.mean(0)
        assert effective_rank(rows @ axes[:rank] + 5) == pytest.approx(rank, rel=0.01)
    assert effective_rank(torch.randn(1, 20).expand(10, 20)) == 0


def test_effective_rank_counts_weak_directions_little():
    rows = torch.randn(4000, 2, dtype=torch.float64)
    ranks = [effective_rank(rows * torch.tensor([1.0, scale])) for scale in (0.01, 0.3, 1.0)]
    assert 1 < ranks[0] < 1.01 < ranks[1] < 1.5 < ranks[2] <= 2


def test_effective_rank_needs_two_rows():
    with pytest.raises(ValueError, match="1 rows: expected at least 2"):
        effective_rank(torch.ones(1, 3))
