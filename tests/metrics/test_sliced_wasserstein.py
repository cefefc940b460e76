"""The Laplacian pyramid and the sliced Wasserstein distance of its patches."""

import math

import pytest
import torch

from vaegan.metrics.sliced_wasserstein import LEVELS, pyramid_distances, sliced_wasserstein
from vaegan.utils.laplacian import laplacian_pyramid, up


def pictures(n=64, seed=0, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_levels_add_up_to_the_picture():
    original = pictures(2)
    fine, middle, coarse = laplacian_pyramid(original, LEVELS)
    assert [level.shape[-1] for level in (fine, middle, coarse)] == [32, 16, 8]
    torch.testing.assert_close(fine + up(middle + up(coarse)), original)


def test_a_flat_picture_has_no_details():
    fine, middle, coarse = laplacian_pyramid(torch.full((1, 3, 32, 32), 0.5), LEVELS)
    assert fine.abs().max() < 1e-6 and middle.abs().max() < 1e-6
    torch.testing.assert_close(coarse, torch.full((1, 3, 8, 8), 0.5))


def test_moved_points_are_as_far_as_the_mean_of_a_turned_unit_vector():
    """Points moved by v: every direction u sees |u.v|, in 3 dimensions |v| / 2 on average."""
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    moved = points + torch.tensor([0.0, 3.0, 4.0])
    assert sliced_wasserstein(points, moved, directions=20_000) == pytest.approx(2.5, rel=0.02)


def test_one_dimension_is_the_distance_of_sorted_points():
    a, b = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[5.0], [2.0], [1.0]])
    assert sliced_wasserstein(a, b, directions=4) == pytest.approx((1 + 1 + 2) / 3)
    with pytest.raises(ValueError, match="expected"):
        sliced_wasserstein(a, b[:2])


def distances(real, fake):
    return pyramid_distances(real, fake, patches=4096, directions=64)


def test_each_level_sees_its_own_fault():
    real, again = pictures(seed=0), pictures(seed=1)
    floor = distances(real, again)
    weave = again + 0.4 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1)
    assert distances(real, weave)[0].sliced > 3 * floor[0].sliced
    assert distances(real, weave)[2].sliced < 2 * floor[2].sliced


def test_the_normalisation_hides_contrast_and_colour_which_are_told_apart():
    real, again = pictures(seed=0), pictures(seed=1)
    floor, faded = distances(real, again), distances(real, again * 0.7)
    assert faded[0].sliced < 1.2 * floor[0].sliced
    assert faded[0].deviation > 5 * floor[0].deviation
    tinted = distances(real, again + torch.tensor([0.2, 0, 0])[:, None, None])
    assert tinted[2].mean == pytest.approx(200, abs=20)
    assert math.isclose(tinted[0].sliced, floor[0].sliced, rel_tol=0.05)
