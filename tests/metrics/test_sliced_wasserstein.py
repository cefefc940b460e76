"""The Laplacian pyramid and the sliced Wasserstein distance of its patches."""

import math

import pytest
import torch

from vaegan.metrics.sliced_wasserstein import NUM_LEVELS, sliced_wasserstein_distance, swd_per_level
from vaegan.utils.laplacian import laplacian_pyramid, upsample_smooth


def make_images(n=64, seed=0, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_levels_add_up_to_the_images():
    images = make_images(2)
    fine, middle, coarse = laplacian_pyramid(images, NUM_LEVELS)
    assert [level.shape[-1] for level in (fine, middle, coarse)] == [32, 16, 8]
    torch.testing.assert_close(fine + upsample_smooth(middle + upsample_smooth(coarse)), images)


def test_constant_image_has_no_details():
    fine, middle, coarse = laplacian_pyramid(torch.full((1, 3, 32, 32), 0.5), NUM_LEVELS)
    assert fine.abs().max() < 1e-6 and middle.abs().max() < 1e-6
    torch.testing.assert_close(coarse, torch.full((1, 3, 8, 8), 0.5))


def test_distance_of_shifted_points_is_the_mean_projection_of_the_shift():
    """For a shift v and random unit vectors u, the mean of |u.v| in 3 dimensions is |v| / 2."""
    points = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    shifted = points + torch.tensor([0.0, 3.0, 4.0])
    assert sliced_wasserstein_distance(points, shifted, num_projections=20_000) == pytest.approx(2.5, rel=0.02)


def test_one_dimensional_distance_is_that_of_sorted_points():
    a, b = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[5.0], [2.0], [1.0]])
    assert sliced_wasserstein_distance(a, b, num_projections=4) == pytest.approx((1 + 1 + 2) / 3)
    with pytest.raises(ValueError, match="expected"):
        sliced_wasserstein_distance(a, b[:2])


def distances(real, fake):
    return swd_per_level(real, fake, num_patches=4096, num_projections=64)


def test_fine_noise_shows_at_the_finest_level_only():
    real, again = make_images(seed=0), make_images(seed=1)
    baseline = distances(real, again)
    checkerboard = again + 0.4 * ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2 - 1)
    assert distances(real, checkerboard)[0].swd > 3 * baseline[0].swd
    assert distances(real, checkerboard)[2].swd < 2 * baseline[2].swd


def test_contrast_and_color_show_in_the_shifts_not_in_the_patches():
    real, again = make_images(seed=0), make_images(seed=1)
    baseline, low_contrast = distances(real, again), distances(real, again * 0.7)
    assert low_contrast[0].swd < 1.2 * baseline[0].swd
    assert low_contrast[0].std_shift > 5 * baseline[0].std_shift
    tinted = distances(real, again + torch.tensor([0.2, 0, 0])[:, None, None])
    assert tinted[2].mean_shift == pytest.approx(200, abs=20)
    assert math.isclose(tinted[0].swd, baseline[0].swd, rel_tol=0.05)
