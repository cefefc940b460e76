import math
from dataclasses import replace

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.prior import (
    DIRECTIONS,
    FAMILIAR,
    LOCAL,
    PER_COMPONENT,
    Mixture,
    Prior,
    expect_maximise,
    familiar,
    fit,
    joint_of,
    localised,
)

SPREAD = 3.0


def clusters(count, d=6, kinds=3, seed=0, own=0):
    """Normals of deviation 0.3 and 0.6 around centres far apart, and what they were drawn from.

    own: directions of deviation 1.5 that each has besides.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = SPREAD * torch.randn(kinds, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    deviation = torch.tensor([0.3, 0.6] * (d // 2), dtype=torch.float64)
    kind = torch.randint(kinds, (count,), generator=generator)
    noise = torch.randn(count, d, generator=generator, dtype=torch.float64)
    weights = torch.full((kinds,), 1 / kinds, dtype=torch.float64)
    local = torch.linalg.qr(torch.randn(kinds, d, max(1, own), generator=generator, dtype=torch.float64))[0].mT
    local = 1.5 * local[:, :own]
    along = torch.randn(count, 1, own, generator=generator, dtype=torch.float64)
    latents = centres[kind] + noise * deviation + (along @ local[kind])[:, 0]
    return latents, Mixture(weights, centres, deviation.diag(), local)


def covariances(mixture):
    return mixture.factor @ mixture.factor.T + mixture.local.mT @ mixture.local


def log_density(mixture, latents):
    """By torch.distributions, float64 [N]."""
    spread = covariances(mixture).double()
    normals = torch.distributions.MultivariateNormal(mixture.means.double(), spread)
    kinds = torch.distributions.Categorical(mixture.weights.double())
    return torch.distributions.MixtureSameFamily(kinds, normals).log_prob(latents.double())


def mixture_prior(own=0):
    _, mixture = clusters(1, own=own)
    return Prior.of_mixture(ModelConfig(latent_dim=6, prior="mixture", components=3, directions=own), mixture), mixture


@pytest.mark.parametrize("kind", ["normal", "uniform", "mixture", "directed"])
def test_a_seed_is_the_same_latent_in_any_company(kind):
    own = 2 * (kind == "directed")
    prior = Prior(ModelConfig(latent_dim=6, prior=kind)) if kind in ("normal", "uniform") else mixture_prior(own)[0]
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


def test_chances_of_components_are_what_torch_distributions_says():
    mixture = clusters(1)[1]
    latents = torch.randn(5000, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixture = replace(mixture, weights=torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means=mixture.means / 3)
    normals = torch.distributions.MultivariateNormal(mixture.means, covariances(mixture))
    wanted = (normals.log_prob(latents[:, None]) + mixture.weights.log()).softmax(1)
    assert wanted.amax(1).min() < 0.6, "some are in doubt"
    torch.testing.assert_close(joint_of(mixture.weights, mixture.means, mixture.factor)(latents).softmax(1), wanted)


@pytest.mark.parametrize("own", [0, 2])
def test_draws_are_the_mixtures(own):
    prior, mixture = mixture_prior(own)
    mixture = replace(mixture, local=mixture.local / 2)  # nearest means tell them apart
    prior.load_state_dict({**prior.state_dict(), **({"local": mixture.local.float()} if own else {})})
    drawn = prior(torch.randn(30_000, prior.columns, generator=torch.Generator().manual_seed(1)))
    nearest = torch.cdist(drawn.double(), mixture.means).argmin(1)
    torch.testing.assert_close(nearest.bincount() / len(drawn), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    for k, covariance in enumerate(covariances(mixture)):
        within = drawn.double()[nearest == k].T.cov()
        torch.testing.assert_close(within, covariance, atol=0.04, rtol=0)


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
        assert float((log_density(mixture, latents) - log_density(other, latents)).mean()) < 0.5
    drawn = many.draw(torch.randn(500, 6 + many.local.shape[1] + 1, generator=torch.Generator().manual_seed(1)))
    apart = torch.cdist(drawn.double(), mixture.means).min(1).values
    assert apart.median() < 2 < torch.randn(500, 6).mul(latents.std(0)).norm(dim=1).median(), "at the clusters"


def test_latents_are_familiar_where_they_are_nearer_than_anothers():
    known = torch.tensor([[[0.0, 0.0], [0.5, 0.0]], [[4.0, 0.0], [4.0, 0.5]], [[0.0, 9.0], [0.0, 9.5]]])
    queries = torch.tensor([[0.0, 3.4], [0.0, -3.9], [4.0, -3.6], [0.0, 4.4], [-4.5, 0.0], [4.2, 0.2]])
    assert familiar(queries, known) == pytest.approx(3 / 6), "its own second latent is no neighbour of the first"
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2000, 1, 6, generator=generator)
    unseen = familiar(torch.randn(1000, 6, generator=generator), normal)
    assert familiar(normal[:, 0] + 1e-4, normal) == 1
    assert 0.3 < unseen < 0.7
    assert familiar(3 * torch.randn(1000, 6, generator=generator), normal) < unseen / 2


def test_the_finest_mixture_whose_draws_are_new_is_taken(monkeypatch):
    latents = clusters(400, own=2)[0][:, None].float()
    found = fit(latents)
    assert found is not None and len(found.weights) in [400 // each for each in PER_COMPONENT]
    seen, unseen = latents[torch.arange(400) % 4 > 0], latents[::4, 0]
    usual = familiar(unseen, seen)

    def rate(each):
        mixture = expect_maximise(seen[:, 0], 300 // each, torch.Generator().manual_seed(0))
        mixture = localised(mixture, seen[:, 0])
        return familiar(mixture.draw(torch.randn(1024, 13, generator=torch.Generator().manual_seed(0))), seen)

    taken = 400 // len(found.weights)
    assert rate(taken) <= FAMILIAR * usual
    assert all(rate(each) > FAMILIAR * usual for each in PER_COMPONENT if each < taken)
    monkeypatch.setattr("vaegan.models.prior.FAMILIAR", 0.0)
    assert fit(latents) is None, "none is new enough"


def test_components_find_directions_of_their_own_and_keep_the_covariance_of_all():
    latents, truth = clusters(9000, own=1)
    alike = expect_maximise(latents, 3, torch.Generator().manual_seed(0))
    found = localised(alike, latents)
    assert found.local.shape == (3, min(DIRECTIONS, 6), 6)
    assert not found.local.equal(alike.local)

    def all_of(mixture):
        each = covariances(mixture) + mixture.means[:, :, None] * mixture.means[:, None]
        return (mixture.weights[:, None, None] * each).sum(0)

    torch.testing.assert_close(all_of(found), all_of(alike), atol=1e-6, rtol=0)
    for k, mean in enumerate(found.means):
        same = int((truth.means - mean).norm(dim=1).argmin())
        first = found.local[k, 0]
        assert abs(float(first @ truth.local[same, 0])) / float(first.norm()) / 1.5 > 0.98
        largest = LOCAL * float(torch.linalg.eigvalsh(covariances(truth)[same])[-1])
        assert float(first.square().sum()) == pytest.approx(largest, rel=0.1)
    assert log_density(found, latents).mean() > log_density(alike, latents).mean() + 0.2


def test_one_normal_stays_one_normal():
    generator = torch.Generator().manual_seed(0)
    assert fit(torch.randn(1000, 2, 6, generator=generator)) is None
    assert fit(clusters(30)[0][:, None].float()) is None, "too few to tell"


@pytest.mark.parametrize(
    ("prior", "components", "directions"), [("normal", 2, 0), ("uniform", 2, 0), ("mixture", 1, 0), ("normal", 1, 3)]
)
def test_priors_that_contradict_their_components_are_refused(prior, components, directions):
    with pytest.raises(VaeganError, match=f"a {prior} prior of {components} components, {directions} directions"):
        ModelConfig(prior=prior, components=components, directions=directions)
