"""The Laplacian pyramid and the sliced Wasserstein distance of its patches."""

import math

import pytest
import torch

from vaegan.metrics.sliced_wasserstein import NUM_LEVELS, sliced_wasserstein_distance, swd_per_level
from vaegan.utils.laplacian import laplacian_pyramid, upsample_smooth


def pictures(n=64, seed=0, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_levels_add_up_to_the_picture():
    original = pictures(2)
    fine, middle, coarse = laplacian_pyramid(original, NUM_LEVELS)
    assert [level.shape[-1] for level in (fine, middle, coarse)] == [32, 16, 8]
    torch.testing.assert_close(fine + upsample_smooth(middle + upsample_smooth(coarse)), original)


def test_a_flat_picture_has_no_details():
    fine, middle, coarse = laplacian_pyramid(torch.full((1, 3, 32, 32), 0.5), NUM_LEVELS)
    assert fine.abs().max() < 1e-6 and middle.abs().max() < 1e-6
    torch.testing.assert_close(coarse, torch.full((1, 3, 8, 8), 0.5))


def test_moved_points_are_as_far_as_the_mean_of_a_turned_unit_vector():
    """Points moved by v: every direction u sees |u.v|, in 3 dimensions |v| / 2 on average."""
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    moved = points + torch.tensor([0.0, 3.0, 4.0])
    assert sliced_wasserstein_distance(points, moved, num_projections=20_000) == pytest.approx(2.5, rel=0.02)


def test_one_dimension_is_the_distance_of_sorted_points():
    a, b = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[5.0], [2.0], [1.0]])
    assert sliced_wasserstein_distance(a, b, num_projections=4) == pytest.approx((1 + 1 + 2) / 3)
    with pytest.raises(ValueError, match="expected"):
        sliced_wasserstein_distance(a, b[:2])


def distances(real, fake):
    return swd_per_level(real, fake, num_patches=4096, num_projections=64)


def test_each_level_sees_its_own_fault():
    real, again = pictures(seed=0), pictures(seed=1)
    floor = distances(real, again)
    weave = again + 0.4 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1)
    assert distances(real, weave)[0].swd > 3 * floor[0].swd
    assert distances(real, weave)[2].swd < 2 * floor[2].swd


def test_the_normalisation_hides_contrast_and_colour_which_are_told_apart():
    real, again = pictures(seed=0), pictures(seed=1)
    floor, faded = distances(real, again), distances(real, again * 0.7)
    assert faded[0].swd < 1.2 * floor[0].swd
    assert faded[0].std_shift > 5 * floor[0].std_shift
    tinted = distances(real, again + torch.tensor([0.2, 0, 0])[:, None, None])
    assert tinted[2].mean_shift == pytest.approx(200, abs=20)
    assert math.isclose(tinted[0].swd, floor[0].swd, rel_tol=0.05)
