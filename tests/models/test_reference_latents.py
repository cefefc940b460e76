"""Priors whose mixture describes the leading latents only: the trailing ones come from training images."""

from dataclasses import replace

import pytest
import torch

from vaegan.config.model_config import MAX_REFERENCES, ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.latent_completion import NUM_NEIGHBORS, best_references, complete_latents, nearest_offsets
from vaegan.models.prior import GaussianMixture, Prior, fit_components, nn_memorization_rate, standard_noise
from vaegan.models.reference_latents import _choose_references, balanced_offsets, fit_leading_mixture

DIM, LEADING = 48, 16


def make_dependent_latents(count, seed=0):
    """Latents [count, 1, 48]: the first is the logarithm of the spread of the last 32, as of a blurred face."""
    generator = torch.Generator().manual_seed(seed)
    leading = torch.randn(count, 4, generator=generator).repeat(1, LEADING // 4)  # four numbers that differ
    leading += 0.1 * torch.randn(count, LEADING, generator=generator)
    trailing = leading[:, :1].exp() * torch.randn(count, DIM - LEADING, generator=generator)
    return torch.cat([leading, trailing], 1)[:, None]


def dependence(latents):
    """Correlation of the first latent with the logarithm of the last ones' spread."""
    spread = latents[:, LEADING:].square().mean(1).log()
    return float(torch.corrcoef(torch.stack([latents[:, 0], spread]))[0, 1])


def axis_scales():
    """Leading latents change the image ten times as much."""
    return torch.cat([torch.ones(LEADING), torch.full((DIM - LEADING,), 0.1)])


def reference_prior(count=30, dim=6, leading=2):
    generator = torch.Generator().manual_seed(3)
    references = torch.randn(count, dim, generator=generator)
    mixture = fit_components(references[:, None, :leading], 2, 0)
    config = ModelConfig(
        latent_dim=dim,
        prior="mixture",
        num_components=2,
        local_dim=mixture.local_factors.shape[1],
        leading_dim=leading,
        num_references=count,
    )
    offsets = balanced_offsets(mixture, references, 0)
    return Prior.from_mixture(config, mixture, references=references, reference_offsets=offsets), references, offsets


@pytest.mark.parametrize(("noise", "second"), [(-40.0, 1), (-0.3, 2), (0.3, 3), (40.0, 4)])
def test_trailing_latents_are_a_blend_of_the_nearest_references(noise, second):
    references = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    leading = references[7:8, :2] + 1e-3
    order = torch.cdist(leading, references[:, :2])[0].argsort()
    assert order[0] == 7
    completed = complete_latents(leading, references, nearest_offsets(references[:, :2]), torch.tensor([noise]))
    assert torch.equal(completed[:, :2], leading)
    expected = 0.8 * references[7, 2:] + 0.6 * references[order[second], 2:]
    torch.testing.assert_close(completed[0, 2:], expected)


def test_the_reference_that_fits_best_depends_on_its_offset():
    leading, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.9, 0.0], [0.0, 9.0]])
    assert best_references(leading, keys, nearest_offsets(keys), count=4).tolist() == [[0, 2, 1, 3]]
    assert best_references(leading, keys, torch.zeros(4), count=2).tolist() == [[1, 0]]
    assert best_references(leading, keys, torch.tensor([0.0, 0.0, 0.0, 5.0]), count=1).tolist() == [[3]]


def make_latents_of_varying_contrast(count, seed=0):
    """Latents [count, 1, 48] whose length differs from image to image, in all parts alike."""
    generator = torch.Generator().manual_seed(seed)
    contrast = (0.7 * torch.randn(count, 1, generator=generator)).exp()
    latents = contrast * torch.randn(count, DIM, generator=generator)
    return (latents / latents.std(0))[:, None]


def test_all_references_are_chosen_about_equally_often_and_details_keep_their_variance():
    latents = make_latents_of_varying_contrast(2000)
    references = latents[:, 0]
    mixture = fit_components(latents[:, :, :LEADING], 10, 0)
    leading = mixture.sample(standard_noise(8000, mixture, 1))
    noise = torch.randn(8000, generator=torch.Generator().manual_seed(2))
    shares, variances = [], []
    for offsets in (nearest_offsets(references[:, :LEADING]), balanced_offsets(mixture, references, 0)):
        uses = best_references(leading, references[:, :LEADING], offsets, count=1)[:, 0].bincount(minlength=2000)
        shares.append(float(uses.sort(descending=True).values[:20].sum()) / 8000)  # of the top hundredth
        variances.append(float(complete_latents(leading, references, offsets, noise)[:, LEADING:].var()))
    assert shares[1] < 0.75 * shares[0] and shares[1] < 0.035  # 0.025 by chance alone
    assert variances[0] < 0.6 and variances[1] == pytest.approx(1, abs=0.05)


