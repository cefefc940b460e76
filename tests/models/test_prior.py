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
    nn_memorization_rate,
)


def make_clusters(count, d=6, num_components=3, seed=0, local_dim=0):
    """Samples of normals of standard deviation 0.3 and 0.6 around distant means, and their mixture.

    local_dim: additional directions of standard deviation 1.5 in each component.
    """
    generator = torch.Generator().manual_seed(seed)
    means = 3 * torch.randn(num_components, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    stddev = torch.tensor([0.3, 0.6] * (d // 2), dtype=torch.float64)
    component = torch.randint(num_components, (count,), generator=generator)
    noise = torch.randn(count, d, generator=generator, dtype=torch.float64)
    weights = torch.full((num_components,), 1 / num_components, dtype=torch.float64)
    directions = torch.randn(num_components, d, max(1, local_dim), generator=generator, dtype=torch.float64)
    local_factors = 1.5 * torch.linalg.qr(directions)[0].mT[:, :local_dim]
    local_noise = torch.randn(count, 1, local_dim, generator=generator, dtype=torch.float64)
    latents = means[component] + noise * stddev + (local_noise @ local_factors[component])[:, 0]
    return latents, GaussianMixture(weights, means, stddev.diag(), local_factors)


def covariances(mixture):
    return mixture.scale_tril @ mixture.scale_tril.T + mixture.local_factors.mT @ mixture.local_factors


def log_density(mixture, latents):
    """Return float64 [N], computed by torch.distributions."""
    normals = torch.distributions.MultivariateNormal(mixture.means.double(), covariances(mixture).double())
    components = torch.distributions.Categorical(mixture.weights.double())
    return torch.distributions.MixtureSameFamily(components, normals).log_prob(latents.double())


def make_mixture_prior(local_dim=0):
    _, mixture = make_clusters(1, local_dim=local_dim)
    return Prior.from_mixture(
        ModelConfig(latent_dim=6, prior="mixture", num_components=3, local_dim=local_dim), mixture
    ), mixture


@pytest.mark.parametrize("kind", ["normal", "uniform", "mixture", "local mixture"])
def test_latent_depends_on_its_seed_alone(kind):
    local_dim = 2 * (kind == "local mixture")
    prior = (
        Prior(ModelConfig(latent_dim=6, prior=kind))
        if kind in ("normal", "uniform")
        else make_mixture_prior(local_dim)[0]
    )
    many = prior.sample_seeds(range(20))
    assert torch.equal(prior.sample_seeds([7])[0], many[7])
    assert torch.equal(prior.sample_seeds([19, 7])[1], many[7])
    assert prior.sample_seeds([]).shape == (0, 6)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_simple_priors_have_mean_0_and_variance_1(kind):
    samples = Prior(ModelConfig(latent_dim=16, prior=kind)).sample_seeds(range(4000))
    assert abs(float(samples.mean())) < 0.02
    assert abs(float(samples.var()) - 1) < 0.02
    if kind == "uniform":
        assert samples.abs().max() <= math.sqrt(3)


def test_log_joint_agrees_with_torch_distributions():
    mixture = make_clusters(1)[1]
    latents = torch.randn(5000, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixture = replace(mixture, weights=torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means=mixture.means / 3)
    normals = torch.distributions.MultivariateNormal(mixture.means, covariances(mixture))
    expected = (normals.log_prob(latents[:, None]) + mixture.weights.log()).softmax(1)
    assert expected.amax(1).min() < 0.6, "some responsibilities must be ambiguous"
    torch.testing.assert_close(mixture.log_joint(latents).softmax(1), expected)


@pytest.mark.parametrize("local_dim", [0, 2])
def test_samples_have_the_mixtures_weights_and_covariances(local_dim):
    prior, mixture = make_mixture_prior(local_dim)
    # halved, so that the nearest mean identifies the component
    mixture = replace(mixture, local_factors=mixture.local_factors / 2)
    prior.load_state_dict(
        {**prior.state_dict(), **({"local_factors": mixture.local_factors.float()} if local_dim else {})}
    )
    samples = prior(torch.randn(30_000, prior.noise_dim, generator=torch.Generator().manual_seed(1)))
    nearest = torch.cdist(samples.double(), mixture.means).argmin(1)
    torch.testing.assert_close(nearest.bincount() / len(samples), torch.full((3,), 1 / 3), atol=0.02, rtol=0)
    for k, covariance in enumerate(covariances(mixture)):
        within = samples.double()[nearest == k].T.cov()
        torch.testing.assert_close(within, covariance, atol=0.04, rtol=0)


def test_extreme_noise_selects_the_first_or_last_component():
    prior, mixture = make_mixture_prior()
    noise = torch.zeros(3, prior.noise_dim)
    noise[:, -1] = torch.tensor([-40.0, 0.0, 40.0])
    torch.testing.assert_close(prior(noise), mixture.means.float())


def test_fit_finds_the_clusters():
    latents, mixture = make_clusters(3000)
    shared = fit_em(latents, 12, torch.Generator().manual_seed(0))
    fitted = fit_mixture(latents[:, None].float())
    assert fitted is not None and len(fitted.weights) > 1
    for other in (shared, fitted):
        assert other.weights.sum() == pytest.approx(1)
        assert float((log_density(mixture, latents) - log_density(other, latents)).mean()) < 0.5
    samples = fitted.sample(
        torch.randn(500, 6 + fitted.local_factors.shape[1] + 1, generator=torch.Generator().manual_seed(1))
    )
    distances = torch.cdist(samples.double(), mixture.means).min(1).values
    assert distances.median() < 2 < torch.randn(500, 6).mul(latents.std(0)).norm(dim=1).median(), (
        "samples must lie at the clusters"
    )


def test_memorization_rate_compares_with_other_images_latents():
    references = torch.tensor([[[0.0, 0.0], [0.5, 0.0]], [[4.0, 0.0], [4.0, 0.5]], [[0.0, 9.0], [0.0, 9.5]]])
    queries = torch.tensor([[0.0, 3.4], [0.0, -3.9], [4.0, -3.6], [0.0, 4.4], [-4.5, 0.0], [4.2, 0.2]])
    assert nn_memorization_rate(queries, references) == pytest.approx(3 / 6), (
        "other latents of the same image do not count"
    )
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(2000, 1, 6, generator=generator)
    new_rate = nn_memorization_rate(torch.randn(1000, 6, generator=generator), normal)
    assert nn_memorization_rate(normal[:, 0] + 1e-4, normal) == 1
    assert 0.3 < new_rate < 0.7
    assert nn_memorization_rate(3 * torch.randn(1000, 6, generator=generator), normal) < new_rate / 2


def test_fit_returns_the_finest_mixture_that_does_not_memorize(monkeypatch):
    latents = make_clusters(400, local_dim=2)[0][:, None].float()
    fitted = fit_mixture(latents)
    assert fitted is not None and len(fitted.weights) in [400 // each for each in IMAGES_PER_COMPONENT]
    train, val = latents[torch.arange(400) % 4 > 0], latents[::4, 0]
    val_rate = nn_memorization_rate(val, train)

    def rate(each):
        mixture = fit_em(train[:, 0], 300 // each, torch.Generator().manual_seed(0))
        mixture = add_local_covariances(mixture, train[:, 0])
        return nn_memorization_rate(
            mixture.sample(torch.randn(1024, 13, generator=torch.Generator().manual_seed(0))), train
        )

    chosen = 400 // len(fitted.weights)
    assert rate(chosen) <= MAX_MEMORIZATION_RATIO * val_rate
    assert all(rate(each) > MAX_MEMORIZATION_RATIO * val_rate for each in IMAGES_PER_COMPONENT if each < chosen)
    monkeypatch.setattr("vaegan.models.prior.MAX_MEMORIZATION_RATIO", 0.0)
    assert fit_mixture(latents) is None, "all mixtures memorize too much"


def test_local_covariances_are_found_and_the_total_covariance_stays():
    latents, truth = make_clusters(9000, local_dim=1)
    shared = fit_em(latents, 3, torch.Generator().manual_seed(0))
    local = add_local_covariances(shared, latents)
    assert local.local_factors.shape == (3, min(MAX_LOCAL_DIM, 6), 6)
    assert not local.local_factors.equal(shared.local_factors)

    def total_covariance(mixture):
        each = covariances(mixture) + mixture.means[:, :, None] * mixture.means[:, None]
        return (mixture.weights[:, None, None] * each).sum(0)

    torch.testing.assert_close(total_covariance(local), total_covariance(shared), atol=1e-6, rtol=0)
    for k, mean in enumerate(local.means):
        same = int((truth.means - mean).norm(dim=1).argmin())
        first = local.local_factors[k, 0]
        assert abs(float(first @ truth.local_factors[same, 0])) / float(first.norm()) / 1.5 > 0.98
        largest = LOCAL_COVARIANCE_WEIGHT * float(torch.linalg.eigvalsh(covariances(truth)[same])[-1])
        assert float(first.square().sum()) == pytest.approx(largest, rel=0.1)
    assert log_density(local, latents).mean() > log_density(shared, latents).mean() + 0.2


@pytest.mark.parametrize("num_latents, d", [(600, 16), (600, 32), (1000, 64)])
@pytest.mark.parametrize("fraction, factor", [(0.01, 5), (0.01, 10), (0.02, 8), (0.05, 4)])
def test_outliers_do_not_make_a_covariance_negative(num_latents, d, fraction, factor):
    generator = torch.Generator().manual_seed(1)
    centers = 1.5 * torch.randn(12, d, generator=generator)
    kinds = torch.randint(12, (num_latents,), generator=generator)
    latents = 0.6 * torch.randn(num_latents, d, generator=generator) + centers[kinds]
    latents[torch.rand(num_latents, generator=generator) < fraction] *= factor
    latents = (latents - latents.mean(0)) / latents.std(0)
    for num_components in (6, 60, num_latents // 5):
        shared = fit_em(latents, num_components, torch.Generator().manual_seed(0))
        mixture = add_local_covariances(shared, latents)
        assert float(mixture.weights.sum()) == pytest.approx(1, abs=1e-5)
        assert all(tensor.isfinite().all() for tensor in vars(mixture).values() if isinstance(tensor, torch.Tensor))
        assert float(torch.linalg.eigvalsh(covariances(mixture).double()).min()) > 0


def test_no_mixture_for_one_normal_or_few_latents():
    generator = torch.Generator().manual_seed(0)
    assert fit_mixture(torch.randn(1000, 2, 6, generator=generator)) is None
    assert fit_mixture(make_clusters(30)[0][:, None].float()) is None, "too few latents"


@pytest.mark.parametrize(
    ("prior", "num_components", "local_dim"), [("normal", 2, 0), ("uniform", 2, 0), ("mixture", 1, 0), ("normal", 1, 3)]
)
def test_prior_must_agree_with_its_components(prior, num_components, local_dim):
    message = f"a {prior} prior with {num_components} components and {local_dim} local dimensions"
    with pytest.raises(VaeganError, match=message):
        ModelConfig(prior=prior, num_components=num_components, local_dim=local_dim)
