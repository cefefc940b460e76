"""Frechet distance and KID against hand-computed cases, brute force and another implementation."""

import pytest
import torch

from vaegan.metrics.distances import frechet_distance, kid


def normals(n, d, seed, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def test_frechet_distance_by_hand():
    # means 1 and 3, variances 2 and 8: 4 + (sqrt 8 - sqrt 2)^2 = 6
    assert frechet_distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [5.0]])) == pytest.approx(6, abs=1e-9)


def test_frechet_distance_of_different_covariances():
    """Covariances diag(9, 1) and diag(1, 9), which share axes: 2 (3 - 1)^2 = 8."""
    base = normals(40_000, 2, 0)
    base = (base - base.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(base.T)).T)
    assert frechet_distance(base * torch.tensor([3.0, 1.0]), base * torch.tensor([1.0, 3.0])) == pytest.approx(
        8, rel=1e-3
    )


def test_frechet_distance_of_equal_features_is_0():
    features = normals(50, 80, 0)  # fewer rows than dimensions: a singular covariance
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def kid_by_double_sum(a, b):
    def k(x, y):
        return float((x @ y / len(x) + 1) ** 3)

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


@pytest.mark.parametrize(("n", "m"), [(12, 12), (9, 17), (2, 5)])
def test_kid_equals_the_double_sum(n, m):
    a, b = normals(n, 3, 1).double(), normals(m, 3, 2, 0.5).double()
    assert kid(a, b)[0] == pytest.approx(kid_by_double_sum(a, b), abs=1e-9)


def test_kid_is_unbiased_and_its_standard_error_is_right():
    results = [kid(normals(200, 8, seed), normals(160, 8, seed + 1000)) for seed in range(60)]
    values, errors = torch.tensor(results).T
    assert abs(float(values.mean())) < 4 * float(values.std()) / 60**0.5
    assert 0.6 < float(errors.mean() / values.std()) < 1.7


@pytest.mark.parametrize(("a", "b"), [((3, 2), (3, 4)), ((1, 2), (3, 2)), ((3,), (3,))])
def test_wrong_shapes_are_refused(a, b):
    for distance in (frechet_distance, kid):
        with pytest.raises(ValueError, match="expected"):
            distance(torch.zeros(a), torch.zeros(b))


def test_torch_fidelity_agrees():
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = normals(500, 32, 0), normals(500, 32, 1, 0.3) * 1.2
    theirs = fid_statistics_to_metric(fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False)
    assert frechet_distance(a, b) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    theirs = kid_features_to_metric(a, b, kid_subset_size=500, kid_subsets=1, verbose=False)
    assert kid(a, b)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)
