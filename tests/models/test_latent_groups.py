"""Groups of latents that are recombined from training images."""

import math
from dataclasses import replace

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.errors import VaeganError
from vaegan.models.latent_completion import complete_latents, nearest_offsets
from vaegan.models.latent_groups import (
    GROUP_SIZES,
    find_groups,
    group_by_information,
    independent_axes,
    mutual_information,
    recombine,
    recombine_seeds,
)
from vaegan.models.prior import Prior, standard_noise
from vaegan.models.reference_latents import fit_leading_mixture

NUM_PALETTES, LEADING, DIM = 4, 20, 40
"""Latents of 4 palettes of 7 colors, 2 latents each, and 12 normal ones; 20 more are details."""


def make_palette_latents(count, seed=0):
    """Latents [count, 40] of unit variance, and the rotation [20, 20] of the leading ones."""
    generator = torch.Generator().manual_seed(seed)
    angles = torch.randint(0, 7, (count, NUM_PALETTES), generator=generator) * (2 * torch.pi / 7)
    colors = 2**0.5 * torch.stack([angles.cos(), angles.sin()], 2).flatten(1)
    latents = torch.cat([colors, torch.randn(count, DIM - 2 * NUM_PALETTES, generator=generator)], 1)
    latents[:, : 2 * NUM_PALETTES] += 0.05 * torch.randn(count, 2 * NUM_PALETTES, generator=generator)
    rotation = torch.linalg.qr(torch.randn(LEADING, LEADING, generator=torch.Generator().manual_seed(9))).Q
    return torch.cat([latents[:, :LEADING] @ rotation, latents[:, LEADING:]], 1), rotation


def distance_from_palettes(latents, rotation):
    """Mean distance of a latent's colors from the nearest color of their palette; colors lie 1.2 apart."""
    colors = (latents[:, :LEADING] @ rotation.T)[:, : 2 * NUM_PALETTES].unflatten(1, (NUM_PALETTES, 2))
    angles = torch.arange(7) * (2 * torch.pi / 7)
    palette = 2**0.5 * torch.stack([angles.cos(), angles.sin()], 1)
    return float(torch.cdist(colors, palette.expand(len(colors), 7, 2)).min(2).values.mean())


def make_axes(dim, sizes, generator):
    """Random orthonormal axes [G, dim, s] of groups of these sizes."""
    columns = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q.split(sizes, 1)
    return torch.stack([torch.nn.functional.pad(each, (0, max(sizes) - each.shape[1])) for each in columns])


def test_each_group_is_that_of_the_reference_nearest_in_it():
    generator = torch.Generator().manual_seed(0)
    references, leading = (torch.randn(count, dim, generator=generator) for count, dim in ((60, 7), (30, 5)))
    axes = make_axes(5, [2, 3], generator)
    offsets = torch.stack([nearest_offsets(references[:, :5] @ each) for each in axes])
    recombined = recombine(leading, references, axes, offsets)
    for each in axes:
        keys = references[:, :5] @ each
        torch.testing.assert_close(recombined @ each, keys[torch.cdist(leading @ each, keys).argmin(1)])
    torch.testing.assert_close(recombine_seeds(leading, references, axes, offsets), recombined)


def test_latents_of_seeds_do_not_depend_on_their_number():
    generator = torch.Generator().manual_seed(0)
    leading, references = torch.randn(300, 4, generator=generator), torch.randn(50, 6, generator=generator)
    axes, offsets = make_axes(4, [2, 2], generator), torch.zeros(2, 50)
    together = recombine_seeds(leading, references, axes, offsets)
    apart = [recombine_seeds(leading[row : row + 1], references, axes, offsets) for row in (0, 255, 256, 299)]
    assert torch.equal(torch.cat(apart), together[[0, 255, 256, 299]])
    assert recombine_seeds(leading[:0], references, axes, offsets).shape == (0, 4)


