"""Linear probes: what they learn, how they are measured, and the shortest changes of latents."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.models.linear_probe import (
    auc,
    bootstrap_auc,
    bootstrap_r_squared,
    fit_probes,
    r_squared,
    shift_scores,
)


def make_latents(count=1500, d=12, seed=0):
    return torch.randn(count, d, generator=torch.Generator().manual_seed(seed))


def make_covariance(d, seed=0):
    factor = torch.randn(d, d, generator=torch.Generator().manual_seed(seed)).double()
    return factor @ factor.T / d + 0.1 * torch.eye(d).double()


def test_a_probe_finds_the_direction_and_the_log_odds_of_a_logistic_model():
    z, weight = make_latents(20_000), torch.zeros(12).double()
    weight[0], weight[1] = 2.0, -1.0
    log_odds = z.double() @ weight - 1.5
    targets = (torch.rand(len(z), generator=torch.Generator().manual_seed(1)) < log_odds.sigmoid()).float()
    fit = fit_probes(z, targets[:, None], torch.tensor([True]))
    found = fit.weights[0] / fit.weights[0].norm()
    assert float(found @ (weight / weight.norm())) > 0.99
    scores = z.double() @ fit.weights[0] + fit.biases[0]
    for low, high in ((0.05, 0.3), (0.3, 0.7), (0.7, 0.95)):  # probabilities are true frequencies
        chosen = (scores.sigmoid() > low) & (scores.sigmoid() < high)
        assert float(scores.sigmoid()[chosen].mean()) == pytest.approx(float(targets[chosen].mean()), abs=0.06)


def test_a_number_is_predicted_in_its_own_unit():
    z = make_latents()
    targets = 40 + 10 * z[:, 3] + torch.randn(len(z), generator=torch.Generator().manual_seed(2))
    fit = fit_probes(z, targets[:, None], torch.tensor([False]))
    assert float(fit.weights[0, 3]) == pytest.approx(10, abs=0.3) and float(fit.biases[0]) == pytest.approx(40, abs=0.3)


def test_left_out_scores_do_not_flatter_noise():
    z = make_latents(200, 100)
    targets = (torch.arange(200) % 2).float()
    fit = fit_probes(z, targets[:, None], torch.tensor([True]))
    assert 0.35 < auc(fit.left_out_scores[:, 0], targets) < 0.65
    own_scores = z.double() @ fit.weights[0] + fit.biases[0]
    assert auc(own_scores, targets) > auc(fit.left_out_scores[:, 0], targets)


def test_probes_that_are_fitted_together_are_those_that_are_fitted_alone():
    z = make_latents(300)
    targets = torch.stack([(z[:, 0] > 0).float(), z[:, 1] * 3, (z[:, 2] > 1).float()], 1)
    is_binary = torch.tensor([True, False, True])
    together = fit_probes(z, targets, is_binary)
    for index in range(3):
        alone = fit_probes(z, targets[:, index : index + 1], is_binary[index : index + 1])
        assert torch.allclose(together.weights[index], alone.weights[0])
        assert torch.allclose(together.left_out_scores[:, index], alone.left_out_scores[:, 0])


def test_perfectly_separated_classes_get_finite_scores():
    z = torch.tensor([[-1.0], [-1.0], [-1.0], [1.0], [1.0], [1.0]] * 5)
    fit = fit_probes(z, (z[:, :1] > 0).float(), torch.tensor([True]))
    assert fit.weights.isfinite().all() and float(fit.weights) > 0


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    scores = torch.tensor([float(score) for score, _ in pairs])
    targets = torch.tensor([float(is_positive) for _, is_positive in pairs])
    positives, negatives = scores[targets > 0.5], scores[targets < 0.5]
    if not len(positives) or not len(negatives):
        return
    difference = positives[:, None] - negatives[None]
    expected = ((difference > 0).double() + 0.5 * (difference == 0).double()).mean()
    assert auc(scores, targets) == pytest.approx(float(expected))


def test_intervals_hold_the_measure_and_narrow_with_more_images():
    widths = []
    for count in (60, 2000):
        z = make_latents(count, 1)[:, 0]
        targets = (z + torch.randn(count, generator=torch.Generator().manual_seed(5)) > 0).float()
        low, high = bootstrap_auc(z, targets)
        assert low < auc(z, targets) < high
        widths.append(high - low)
        low, high = bootstrap_r_squared(z, z + 1 + 0.5 * torch.rand(count, generator=torch.Generator().manual_seed(6)))
        assert low <= high
    assert widths[1] < widths[0] / 3


def test_r_squared_of_the_mean_is_zero():
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert r_squared(torch.full((3,), 2.0), targets) == pytest.approx(0)
    assert r_squared(targets, targets) == pytest.approx(1)


def test_a_shift_reaches_its_scores_by_the_shortest_way():
    z, covariance = make_latents(5, 6), make_covariance(6)
    weights = torch.randn(2, 6, generator=torch.Generator().manual_seed(3)).double()
    changes = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 0.0], [5.0, 5.0], [-1.0, 3.0]])
    delta = (shift_scores(z, weights, changes, covariance) - z).double()
    assert torch.allclose(delta @ weights.T, changes.double(), atol=1e-4)
    # any other change with the same scores is longer
    precision, generator = covariance.inverse(), torch.Generator().manual_seed(4)
    null_space = torch.linalg.svd(weights).Vh[2:]
    other = delta + 0.1 * torch.randn(5, 4, generator=generator).double() @ null_space
    lengths = [((d @ precision) * d).sum(1) for d in (delta, other)]
    assert (lengths[0] < lengths[1]).all()


def test_one_score_moves_along_the_covariance_times_the_weight():
    covariance, weight = make_covariance(6), torch.randn(6, generator=torch.Generator().manual_seed(3)).double()
    delta = shift_scores(torch.zeros(1, 6), weight[None], torch.ones(1, 1), covariance)[0].double()
    expected = covariance @ weight / (weight @ covariance @ weight)
    assert torch.allclose(delta, expected, atol=1e-5)


@given(st.integers(0, 50))
def test_at_least_moves_only_what_must_move(seed):
    generator = torch.Generator().manual_seed(seed)
    z, covariance = torch.randn(4, 6, generator=generator), make_covariance(6, seed)
    weights = torch.randn(3, 6, generator=generator).double()
    changes = torch.randn(4, 3, generator=generator)
    is_at_least = torch.tensor([True, True, False])
    changes[:, 2] = 0
    delta = (shift_scores(z, weights, changes, covariance, is_at_least) - z).double()
    reached = delta @ weights.T
    assert (reached[:, :2] >= changes[:, :2] - 1e-3).all()
    assert reached[:, 2].abs().max() < 1e-3
    needs_nothing = (changes[:, :2] <= 0).all(1)
    assert delta[needs_nothing].abs().max() < 1e-3 if needs_nothing.any() else True