def test_balancing_is_deterministic():
    _, references, offsets = reference_prior()
    assert torch.equal(reference_prior()[2], offsets) and offsets.shape == (len(references),)


def test_the_blend_keeps_mean_and_variance():
    references = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    leading, noise = torch.randn(4000, 4, generator=generator), torch.randn(4000, generator=generator)
    completed = complete_latents(leading, references, nearest_offsets(references[:, :4]), noise)
    assert float(completed[:, 4:].mean().abs()) < 0.05
    assert float(completed[:, 4:].var()) == pytest.approx(1, abs=0.06)


def test_samples_of_the_fit_keep_what_depends_on_the_leading_latents(monkeypatch):
    latents = make_dependent_latents(3000)
    monkeypatch.setattr("vaegan.models.reference_latents.find_groups", lambda leading, seed: [])
    fitted = fit_leading_mixture(latents, 10, axis_scales())
    assert fitted is not None
    mixture, references, offsets, rows, *_ = fitted
    k = mixture.means.shape[1]
    assert k in (LEADING, DIM // 2) and len(mixture.means) == 10
    assert torch.equal(rows, torch.arange(3000)) and torch.equal(references[:, :k], latents[:, 0, :k])
    factors = references[:, k:] / latents[:, 0, k:]
    torch.testing.assert_close(factors, factors.mean().expand_as(factors))  # one factor, so that the variance is kept
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(5))
    samples = complete_latents(mixture.sample(standard_noise(1000, mixture, 4)), references, offsets, noise)
    assert float(samples[:, k:].var()) == pytest.approx(float(latents[:, :, k:].var()), rel=0.1)
    plain_mixture = fit_components(latents, 10, 0)
    plain = plain_mixture.sample(standard_noise(1000, plain_mixture, 4))
    assert dependence(latents[:, 0]) > 0.95
    assert dependence(samples) > dependence(plain) + 0.2
    scaled = latents * axis_scales()
    new = make_dependent_latents(1000, seed=1)[:, 0]
    rate, new_rate = (nn_memorization_rate(each * axis_scales(), scaled) for each in (samples, new))
    assert rate <= 2 * new_rate


def test_fewer_components_are_tried_where_samples_would_repeat_images(monkeypatch):
    latents, accepted = make_dependent_latents(600), []

    def rate_of_fine_mixtures(queries, references):
        return 1.0 if len(accepted) > 1 else 0.1

    def record(rows, num_components, seed):
        accepted.append(num_components)
        return fit_components(rows, num_components, seed)

    monkeypatch.setattr("vaegan.models.reference_latents.nn_memorization_rate", rate_of_fine_mixtures)
    monkeypatch.setattr("vaegan.models.reference_latents.fit_components", record)
    assert fit_leading_mixture(latents, 300, axis_scales()) is not None
    assert accepted == [225, 225, 300]  # the second number of leading latents is refused

    rates = iter([0.1, 1.0, 1.0, 0.1, 0.1, 1.0])  # of new images, then of samples
    monkeypatch.setattr("vaegan.models.reference_latents.nn_memorization_rate", lambda queries, references: next(rates))
    accepted.clear()
    assert len(fit_leading_mixture(latents, 300, axis_scales())[0].means) == 120
    assert accepted[:3] == [225, 150, 90]  # two, three and five images per component of three quarters

    rates = iter([0.1] + 9 * [1.0])
    accepted.clear()
    assert fit_leading_mixture(latents, 300, axis_scales()) is None
    assert accepted == [225, 150, 90]


def test_no_leading_latents_where_samples_would_repeat_images(monkeypatch):
    latents = make_dependent_latents(2000)
    assert fit_leading_mixture(latents, 10, axis_scales()) is not None
    monkeypatch.setattr("vaegan.models.reference_latents.MAX_REFERENCE_MEMORIZATION_RATIO", 0.0)
    assert fit_leading_mixture(latents, 10, axis_scales()) is None


