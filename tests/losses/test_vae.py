import math

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from vaegan.losses.vae import (
    LIKELIHOODS,
    _laplacian_pyramid_error,
    bernoulli_nll,
    gaussian_nll,
    kl_per_dim,
    laplace_nll,
    laplacian_pyramid_nll,
    squared_error,
)

REAL = torch.tensor([[[[1.0, -1.0]]], [[[0.5, 0.0]]]])
DECODED = torch.tensor([[[[0.0, -0.5]]], [[[0.5, 0.25]]]])


def test_hand_computed_values():
    assert squared_error(REAL, DECODED).tolist() == [1.25, 0.0625]
    assert laplace_nll(REAL, DECODED).tolist() == [3.0, 0.5]
    # probabilities 0.5 and 0.25 against targets 1 and 0; 0.75 and 0.625 against 0.75 and 0.5
    first = -math.log(0.5) - math.log(0.75)
    second = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - 0.5 * (math.log(0.625) + math.log(0.375))
    assert bernoulli_nll(REAL, DECODED).tolist() == pytest.approx([first, second])


def test_likelihoods_agree_with_torch_distributions_up_to_a_constant():
    normal = -Normal(DECODED, math.sqrt(0.5)).log_prob(REAL).flatten(1).sum(1)
    torch.testing.assert_close(squared_error(REAL, DECODED) + math.log(math.pi), normal)
    laplace = -Laplace(DECODED, 0.5).log_prob(REAL).flatten(1).sum(1)
    torch.testing.assert_close(laplace_nll(REAL, DECODED), laplace)
    bernoulli = -Bernoulli(probs=(DECODED + 1) / 2).log_prob((REAL > 0.9).float()).flatten(1).sum(1)
    torch.testing.assert_close(bernoulli_nll((REAL > 0.9).float() * 2 - 1, DECODED), bernoulli)


def test_gaussian_has_the_optimal_variance():
    best = float((REAL - DECODED).square().mean())
    expected = -Normal(DECODED, math.sqrt(best)).log_prob(REAL).flatten(1).sum(1)
    torch.testing.assert_close(gaussian_nll(REAL, DECODED), expected)
    for other in (0.7, 1.4):
        worse = -Normal(DECODED, math.sqrt(best) * other).log_prob(REAL).flatten(1).sum(1)
        assert worse.mean() > gaussian_nll(REAL, DECODED).mean()


def test_pyramid_is_a_density_of_optimal_scale():
    """Differences k times as large add D log k to -log p, as for any density of optimal scale."""
    generator = torch.Generator().manual_seed(0)
    real, difference = (torch.rand(6, 1, 32, 32, generator=generator) - 0.5 for _ in range(2))
    near, far = (laplacian_pyramid_nll(real, real + size * difference).mean() for size in (0.1, 0.4))
    assert float(far - near) == pytest.approx(1024 * math.log(4), rel=1e-5)
    mean = _laplacian_pyramid_error(real, real + difference).mean()
    assert (
        laplacian_pyramid_nll(real, real + difference, mean).mean()
        == laplacian_pyramid_nll(real, real + difference).mean()
    )
    for other in (0.7, 1.4):
        assert (
            laplacian_pyramid_nll(real, real + difference, mean * other).mean()
            > laplacian_pyramid_nll(real, real + difference).mean()
        )


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_is_per_image_and_best_near_the_image(name):
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(4, 3, 8, 8, generator=generator) * 1.8 - 0.9
    decoded = (real + 0.02 * torch.randn(real.shape, generator=generator)).requires_grad_()
    loss = LIKELIHOODS[name](real, decoded)
    assert loss.shape == (4,)
    loss.sum().backward()
    assert decoded.grad.isfinite().all()
    assert LIKELIHOODS[name](real, real * 0).mean() > loss.mean()


def test_kl_agrees_with_torch_distributions():
    mean, log_var = torch.randn(9, 5), torch.randn(9, 5)
    expected = kl_divergence(Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dim(mean, log_var), expected)
    assert kl_per_dim(torch.zeros(1), torch.zeros(1)) == 0
