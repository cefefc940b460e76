"""Metrics rank real images above degraded ones, and diverse images above few different ones."""

import pytest
import torch

from benchmarks import degradations
from vaegan.data.dataset import open_dataset

SEEDS = (0, 1, 2)
DISTANCES = ("frechet_mean", "kid_mean")


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def metrics(request, evaluated):
    """Metrics of real and of degraded images, for one random choice of images."""
    reference, seed = evaluated.evaluator.reference, request.param
    train, _ = open_dataset(evaluated.evaluator.dataset.path).load()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    real = train[order[:256]]
    hair_styles = [evaluated.hair_styles[row] for row in order.tolist()]
    image_sets = {
        "real": real,
        "noise": degradations.add_noise(real, seed),
        "blur": degradations.blur(real),
        "checkerboard": degradations.add_checkerboard(real),
        "fringes": degradations.add_color_fringes(real),
        "watercolor": degradations.paint_watercolor(real, seed),
        "contrast": degradations.increase_contrast(real),
        "hue": degradations.rotate_hue(real),
        "dropped": degradations.drop_classes(train[order], hair_styles, 256, seed),
        "one": real[:1].expand_as(real),
    }
    return {name: reference.compute_metrics(reference.extract_features(images)) for name, images in image_sets.items()}


def assert_rising(metrics, metric_name, names):
    values = [metrics[name][metric_name] for name in names]
    assert values == sorted(values) and len(set(values)) == len(values), dict(zip(names, values, strict=True))


@pytest.mark.parametrize("metric_name", DISTANCES)
@pytest.mark.parametrize(
    "names",
    [
        ("real", "noise", "blur"),
        ("real", "checkerboard"),
        ("real", "fringes"),
        ("real", "watercolor"),
        ("real", "contrast"),
        ("real", "hue"),
        ("real", "dropped", "one"),
    ],
    ids=" < ".join,
)
def test_distances_rise(metrics, metric_name, names):
    assert_rising(metrics, metric_name, names)


def test_faint_degradations_change_the_metric_of_their_scale(metrics):
    assert metrics["checkerboard"]["frechet_fine"] > 1.1 * metrics["real"]["frechet_fine"]
    assert metrics["checkerboard"]["frechet_coarse"] < 1.05 * metrics["real"]["frechet_coarse"]
    assert metrics["contrast"]["channel_deviation"] > 3 * metrics["real"]["channel_deviation"]
    assert_rising(metrics, "channel_mean", ("real", "hue"))
    assert_rising(metrics, "sliced_wasserstein_0", ("real", "checkerboard", "blur"))


def test_flatness_sees_noise_blotches_and_fringes(metrics):
    assert_rising(metrics, "luminance_deviation", ("real", "watercolor", "noise"))
    assert_rising(metrics, "chroma_deviation", ("real", "watercolor", "noise"))
    assert_rising(metrics, "chroma_deviation", ("real", "fringes"))
    assert metrics["blur"]["luminance_deviation"] < 3 * metrics["real"]["luminance_deviation"] + 3


def test_band_powers_see_blur_and_noise(metrics):
    assert metrics["real"]["power_high"] == pytest.approx(1, abs=0.15)
    assert_rising(metrics, "power_high", ("blur", "real", "noise"))
    assert metrics["blur"]["power_low"] < 0.5 < metrics["real"]["power_low"] < 2
    for band in ("low", "middle", "high"):  # blotches are coarser than all bands
        assert metrics["watercolor"][f"power_{band}"] == pytest.approx(metrics["real"][f"power_{band}"], rel=0.3)


def test_learned_features_measure_missing_modes(metrics):
    assert_rising(metrics, "frechet_learned", ("real", "dropped", "one"))
    assert_rising(metrics, "frechet_learned", ("real", "blur"))
    assert_rising(metrics, "ndb_over_k", ("real", "one"))


def test_one_repeated_image_has_no_coverage_and_recall(metrics):
    assert metrics["one"]["coverage"] < 0.1 and metrics["one"]["recall"] < 0.1
    assert metrics["real"]["coverage"] > 0.85 and metrics["real"]["recall"] > 0.7
    assert metrics["one"]["birthday_support"] < 2 < 100 < metrics["real"]["birthday_support"]


def test_training_images_are_memorized_and_validation_images_are_not(evaluated):
    reference = evaluated.evaluator.reference
    copies = reference.extract_features(reference.train_images[:64].flip(-1))
    new = reference.compute_metrics(reference.extract_features(reference.val.images))
    assert reference.compute_metrics(copies)["memorized_fraction"] == 1.0
    assert new["memorized_fraction"] < 0.7
    assert new["memorized_fraction"] == reference.compute_metrics(reference.real_baseline)["memorized_fraction"]