def test_only_what_changes_the_image_decides_what_a_copy_is():
    latents = torch.randn(600, 1, DIM, generator=torch.Generator().manual_seed(1))
    is_leading = torch.arange(DIM) < LEADING
    fitted = fit_leading_mixture(latents, 6, is_leading.float())
    assert fitted is not None and fitted[0].means.shape == (6, LEADING)
    copied = fit_leading_mixture(latents, 6, (~is_leading).float())
    assert copied is None or copied[0].means.shape[1] > LEADING


def test_few_latents_have_no_details():
    latents = torch.randn(200, 2, 12, generator=torch.Generator().manual_seed(0))
    assert fit_leading_mixture(latents, 4, torch.ones(12)) is None


@pytest.mark.parametrize(("images", "draws"), [(100, 2), (5000, 2), (9000, 2)])
def test_references_are_of_as_many_images_as_possible(images, draws):
    latents = torch.arange(images * draws, dtype=torch.float32).view(images, draws, 1)
    references, rows = _choose_references(latents)
    assert torch.equal(rows, (references[:, 0] // draws).long())
    assert len(references) == min(images * draws, MAX_REFERENCES)
    assert len(references.unique()) == len(references)
    assert len((references // draws).unique()) == min(images, MAX_REFERENCES)


def test_a_latent_depends_on_its_seed_alone():
    prior, references, offsets = reference_prior()
    many = prior.sample_seeds(range(20))
    assert many.shape == (20, 6)
    assert torch.equal(prior.sample_seeds([7])[0], many[7])
    assert torch.equal(prior.sample_seeds([19, 7])[1], many[7])
    several = prior.sample_seeds(range(600))  # more than are searched at once
    for seed in (0, 255, 256, 599):
        assert torch.equal(prior.sample_seeds([seed])[0], several[seed])
        noise = torch.randn(1, prior.noise_dim, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(prior(noise)[0], several[seed])
    noise = torch.randn(5, prior.noise_dim, generator=torch.Generator().manual_seed(0))
    assert prior.noise_dim == 6 + prior.local_dim + 1
    leading = prior.mixture().sample(torch.cat([noise[:, :2], noise[:, 6:]], 1))
    torch.testing.assert_close(prior(noise), complete_latents(leading, references, offsets, noise[:, 2]))


def test_truncation_moves_the_leading_latents_and_the_details_stay_real():
    prior, references, offsets = reference_prior()
    noise = torch.randn(40, prior.noise_dim, generator=torch.Generator().manual_seed(0))
    still = prior(noise, truncation=0.0)
    means = prior.means[(torch.cdist(still[:, :2], prior.means)).argmin(1)]
    torch.testing.assert_close(still[:, :2], means)
    torch.testing.assert_close(still, complete_latents(still[:, :2], references, offsets, noise[:, 2]))


def test_the_file_of_a_model_without_references_does_not_mention_them():
    plain = ModelConfig(latent_dim=8, prior="mixture", num_components=3, local_dim=2)
    assert {"leading_dim", "num_references"}.isdisjoint(plain.to_json())
    with_references = replace(plain, leading_dim=4, num_references=50)
    assert with_references.to_json()["num_references"] == 50
    assert with_references.with_normal_prior() == ModelConfig(latent_dim=8)


@pytest.mark.parametrize(
    "sizes",
    [
        {"prior": "mixture", "num_components": 3, "leading_dim": 4},
        {"prior": "mixture", "num_components": 3, "num_references": 50},
        {"prior": "mixture", "num_components": 3, "leading_dim": 8, "num_references": 50},
        {"prior": "mixture", "num_components": 3, "leading_dim": 4, "num_references": NUM_NEIGHBORS - 1},
        {"prior": "normal", "leading_dim": 4, "num_references": 50},
    ],
)
def test_references_must_agree_with_the_prior(sizes):
    with pytest.raises(VaeganError, match="references cannot be built"):
        ModelConfig(latent_dim=8, **sizes)


def test_the_mixture_of_a_prior_is_that_it_was_made_from():
    prior, references, _ = reference_prior()
    mixture = fit_components(references[:, None, :2], 2, 0)
    assert isinstance(prior.mixture(), GaussianMixture)
    for name, tensor in vars(prior.mixture()).items():
        assert torch.equal(tensor, vars(mixture)[name])
