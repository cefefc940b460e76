import math

import pytest
import torch

from vaegan.errors import VaeganError
from vaegan.models.prior import Mixture, Prior, expect_maximise, fit
from vaegan.settings import ModelConfig

SPREAD = 3.0


def clusters(count, d=6, kinds=3, seed=0):
    """Normals of deviation 0.3 and 0.6 around centres far apart, and what they were drawn from."""
    generator = torch.Generator().manual_seed(seed)
    centres = SPREAD * torch.randn(kinds, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    deviation = torch.tensor([0.3, 0.6] * (d // 2), dtype=torch.float64)
    kind = torch.randint(kinds, (count,), generator=generator)
    noise = torch.randn(count, d, generator=generator, dtype=torch.float64)
    weights = torch.full((kinds,), 1 / kinds, dtype=torch.float64)
    return centres[kind] + noise * deviation, Mixture(weights, centres, deviation.diag())


def mixture_prior():
    _, mixture = clusters(1)
    return Prior.of_mixture(ModelConfig(latent_dim=6, prior="mixture", components=3), mixture), mixture


@pytest.mark.parametrize("kind", ["normal", "uniform", "mixture"])
def test_a_seed_is_the_same_latent_in_any_company(kind):
    prior = mixture_prior()[0] if kind == "mixture" else Prior(ModelConfig(latent_dim=6, prior=kind))
    many = prior.of(range(20))
    assert torch.equal(prior.of([7])[0], many[7])
    assert torch.equal(prior.of([19, 7])[1], many[7])
    assert prior.of([]).shape == (0, 6)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_simple_priors_have_mean_0_and_variance_1(kind):
    drawn = Prior(ModelConfig(latent_dim=16, prior=kind)).of(range(4000))
    assert abs(float(drawn.mean())) < 0.02
    assert abs(float(drawn.var()) - 1) < 0.02
    if kind == "uniform":
        assert drawn.abs().max() <= math.sqrt(3)


def test_density_is_what_torch_distributions_says():
    latents, mixture = clusters(5000)
    normals = torch.distributions.MultivariateNormal(mixture.means, scale_tril=mixture.factor)
    both = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(mixture.weights), normals)
    torch.testing.assert_close(mixture.log_density(latents), both.log_prob(latents))


def test_draws_are_the_mixtures():
    prior, mixture = mixture_prior()
    drawn = prior(torch.randn(30_000, prior.columns, generator=torch.Generator().manual_seed(1)))
    nearest = torch.cdist(drawn.double(), mixture.means).argmin(1)
    torch.testing.assert_close(nearest.bincount() / len(drawn), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    within = (drawn.double() - mixture.means[nearest]).T.cov()
    torch.testing.assert_close(within, mixture.factor @ mixture.factor.T, atol=0.02, rtol=0)


def test_the_chance_that_chooses_never_leaves_the_components():
    prior, mixture = mixture_prior()
    noise = torch.zeros(3, prior.columns)
    noise[:, -1] = torch.tensor([-40.0, 0.0, 40.0])
    torch.testing.assert_close(prior(noise), mixture.means.float())


def test_clusters_are_found():
    latents, mixture = clusters(3000)
    found = expect_maximise(latents, 12, torch.Generator().manual_seed(0))
    many = fit(latents[:, None].float())
    assert many is not None and len(many.weights) > 1
    for other in (found, many):
        assert other.weights.sum() == pytest.approx(1)
        assert float((mixture.log_density(latents) - other.log_density(latents)).mean()) < 0.5


def test_one_normal_stays_one_normal():
    generator = torch.Generator().manual_seed(0)
    assert fit(torch.randn(1000, 2, 6, generator=generator)) is None
    assert fit(clusters(30)[0][:, None].float()) is None, "too few to tell"


@pytest.mark.parametrize(("prior", "components"), [("normal", 2), ("uniform", 2), ("mixture", 1)])
def test_priors_that_contradict_their_components_are_refused(prior, components):
    with pytest.raises(VaeganError, match=f"a {prior} prior of {components} components"):
        ModelConfig(prior=prior, components=components)
