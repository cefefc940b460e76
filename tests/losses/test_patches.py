"""The distance of patches: its closed form, and which images it calls near."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.losses.patches import PATCH_SIZE, PatchFilters, match_by_rank


def filters(size=32, channels=3, position=0, seed=0, count=64):
    noise = torch.randn(count, channels, PATCH_SIZE, PATCH_SIZE, generator=torch.Generator().manual_seed(seed))
    return PatchFilters.from_noise(noise, position, size)


def distance(images, real_images, patch_filters=None):
    patch_filters = patch_filters or filters(images.shape[-1], images.shape[1])
    responses = patch_filters.responses(images)
    return (responses - match_by_rank(responses, patch_filters.responses(real_images))).abs().mean()


def faces(count=16, size=32, seed=0):
    """Flat areas with sharp edges, as drawn faces have."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.rand(count, 2, 3, 1, 1, generator=generator) * 2 - 1
    radii = (0.3 + 0.5 * torch.rand(count, 1, 1, 1, generator=generator)) * size / 2
    y, x = torch.meshgrid(*[torch.arange(size) - size / 2] * 2, indexing="ij")
    return colors[:, 0].where(x.hypot(y) < radii, colors[:, 1])


def test_responses_are_inner_products_with_the_patches_at_the_offset():
    images, patch_filters = torch.randn(2, 3, 64, 64), filters(64, position=14)
    assert patch_filters.offset == (3, 2)
    responses = patch_filters.responses(images)
    assert responses.shape == (2, 64, 15 * 15)
    patch = images[1, :, 3 + 4 * 4 :, 2 + 4 * 7 :][:, :PATCH_SIZE, :PATCH_SIZE]
    expected = (patch_filters.weights * patch).sum((1, 2, 3))
    torch.testing.assert_close(responses[1, :, 4 * 15 + 7], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (32, 4), (128, 3), (256, 3)])
def test_a_flat_image_has_no_response_and_filters_have_unit_norm(size, channels):
    patch_filters = filters(size, channels)
    flat = torch.rand(2, channels, 1, 1).expand(2, channels, size, size)
    responses = patch_filters.responses(flat)
    assert responses.abs().max() < 1e-5 and 14**2 <= responses.shape[2] <= 15**2
    torch.testing.assert_close(patch_filters.weights.flatten(1).norm(dim=1), torch.ones(64))


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 7), st.integers(0, 99))
def test_targets_are_the_real_responses_of_the_same_ranks(rows, num_filters, num_patches, seed):
    generator = torch.Generator().manual_seed(seed)
    responses, real = torch.randn(2, rows, num_filters, num_patches, generator=generator)
    targets = match_by_rank(responses, real)
    for i in range(num_filters):
        mine, its_targets = responses[:, i].flatten(), targets[:, i].flatten()
        torch.testing.assert_close(its_targets.sort().values, real[:, i].flatten().sort().values)
        assert torch.equal(mine.argsort(), its_targets.argsort())
    expected = (
        responses.transpose(0, 1).flatten(1).sort(1).values - real.transpose(0, 1).flatten(1).sort(1).values
    ).abs()
    torch.testing.assert_close((responses - targets).abs().mean(), expected.mean())


def test_the_order_of_images_does_not_matter():
    images = faces()
    assert distance(images, images) == 0 == distance(images.flip(0), images)


def test_noise_blur_and_fewer_edges_are_farther_than_other_real_images():
    images, others = faces(64, seed=0), faces(64, seed=1)
    generator = torch.Generator().manual_seed(2)
    gray_noise = torch.randn(64, 1, 32, 32, generator=generator)
    worse = {
        "noise": others + 0.03 * gray_noise,
        "chroma noise": others + 0.03 * torch.randn(64, 3, 32, 32, generator=generator),
        "blur": torch.nn.functional.avg_pool2d(others, 3, 1, 1, count_include_pad=False),
        "few edges": others.mean((2, 3), keepdim=True).where(torch.arange(64).view(-1, 1, 1, 1) % 2 == 0, others),
    }
    real = distance(others, images)
    for name, samples in worse.items():
        assert distance(samples, images) > 1.5 * real, name
    assert distance(others + 0.06 * gray_noise, images) > distance(worse["noise"], images)


def test_its_gradient_removes_noise_and_keeps_edges():
    real, clean = faces(seed=0), faces(seed=0)
    images = (clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=2e-3)
    for step in range(60):
        optimizer.zero_grad()
        distance(images, real, filters(position=step, seed=step)).backward()
        optimizer.step()
    errors = (images.detach() - clean).square().mean().sqrt()
    assert errors < 0.025
