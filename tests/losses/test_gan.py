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
    loss, (discriminator_loss, generator_loss) = LOSSES[name], EXPECTED[name]
    assert loss.discriminator_loss(REAL, FAKE).item() == pytest.approx(discriminator_loss)
    assert loss.generator_loss(REAL, FAKE).item() == pytest.approx(generator_loss)
    assert loss.description


@pytest.mark.parametrize("name", LOSSES)
def test_generator_and_discriminator_have_opposite_gradients(name):
    real, fake = torch.zeros(4), torch.zeros(4, requires_grad=True)
    (gradient_d,) = torch.autograd.grad(LOSSES[name].discriminator_loss(real, fake), fake)
    (gradient_g,) = torch.autograd.grad(LOSSES[name].generator_loss(real, fake), fake)
    assert (gradient_d > 0).all() and (gradient_g < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_huge_logits_are_finite(name):
    for scale in (-1e4, 1e4):
        real, fake = torch.full((2,), scale), torch.full((2,), -scale)
        assert LOSSES[name].discriminator_loss(real, fake).isfinite()
        assert LOSSES[name].generator_loss(real, fake).isfinite()


def test_needs_real_logits_is_right():
    for loss in LOSSES.values():
        same = loss.generator_loss(REAL, FAKE) == loss.generator_loss(REAL + 3, FAKE)
        assert bool(same) is not loss.needs_real_logits


def test_gradient_penalty_is_the_squared_norm_of_the_gradient():
    images = torch.randn(3, 2, 4, 4, requires_grad=True)
    weights = torch.randn(2, 4, 4)
    logits = (images.square() * weights).sum((1, 2, 3)) / 2
    expected = (images * weights).square().sum((1, 2, 3))
    penalty = gradient_penalty(logits, images)
    torch.testing.assert_close(penalty, expected)
    penalty.sum().backward()
    torch.testing.assert_close(images.grad, 2 * images.detach() * weights.square())


def test_feature_distance_is_relative_and_ignores_the_finest_level():
    torch.manual_seed(0)
    target = [torch.randn(4, 3, 8, 8), torch.randn(4, 6, 4, 4), torch.randn(4, 9, 2, 2)]
    assert feature_distance(target, target).tolist() == [0] * 4
    zeros = [torch.zeros_like(level) for level in target]
    torch.testing.assert_close(feature_distance(zeros, target), torch.ones(4))
    finest_changed = [target[0] + 1, *target[1:]]
    assert feature_distance(finest_changed, target).tolist() == [0] * 4
    doubled = [target[0], target[1] * 2, target[2]]
    torch.testing.assert_close(feature_distance(doubled, target), torch.full((4,), 0.5))
    some_doubled = [target[0], torch.cat([target[1][:3], target[1][3:] * 2]), target[2]]
    distances = feature_distance(some_doubled, target, torch.tensor([3, 0]))
    torch.testing.assert_close(distances, torch.tensor([0.5, 0.0]))
    scaled = [level * 7 for level in doubled], [level * 7 for level in target]
    torch.testing.assert_close(feature_distance(*scaled), torch.full((4,), 0.5))
    assert feature_distance(target[:1], zeros[:1]).isfinite().all()
