import math
from dataclasses import replace

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.prior import (
    IMAGES_PER_COMPONENT,
    LOCAL_COVARIANCE_WEIGHT,
    MAX_LOCAL_DIM,
    MAX_MEMORIZATION_RATIO,
    GaussianMixture,
    Prior,
    add_local_covariances,
    fit_em,
    fit_mixture,
    make_log_joint,
    nn_memorization_rate,
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
    return latents, GaussianMixture(weights, centres, deviation.diag(), local)


def covariances(mixture):
    return mixture.scale_tril @ mixture.scale_tril.T + mixture.local_factors.mT @ mixture.local_factors


def log_density(mixture, latents):
    """By torch.distributions, float64 [N]."""
    spread = covariances(mixture).double()
    normals = torch.distributions.MultivariateNormal(mixture.means.double(), spread)
    kinds = torch.distributions.Categorical(mixture.weights.double())
    return torch.distributions.MixtureSameFamily(kinds, normals).log_prob(latents.double())


def mixture_prior(own=0):
    _, mixture = clusters(1, own=own)
    return Prior.from_mixture(
        ModelConfig(latent_dim=6, prior="mixture", num_components=3, local_rank=own), mixture
    ), mixture


@pytest.mark.parametrize("kind", ["normal", "uniform", "mixture", "directed"])
def test_a_seed_is_the_same_latent_in_any_company(kind):
    own = 2 * (kind == "directed")
    prior = Prior(ModelConfig(latent_dim=6, prior=kind)) if kind in ("normal", "uniform") else mixture_prior(own)[0]
    many = prior.sample_seeds(range(20))
    assert torch.equal(prior.sample_seeds([7])[0], many[7])
    assert torch.equal(prior.sample_seeds([19, 7])[1], many[7])
    assert prior.sample_seeds([]).shape == (0, 6)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_simple_priors_have_mean_0_and_variance_1(kind):
    drawn = Prior(ModelConfig(latent_dim=16, prior=kind)).sample_seeds(range(4000))
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
    torch.testing.assert_close(
        make_log_joint(mixture.weights, mixture.means, mixture.scale_tril)(latents).softmax(1), wanted
    )


@pytest.mark.parametrize("own", [0, 2])
def test_draws_are_the_mixtures(own):
    prior, mixture = mixture_prior(own)
    mixture = replace(mixture, local_factors=mixture.local_factors / 2)  # nearest means tell them apart
    prior.load_state_dict({**prior.state_dict(), **({"local_factors": mixture.local_factors.float()} if own else {})})
    drawn = prior(torch.randn(30_000, prior.noise_dim, generator=torch.Generator().manual_seed(1)))
    nearest = torch.cdist(drawn.double(), mixture.means).argmin(1)
    torch.testing.assert_close(nearest.bincount() / len(drawn), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    for k, covariance in enumerate(covariances(mixture)):
        within = drawn.double()[nearest == k].T.cov()
        torch.testing.assert_close(within, covariance, atol=0.04, rtol=0)


def test_the_chance_that_chooses_never_leaves_the_components():
    prior, mixture = mixture_prior()
    noise = torch.zeros(3, prior.noise_dim)
    noise[:, -1] = torch.tensor([-40.0, 0.0, 40.0])
    torch.testing.assert_close(prior(noise), mixture.means.float())


def test_clusters_are_found():
    latents, mixture = clusters(3000)
    found = fit_em(latents, 12, torch.Generator().manual_seed(0))
    many = fit_mixture(latents[:, None].float())
    assert many is not None and len(many.weights) > 1
    for other in (found, many):
        assert other.weights.sum() == pytest.approx(1)
        assert float((log_density(mixture, latents) - log_density(other, latents)).mean()) < 0.5
    drawn = many.sample(
        torch.randn(500, 6 + many.local_factors.shape[1] + 1, generator=torch.Generator().manual_seed(1))
    )
    apart = torch.cdist(drawn.double(), mixture.means).min(1).values
    assert apart.median() < 2 < torch.randn(500, 6).mul(latents.std(0)).norm(dim=1).median(), "at the clusters"


def test_latents_are_familiar_where_they_are_nearer_than_anothers():
    known = torch.tensor([[[0.0, 0.0], [0.5, 0.0]], [[4.0, 0.0], [4.0, 0.5]], [[0.0, 9.0], [0.0, 9.5]]])
    queries = torch.tensor([[0.0, 3.4], [0.0, -3.9], [4.0, -3.6], [0.0, 4.4], [-4.5, 0.0], [4.2, 0.2]])
    assert nn_memorization_rate(queries, known) == pytest.approx(3 / 6), (
        "its own second latent is no neighbour of the first"
    )
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2000, 1, 6, generator=generator)
    unseen = nn_memorization_rate(torch.randn(1000, 6, generator=generator), normal)
    assert nn_memorization_rate(normal[:, 0] + 1e-4, normal) == 1
    assert 0.3 < unseen < 0.7
    assert nn_memorization_rate(3 * torch.randn(1000, 6, generator=generator), normal) < unseen / 2


def test_the_finest_mixture_whose_draws_are_new_is_taken(monkeypatch):
    latents = clusters(400, own=2)[0][:, None].float()
    found = fit_mixture(latents)
    assert found is not None and len(found.weights) in [400 // each for each in IMAGES_PER_COMPONENT]
    seen, unseen = latents[torch.arange(400) % 4 > 0], latents[::4, 0]
    usual = nn_memorization_rate(unseen, seen)

    def rate(each):
        mixture = fit_em(seen[:, 0], 300 // each, torch.Generator().manual_seed(0))
        mixture = add_local_covariances(mixture, seen[:, 0])
        return nn_memorization_rate(
            mixture.sample(torch.randn(1024, 13, generator=torch.Generator().manual_seed(0))), seen
        )

    taken = 400 // len(found.weights)
    assert rate(taken) <= MAX_MEMORIZATION_RATIO * usual
    assert all(rate(each) > MAX_MEMORIZATION_RATIO * usual for each in IMAGES_PER_COMPONENT if each < taken)
    monkeypatch.setattr("vaegan.models.prior.MAX_MEMORIZATION_RATIO", 0.0)
    assert fit_mixture(latents) is None, "none is new enough"


def test_components_find_directions_of_their_own_and_keep_the_covariance_of_all():
    latents, truth = clusters(9000, own=1)
    alike = fit_em(latents, 3, torch.Generator().manual_seed(0))
    found = add_local_covariances(alike, latents)
    assert found.local_factors.shape == (3, min(MAX_LOCAL_DIM, 6), 6)
    assert not found.local_factors.equal(alike.local_factors)

    def all_of(mixture):
        each = covariances(mixture) + mixture.means[:, :, None] * mixture.means[:, None]
        return (mixture.weights[:, None, None] * each).sum(0)

    torch.testing.assert_close(all_of(found), all_of(alike), atol=1e-6, rtol=0)
    for k, mean in enumerate(found.means):
        same = int((truth.means - mean).norm(dim=1).argmin())
        first = found.local_factors[k, 0]
        assert abs(float(first @ truth.local_factors[same, 0])) / float(first.norm()) / 1.5 > 0.98
        largest = LOCAL_COVARIANCE_WEIGHT * float(torch.linalg.eigvalsh(covariances(truth)[same])[-1])
        assert float(first.square().sum()) == pytest.approx(largest, rel=0.1)
    assert log_density(found, latents).mean() > log_density(alike, latents).mean() + 0.2


def test_one_normal_stays_one_normal():
    generator = torch.Generator().manual_seed(0)
    assert fit_mixture(torch.randn(1000, 2, 6, generator=generator)) is None
    assert fit_mixture(clusters(30)[0][:, None].float()) is None, "too few to tell"


@pytest.mark.parametrize(
    ("prior", "components", "directions"), [("normal", 2, 0), ("uniform", 2, 0), ("mixture", 1, 0), ("normal", 1, 3)]
)
def test_priors_that_contradict_their_components_are_refused(prior, components, directions):
    with pytest.raises(VaeganError, match=f"a {prior} prior of {components} components, {directions} directions"):
        ModelConfig(prior=prior, num_components=components, local_rank=directions)
