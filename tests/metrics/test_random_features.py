"""Random features: the same numbers everywhere, at every batch size, for grayscale and RGB."""

import hashlib
import math
import struct

import pytest
import torch

from vaegan.metrics.random_features import (
    LEVELS,
    RANDOM_FEATURE_DIM,
    RandomFeatures,
    Whitening,
    hash_to_uniform,
    pool_factors,
)


def test_hashed_numbers_are_shake_128():
    content = hashlib.shake_128(b"vaegan features 1/fine/0/weight").digest(16)
    expected = [((integer + 0.5) / 2**31 - 1) * math.sqrt(3) for integer in struct.unpack("<4I", content)]
    assert hash_to_uniform("vaegan features 1/fine/0/weight", (2, 2)).flatten().tolist() == pytest.approx(
        expected, abs=1e-6
    )


def test_hashed_numbers_have_unit_variance():
    values = hash_to_uniform("anything", (20_000,))
    assert abs(float(values.mean())) < 0.03 and abs(float(values.var()) - 1) < 0.03


def make_image(size=64, channels=3):
    """Return an image that is easy to reproduce in any language: sines of the pixel position."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([torch.sin(x * (c + 1) / 5) * torch.cos(y / (c + 3)) for c in range(channels)])[None].float()


def test_features_are_pinned():
    """Changed features make earlier evaluations incomparable, so they need a new SEED."""
    features = RandomFeatures()(make_image())
    assert {level: tuple(values.shape) for level, values in features.items()} == dict.fromkeys(
        LEVELS, (1, RANDOM_FEATURE_DIM)
    )
    assert features["fine"][0, [0, 20, 60, 150]].tolist() == pytest.approx(PINNED["fine"], abs=2e-4)
    assert features["coarse"][0, [0, 20, 60, 150]].tolist() == pytest.approx(PINNED["coarse"], abs=2e-4)


PINNED = {"fine": [-0.91252, -0.66669, -0.91367, 0.4358], "coarse": [-1.85194, -0.94076, -2.22247, 0.60164]}


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_size_has_features(size):
    features = RandomFeatures()(make_image(size))
    assert all(values.shape == (1, RANDOM_FEATURE_DIM) and values.isfinite().all() for values in features.values())
    assert pool_factors(size)["coarse"] * 16 == max(size, 64)


def test_features_do_not_depend_on_batch_or_grayscale():
    network, images = RandomFeatures(), torch.rand(5, 1, 32, 32) * 2 - 1
    batched = network(images)["middle"]
    single = torch.cat([network(image[None].expand(1, 3, 32, 32))["middle"] for image in images])
    torch.testing.assert_close(batched, single, atol=1e-4, rtol=1e-4)


def test_whitening_shrinks_correlated_features():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(4000, 1, generator=generator)
    features = torch.cat([shared.expand(-1, 9) * 5 + 2, torch.randn(4000, 1, generator=generator)], 1)
    white = Whitening(features)(features)
    # nine equal features: the correlation matrix has eigenvalue 9, so their direction keeps 2 * 9 / (9 + 1)
    values = torch.linalg.eigvalsh(torch.cov(white.T))
    assert float(values[-1]) == pytest.approx(1.8, rel=0.02) and float(values[-2]) == pytest.approx(1.0, rel=0.02)
    assert white.mean(0).abs().max() < 1e-3
