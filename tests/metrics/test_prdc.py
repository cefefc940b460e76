"""Precision, recall, density, coverage, duplicates and memorization, by hand and against known values."""

import pytest
import torch

from vaegan.metrics.prdc import (
    birthday_support_size,
    count_duplicate_pairs,
    find_memorized,
    has_near_duplicate,
    kth_neighbor_distances,
    prdc,
)
from vaegan.utils.neighbors import find_nearest


def normals(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def points(*positions):
    return torch.tensor(positions, dtype=torch.float32)[:, None]


def test_kth_neighbor_distances_by_hand():
    assert kth_neighbor_distances(points(0, 1, 3, 7), 1).tolist() == [1, 1, 2, 4]
    assert kth_neighbor_distances(points(0, 1, 3, 7), 2).tolist() == [3, 2, 3, 6]


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="more than k"):
        kth_neighbor_distances(points(0, 1), 2)


def test_prdc_by_hand():
    # k = 1: real balls 0+-1, 1+-1, 10+-9; fakes at 0.5 (in two balls), 1.5 (in two: 1 and 10's), 30 (in none)
    result = prdc(points(0, 1, 10), points(0.5, 1.5, 30), k=1)
    assert result.precision == pytest.approx(2 / 3)
    assert result.density == pytest.approx(4 / 3)
    assert result.coverage == pytest.approx(1.0)
    # fake balls: 0.5+-1, 1.5+-1, 30+-28.5: 0 and 1 and 10 are all inside
    assert result.recall == pytest.approx(1.0)
    assert prdc(points(0, 1, 10), points(20, 21, 22), k=1).coverage == 0


def test_equal_normals_have_the_expected_density_and_coverage():
    """Naeem et al.: density 1, coverage 1 - (N-1)...(N-k) / ((2N-1)...(2N-k)), whatever the dimension."""
    n, k = 3000, 5
    result = prdc(normals(n, 64, 0), normals(n, 64, 1), k)
    expected = 1.0
    for step in range(1, k + 1):
        expected *= (n - step) / (2 * n - step)
    assert result.coverage == pytest.approx(1 - expected, abs=0.02)
    assert result.density == pytest.approx(1.0, abs=0.15)  # hubs of 64 dimensions make it vary


@pytest.mark.slow
def test_prdc_of_published_normals():
    """The authors of density and coverage print these for 10,000 against 10,000 normals in 1,000 dimensions, k = 5."""
    result = prdc(normals(10_000, 1000, 0), normals(10_000, 1000, 1), 5)
    assert result.precision == pytest.approx(0.4772, abs=0.03)
    assert result.recall == pytest.approx(0.4705, abs=0.03)
    assert result.density == pytest.approx(1.0555, abs=0.06)
    assert result.coverage == pytest.approx(0.9735, abs=0.01)


def test_torch_fidelity_agrees_on_precision_and_recall():
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = normals(400, 16, 0), normals(400, 16, 1) * 1.2 + 0.4
    theirs = prc_features_to_metric(real, fake, prc_neighborhood=3, prc_batch_size=100, verbose=False)
    result = prdc(real, fake, 3)
    assert {round(result.precision, 4), round(result.recall, 4)} == {
        round(float(theirs["precision"]), 4),
        round(float(theirs["recall"]), 4),
    }


def test_find_nearest_equals_brute_force():
    queries, keys = normals(300, 5, 0), normals(2000, 5, 1)
    distances, rows = find_nearest(queries, keys)
    pairwise = (queries[:, None] - keys).norm(dim=2)
    assert torch.equal(rows, pairwise.argmin(1))
    torch.testing.assert_close(distances, pairwise.min(1).values, atol=1e-3, rtol=1e-3)


def test_find_memorized_finds_copies_and_mirrored_copies_only():
    train, mirrored = normals(300, 6, 0), normals(300, 6, 1)
    copies, rows = find_memorized(train[:50] + 1e-4, train, mirrored)
    assert copies.all() and torch.equal(rows, torch.arange(50))
    mirrored_copies, rows = find_memorized(mirrored[:50] + 1e-4, train, mirrored)
    assert mirrored_copies.all() and torch.equal(rows, torch.arange(50) + 300)
    new, _ = find_memorized(normals(300, 6, 2), train, mirrored)
    assert 0 < float(new.float().mean()) < 0.7
    far, _ = find_memorized(normals(50, 6, 3) + 100, train, mirrored)
    assert not far.any()


def test_an_image_is_not_its_own_neighbor_nor_is_its_mirror_image():
    """A symmetric face equals its mirror image, which must not make the distance to its neighbors 0."""
    train = points(0, 10)
    is_memorized, _ = find_memorized(points(0.1), train, train.clone())
    assert is_memorized.all()


def test_duplicates_and_birthday_support_size():
    features = torch.cat([normals(1500, 4, 0) * 100, normals(1500, 4, 0)[:7] * 100 + 0.01])
    assert count_duplicate_pairs(features, 0.1) == 7
    assert has_near_duplicate(features, 0.1).nonzero().flatten().tolist() == [*range(7), *range(1500, 1507)]
    chosen = torch.randint(2000, (600,), generator=torch.Generator().manual_seed(0))
    pairs = count_duplicate_pairs((normals(2000, 8, 1) * 100)[chosen], 1e-3)
    assert 1300 < birthday_support_size(600, pairs) < 3000
    assert birthday_support_size(600, 0) == float("inf")