def test_palettes_are_found():
    latents, rotation = make_palette_latents(4000)
    splits = find_groups(latents[:, None, :LEADING])
    assert [axes.shape[2] <= size for axes, size in zip(splits, GROUP_SIZES, strict=True)] == [True, True]
    for axes in splits:
        projections = axes @ axes.transpose(1, 2)
        torch.testing.assert_close(projections.sum(0), torch.eye(LEADING), atol=1e-4, rtol=0)
        for palette in rotation[: 2 * NUM_PALETTES].unflatten(0, (NUM_PALETTES, 2)):
            shares = (palette @ projections).square().sum((1, 2)) / 2  # of the plane, within each group
            assert float(shares.max()) > 0.95
    assert find_groups(latents[:1000, None, :LEADING]) == []


def test_all_draws_of_an_image_count():
    """Only the second draws have palettes."""
    latents, _ = make_palette_latents(8192)
    normal = torch.randn(8192, LEADING, generator=torch.Generator().manual_seed(1))
    assert find_groups(torch.stack([normal, latents[:, :LEADING]], 1))


def test_latents_without_clusters_have_no_groups():
    normal = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert find_groups(normal[:, None]) == []
    spread = normal * (0.3 * normal[:, :1]).exp()  # dependent, but in one cluster
    assert find_groups((spread / spread.std(0))[:, None]) == []


