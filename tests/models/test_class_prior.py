"""The prior of each class: weights of a common mixture's components, or a normal with a shrunk mean."""

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.class_prior import (
    SHRINKAGE_IMAGES,
    class_component_weights,
    class_mean_shifts,
    fit_class_normals,
)
from vaegan.models.prior import GaussianMixture, Prior

D = 4


def two_clusters(counts):
    """Two components far apart, and latents of two classes: class 0 is around the first, class 1 around the second."""
    means = torch.stack([torch.full((D,), -3.0), torch.full((D,), 3.0)])
    mixture = GaussianMixture(torch.tensor([0.7, 0.3]), means, torch.eye(D), torch.empty(2, 0, D))
    class_ids = torch.repeat_interleave(torch.arange(2), torch.tensor(counts))
    noise = torch.randn(len(class_ids), 2, D, generator=torch.Generator().manual_seed(0))
    return mixture, means[class_ids][:, None] + noise, class_ids


def test_a_class_draws_from_the_components_of_its_images_and_few_images_shrink_to_the_common_weights():
    mixture, latents, class_ids = two_clusters((90, 10))
    weights = class_component_weights(mixture, latents, class_ids, 3)
    for number, (count, own) in enumerate(((90, 0), (10, 1))):
        expected = SHRINKAGE_IMAGES * mixture.weights
        expected[own] += count
        torch.testing.assert_close(weights[number], expected / expected.sum(), atol=1e-4, rtol=0)
    torch.testing.assert_close(weights[2], mixture.weights)  # a class without images


def test_normals_of_classes_have_the_total_covariance_and_shrink_noise_away():
    generator = torch.Generator().manual_seed(1)
    class_ids = torch.arange(3).repeat_interleave(400)
    centers = torch.tensor([[0.8, 0, 0, 0], [-0.8, 0, 0, 0], [0.0, 0, 0, 0]])
    latents = torch.randn(1200, D, generator=generator)
    latents[:, 0] *= (1 - centers[:, 0].square().mean()).sqrt()
    latents = (latents + centers[class_ids])[:, None]
    mixture = fit_class_normals(latents, class_ids, 3)
    torch.testing.assert_close(mixture.means[:2, 0], centers[:2, 0], atol=0.12, rtol=0)
    assert mixture.means[2].norm() < latents[800:].mean((0, 1)).norm()  # shrunk
    weighted = mixture.means * mixture.weights[:, None]
    total = mixture.scale_tril @ mixture.scale_tril.T + weighted.T @ mixture.means
    torch.testing.assert_close(total, torch.eye(D), atol=1e-4, rtol=0)


def conditional_prior():
    mixture, latents, class_ids = two_clusters((50, 50))
    config = ModelConfig(32, 3, D, 8, "mixture", 2, classes=("a", "b"), class_label="kind")
    weights = class_component_weights(mixture, latents, class_ids, 2)
    return Prior.from_mixture(
        config,
        mixture,
        class_frequencies=torch.tensor([0.2, 0.8]),
        class_component_weights=weights,
        class_shifts=torch.zeros(2, D),
    )


def test_draws_of_a_class_have_the_mean_of_its_latents():
    """Both components are alike, so p(k | c) cannot tell the classes apart, and the shift has to."""
    generator = torch.Generator().manual_seed(0)
    class_ids = torch.tensor([0] * 900 + [1] * 90)
    latents = 0.6 * torch.randn(990, D, generator=generator)
    latents[:, 1] += torch.where(class_ids == 0, -0.2, 2.0)
    mixture = GaussianMixture(torch.tensor([0.5, 0.5]), torch.zeros(2, D), 0.6 * torch.eye(D), torch.zeros(2, 0, D))
    weights = class_component_weights(mixture, latents[:, None], class_ids, 3)
    shifts = class_mean_shifts(mixture, weights, latents[:, None], class_ids)
    assert shifts.shape == (3, D) and not shifts[2].any(), "a class without images is not moved"
    shrunk = 90 / (90 + SHRINKAGE_IMAGES)
    torch.testing.assert_close(shifts[1], shrunk * latents[900:].mean(0), atol=1e-5, rtol=0)
    config = ModelConfig(32, 3, D, 8, "mixture", 2, classes=("a", "b", "c"), class_label="kind")
    buffers = {"class_frequencies": torch.full((3,), 1 / 3), "class_component_weights": weights}
    prior = Prior.from_mixture(config, mixture, class_shifts=shifts, **buffers)
    noise = torch.randn(4000, prior.noise_dim, generator=generator)
    draws = prior.for_class(1)(noise)
    torch.testing.assert_close(draws.mean(0), shifts[1], atol=0.05, rtol=0)
    torch.testing.assert_close(prior(noise, class_weights=torch.eye(3)[1].expand(4000, -1)), draws)
    torch.testing.assert_close(prior(noise), draws - shifts[1])


def test_seeds_draw_from_the_class_that_is_asked_for():
    prior = conditional_prior()
    one_hot = torch.eye(2)
    signs = [
        prior.sample_seeds(range(300), class_weights=one_hot[number].expand(300, -1)).mean(1).sign()
        for number in (0, 1)
    ]
    shares = [float((sign == side).float().mean()) for sign, side in zip(signs, (-1, 1), strict=True)]
    assert min(shares) > 0.85
    for number in (0, 1):
        expected = prior.sample_seeds(range(20), class_weights=one_hot[number].expand(20, -1))
        assert torch.equal(prior.for_class(number).sample_seeds(range(20)), expected)


def test_the_class_of_a_seed_is_drawn_by_the_frequencies_and_not_by_its_latent():
    prior = conditional_prior()
    classes = prior.sample_classes(range(2000))
    assert float(classes.float().mean()) == pytest.approx(0.8, abs=0.03)
    assert torch.equal(prior.sample_classes([7, 1999]), classes[[7, 1999]])
    noise = torch.stack([torch.randn(1, generator=torch.Generator().manual_seed(seed))[0] for seed in range(2000)])
    assert abs(float(torch.corrcoef(torch.stack([noise, classes.float()]))[0, 1])) < 0.07


@pytest.mark.parametrize(
    "values",
    [
        {"classes": ("a",), "class_label": "kind"},
        {"classes": ("a", "a"), "class_label": "kind"},
        {"classes": ("a", "")},
        {"classes": ("a", "b")},
        {"class_label": "kind"},
        {"classes": ("a", "b\n"), "class_label": "kind"},
        {"classes": tuple(map(str, range(101))), "class_label": "kind"},
    ],
)
def test_impossible_classes_are_refused(values):
    with pytest.raises(VaeganError, match="expected a label and 2 to 100 different names, or neither"):
        ModelConfig(**values)


def test_an_unconditional_config_is_saved_without_classes():
    assert ModelConfig().to_json().keys() == {*vars(ModelConfig())} - {
        *("classes", "class_label"),
        *("leading_dim", "num_references", "num_groups", "group_dim", "num_color_layers", "modulation_dim"),
        "skip_channels",
    }
    assert ModelConfig(classes=("a", "b"), class_label="kind").to_json()["classes"] == ("a", "b")
