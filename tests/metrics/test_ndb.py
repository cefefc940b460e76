"""Number of statistically different bins."""

import torch

from vaegan.metrics.ndb import count_different_bins, kmeans, ndb


def make_blobs(weights, n, seed):
    """Points in 8 well separated blobs."""
    generator = torch.Generator().manual_seed(seed)
    blob = torch.multinomial(torch.tensor(weights), n, True, generator=generator)
    return torch.nn.functional.one_hot(blob, 8) * 50.0 + torch.randn(n, 8, generator=generator)


def test_z_test_of_proportions_by_hand():
    # 50 of 100 against 60 of 100: z = 1.42; against 70 of 100: z = 2.89
    assert count_different_bins(torch.tensor([50, 50]), torch.tensor([60, 40])) == (0, 0)
    assert count_different_bins(torch.tensor([50, 50]), torch.tensor([70, 30])) == (2, 0)
    assert count_different_bins(torch.tensor([50, 50]), torch.tensor([100, 0])) == (2, 1)


def test_kmeans_finds_the_blobs():
    points = make_blobs([1.0] * 8, 400, 0)
    centers = kmeans(points, 8)
    assert torch.cdist(centers, torch.eye(8) * 50).min(1).values.max() < 3
    assert len(torch.cdist(centers, torch.eye(8) * 50).argmin(1).unique()) == 8


def test_dropped_blobs_show_as_different_bins():
    train, real = make_blobs([1.0] * 8, 2000, 0), make_blobs([1.0] * 8, 2000, 1)
    same = ndb(train, real, make_blobs([1.0] * 8, 2000, 2))
    assert same.num_bins == 100 and same.ndb_over_k < 0.15 and same.num_missing <= 1
    dropped = ndb(train, real, make_blobs([1.0] * 4 + [0.0] * 4, 2000, 3))
    assert dropped.ndb_over_k > 0.6 and dropped.num_missing > 30


def test_bins_must_be_defined_by_images_other_than_the_compared_ones():
    train, real, fake = (torch.randn(n, 128, generator=torch.Generator().manual_seed(n)) for n in (1000, 1001, 2000))
    assert ndb(train, real, fake).ndb_over_k <= 0.15 < ndb(train, train, fake).ndb_over_k


def test_few_images_get_few_bins():
    assert ndb(torch.randn(40, 3), torch.randn(40, 3), torch.randn(40, 3)).num_bins == 2
