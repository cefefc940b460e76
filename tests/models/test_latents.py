import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.errors import UsageError
from vaegan.models.latents import latents_of, linear, spherical, walk


def test_a_seed_is_the_same_latent_in_any_company():
    many = latents_of(range(20), 16)
    assert torch.equal(latents_of([7], 16)[0], many[7])
    assert torch.equal(latents_of([19, 7], 16)[1], many[7])
    assert latents_of([], 16).shape == (0, 16)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_both_priors_have_mean_0_and_variance_1(prior):
    drawn = latents_of(range(4000), 16, prior)
    assert abs(float(drawn.mean())) < 0.02
    assert abs(float(drawn.var()) - 1) < 0.02
    if prior == "uniform":
        assert drawn.abs().max() <= math.sqrt(3)


@given(st.integers(2, 12), st.sampled_from(["spherical", "linear"]))
def test_paths_begin_and_end_where_they_should(frames, method):
    keys = latents_of([1, 2, 3], 8)
    path = walk(keys, frames, method)
    assert len(path) == 2 * (frames - 1) + 1
    torch.testing.assert_close(path[[0, frames - 1, -1]], keys, atol=1e-5, rtol=1e-5)


def test_the_arc_keeps_the_length_that_the_straight_line_loses():
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    middle = torch.tensor([0.5])
    assert spherical(a, b, middle)[0].norm() == pytest.approx(2.0)
    assert linear(a, b, middle)[0].norm() == pytest.approx(math.sqrt(2))
    torch.testing.assert_close(spherical(a, b, torch.tensor([1 / 3]))[0], torch.tensor([math.sqrt(3), 1.0, 0]))


@pytest.mark.parametrize("other", [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_degenerate_arcs_stay_finite(other):
    path = spherical(torch.tensor([1.0, 0.0]), torch.tensor(other), torch.linspace(0, 1, 5))
    assert path.isfinite().all()
    assert path[-1].tolist() == other


def test_unknown_paths_are_refused():
    with pytest.raises(UsageError, match=r"--method zigzag.*spherical, linear"):
        walk(torch.zeros(2, 3), 4, "zigzag")
