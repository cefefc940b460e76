import math

import pytest
import torch

from vaegan.losses.gan import LOSSES, feature_distance, gradient_penalty

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])


def softplus(x):
    return math.log1p(math.exp(x))


EXPECTED = {
    "relativistic": ((softplus(-1.5) + softplus(2.0)) / 2, (softplus(1.5) + softplus(-2.0)) / 2),
    "non-saturating": (
        (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(1)) / 2,
        (softplus(-0.5) + softplus(-1)) / 2,
    ),
    "minimax": (
        (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(1)) / 2,
        -(softplus(0.5) + softplus(1)) / 2,
    ),
    "hinge": ((0 + 2) / 2 + (1.5 + 2) / 2, -0.75),
}


def test_every_loss_has_a_hand_computed_value():
    assert set(EXPECTED) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_hand_computed_values(name):
    loss, (of_discriminator, of_generator) = LOSSES[name], EXPECTED[name]
    assert loss.discriminator_loss(REAL, FAKE).item() == pytest.approx(of_discriminator)
    assert loss.generator_loss(REAL, FAKE).item() == pytest.approx(of_generator)
    assert loss.description


@pytest.mark.parametrize("name", LOSSES)
def test_the_two_pull_in_opposite_directions(name):
    real, fake = torch.zeros(4), torch.zeros(4, requires_grad=True)
    (for_d,) = torch.autograd.grad(LOSSES[name].discriminator_loss(real, fake), fake)
    (for_g,) = torch.autograd.grad(LOSSES[name].generator_loss(real, fake), fake)
    assert (for_d > 0).all() and (for_g < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_huge_logits_stay_finite(name):
    for scale in (-1e4, 1e4):
        real, fake = torch.full((2,), scale), torch.full((2,), -scale)
        assert LOSSES[name].discriminator_loss(real, fake).isfinite()
        assert LOSSES[name].generator_loss(real, fake).isfinite()


def test_paired_tells_whether_the_generator_needs_real_logits():
    for loss in LOSSES.values():
        same = loss.generator_loss(REAL, FAKE) == loss.generator_loss(REAL + 3, FAKE)
        assert bool(same) is not loss.needs_real_logits


def test_penalty_is_the_squared_norm_of_the_gradient():
    pictures = torch.randn(3, 2, 4, 4, requires_grad=True)
    weights = torch.randn(2, 4, 4)
    logits = (pictures.square() * weights).sum((1, 2, 3)) / 2
    expected = (pictures * weights).square().sum((1, 2, 3))
    penalty = gradient_penalty(logits, pictures)
    torch.testing.assert_close(penalty, expected)
    penalty.sum().backward()
    torch.testing.assert_close(pictures.grad, 2 * pictures.detach() * weights.square())


def test_feature_distance_is_relative_and_leaves_the_finest_level_out():
    torch.manual_seed(0)
    wanted = [torch.randn(4, 3, 8, 8), torch.randn(4, 6, 4, 4), torch.randn(4, 9, 2, 2)]
    assert feature_distance(wanted, wanted).tolist() == [0] * 4
    nothing = [torch.zeros_like(level) for level in wanted]
    torch.testing.assert_close(feature_distance(nothing, wanted), torch.ones(4))
    grain = [wanted[0] + 1, *wanted[1:]]
    assert feature_distance(grain, wanted).tolist() == [0] * 4
    twice = [wanted[0], wanted[1] * 2, wanted[2]]
    torch.testing.assert_close(feature_distance(twice, wanted), torch.full((4,), 0.5))
    scaled = [level * 7 for level in twice], [level * 7 for level in wanted]
    torch.testing.assert_close(feature_distance(*scaled), torch.full((4,), 0.5))
    assert feature_distance(wanted[:1], nothing[:1]).isfinite().all()