def test_groups_that_depend_on_each_other_are_refused():
    """All of the 20 latents are on a ring or off it together, so no two groups of them are independent."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (4000, LEADING), generator=generator) * 2.0 - 1
    is_large = torch.randint(0, 2, (4000, 1), generator=generator)
    latents = signs * torch.where(is_large == 1, 1.4, 0.2) + 0.02 * torch.randn(4000, LEADING, generator=generator)
    assert float(mutual_information(latents).max()) > 0.1
    assert find_groups(latents[:, None]) == []


def test_independent_axes_undo_a_rotation():
    generator = torch.Generator().manual_seed(0)
    sources = torch.rand(8000, 6, generator=generator) * 12**0.5 - 3**0.5
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    axes = independent_axes(sources @ rotation)
    torch.testing.assert_close(axes.T @ axes, torch.eye(6), atol=1e-5, rtol=0)
    assert bool(((rotation @ axes).abs().max(1).values > 0.99).all())


def test_mutual_information_of_normals_is_that_of_their_correlation():
    generator, correlation = torch.Generator().manual_seed(0), 0.6
    first, second, third = torch.randn(3, 100_000, generator=generator)
    information = mutual_information(torch.stack([first, correlation * first + 0.8 * second, third], 1))
    assert float(information[0, 1]) == pytest.approx(-0.5 * math.log(1 - correlation**2), rel=0.1)
    assert abs(float(information[0, 2])) < 1e-3 and information.diagonal().tolist() == [0, 0, 0]


def test_components_that_depend_on_each_other_are_joined_first():
    information = torch.zeros(5, 5)
    for (a, b), value in {(0, 3): 0.5, (1, 4): 0.4, (3, 4): 0.3}.items():
        information[a, b] = information[b, a] = value
    assert sorted(sorted(group) for group in group_by_information(information, 2)) == [[0, 3], [1, 4], [2]]
    assert sorted(sorted(group) for group in group_by_information(information, 4)) == [[0, 1, 3, 4], [2]]
    assert [sorted(group) for group in group_by_information(information, 5)] == [[0, 1, 2, 3, 4]]


def fit(latents):
    scales = torch.cat([torch.ones(LEADING), torch.full((DIM - LEADING,), 0.1)])
    return fit_leading_mixture(latents[:, None], 100, scales)


def test_recombined_samples_have_the_colors_of_palettes_and_are_no_copies():
    latents, rotation = make_palette_latents(4000)
    fitted = fit(latents)
    assert fitted is not None and fitted.group_axes is not None and len(fitted.group_offsets) > 1
    config = ModelConfig(
        latent_dim=DIM,
        prior="mixture",
        num_components=len(fitted.mixture.means),
        local_dim=fitted.mixture.local_factors.shape[1],
        leading_dim=LEADING,
        num_references=len(fitted.references),
        num_groups=len(fitted.group_axes),
        group_dim=fitted.group_axes.shape[2],
    )
    buffers = fitted._asdict()
    prior = Prior.from_mixture(config, **{name: buffers[name] for name in buffers if name != "reference_rows"})
    noise = standard_noise(2000, fitted.mixture, 1)
    drawn = fitted.mixture.sample(noise)
    prior_noise = torch.cat([noise[:, :LEADING], torch.randn(2000, DIM - LEADING), noise[:, LEADING:]], 1)
    samples = prior(prior_noise)
    assert distance_from_palettes(samples, rotation) < 0.15 < 0.3 < distance_from_palettes(drawn, rotation)
    colors = (samples[:, :LEADING] @ rotation.T)[:, : 2 * NUM_PALETTES].round(decimals=0)
    known = (latents[:, :LEADING] @ rotation.T)[:, : 2 * NUM_PALETTES].round(decimals=0)
    assert len(torch.cat([colors, known]).unique(dim=0)) > len(known.unique(dim=0)), "new combinations"
    assert float(samples[:, :LEADING].var()) == pytest.approx(1, abs=0.15)

    expected = recombine(drawn, fitted.references, fitted.group_axes, fitted.group_offsets)
    select = prior_noise[:, LEADING]
    torch.testing.assert_close(
        samples, complete_latents(expected, fitted.references, fitted.reference_offsets, select), atol=1e-4, rtol=1e-4
    )
    mean, half = (prior(prior_noise, truncation=value)[:, :LEADING] for value in (0.0, 0.5))
    component_means = fitted.mixture.sample(noise, truncation=0.0)
    torch.testing.assert_close(mean, component_means, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(half, (component_means + samples[:, :LEADING]) / 2, atol=1e-4, rtol=1e-4)
    seeds = prior.sample_seeds(range(20))
    halves = prior.sample_seeds(range(20), truncation=0.5) - prior.sample_seeds(range(20), truncation=0.0)
    torch.testing.assert_close(
        2 * halves[:, :LEADING], (seeds - prior.sample_seeds(range(20), truncation=0.0))[:, :LEADING]
    )
    assert prior.sample_seeds([]).shape == (0, DIM)
    assert distance_from_palettes(seeds, rotation) < 0.15
    assert torch.equal(prior.sample_seeds([7]), seeds[7:8])


def test_groups_that_repeat_training_images_are_refused(monkeypatch):
    latents, _ = make_palette_latents(3000)
    rates = iter([0.1, 0.1, 0.2, 0.1])  # of new images, the mixture, groups of 16 and of 8
    monkeypatch.setattr("vaegan.models.reference_latents.LEADING_FRACTIONS", (1 / 2,))
    monkeypatch.setattr("vaegan.models.reference_latents.nn_memorization_rate", lambda queries, references: next(rates))
    axes = fit(latents).group_axes
    assert axes.shape[2] <= 8 and int(axes.any(1).sum()) == LEADING
    rates = iter([0.1, 0.1, 0.2, 0.2])
    assert fit(latents).group_axes is None


def test_a_config_states_its_groups():
    sizes = {"latent_dim": 8, "prior": "mixture", "num_components": 3, "leading_dim": 4, "num_references": 50}
    config = ModelConfig(num_groups=2, group_dim=3, **sizes)
    assert config.to_json()["num_groups"] == 2 and config.to_json()["group_dim"] == 3
    assert {"num_groups", "group_dim"}.isdisjoint(ModelConfig(**sizes).to_json())
    assert (config.with_normal_prior().num_groups, config.with_normal_prior().group_dim) == (0, 0)
    shapes = {name: tuple(buffer.shape) for name, buffer in Prior(config).named_buffers() if "group" in name}
    assert shapes == {"group_axes": (2, 4, 3), "group_offsets": (2, 50)}
    no_references = {"leading_dim": 0, "num_references": 0}
    for values in ({"num_groups": 1}, {"num_groups": 5}, {"group_dim": 4}, {"group_dim": 1}, no_references):
        with pytest.raises(VaeganError, match="expected at least 2 groups that hold all latents, or none"):
            replace(config, **values)
