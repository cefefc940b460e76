"""Warnings about the metrics of an evaluation."""

import pytest
import torch

from vaegan.evaluation.evaluate import UNSTABLE_METRICS, Evaluator, evaluation_warnings
from vaegan.events import ignore_event
from vaegan.metrics.prdc import birthday_support_size

GOOD_SAMPLES = {"memorized_fraction": 0.4, "coverage": 0.93, "frechet_fine": 12.0, "frechet_coarse": 19.0}
REAL_IMAGES = {"memorized_fraction": 0.4, "coverage": 0.97, "frechet_fine": 9.0, "frechet_coarse": 17.0}


def warnings_for(pairs=0, real_pairs=0, n=2000, **samples):
    duplicates = {"duplicate_pairs": float(pairs), "birthday_support": birthday_support_size(n, pairs)}
    real_duplicates = {"duplicate_pairs": float(real_pairs), "birthday_support": birthday_support_size(n, real_pairs)}
    return evaluation_warnings(GOOD_SAMPLES | duplicates | samples, REAL_IMAGES | real_duplicates)


@pytest.mark.parametrize(
    ("samples", "start"),
    [
        ({"memorized_fraction": 0.7}, "memorization: 70% of the samples"),
        ({"coverage": 0.3}, "low coverage: the samples cover 30%"),
        ({"frechet_fine": 120.0}, "fine texture is off"),
        ({"pairs": 400}, "duplicate samples: only about 4,998 of them are different"),
        ({"pairs": 2000, "real_pairs": 48}, "duplicate samples"),
        ({"pairs": 5, "n": 24}, "duplicate samples"),
    ],
)
def test_samples_worse_than_real_images_give_a_warning(samples, start):
    (text,) = warnings_for(**samples)
    assert text.startswith(start)


@pytest.mark.parametrize(
    "samples", [{}, {"pairs": 1}, {"pairs": 30}, {"pairs": 300, "real_pairs": 48}, {"pairs": 1, "n": 24}]
)
def test_values_of_real_images_and_chance_give_no_warning(samples):
    assert warnings_for(**samples) == []


def test_metrics_that_could_not_be_measured_give_no_warning():
    assert evaluation_warnings(dict.fromkeys(GOOD_SAMPLES), dict.fromkeys(REAL_IMAGES)) == []


def test_small_sets_leave_out_what_rates_noise_as_real(evaluated, monkeypatch):
    evaluator = evaluated.evaluator  # of 600 faces
    assert evaluator.is_small and "small dataset, 600 images" in evaluator.caution
    real = evaluator.real_metrics()
    assert all(real[name] is None for name in UNSTABLE_METRICS)
    assert real["frechet_mean"] is not None and real["coverage_fine"] is not None and real["density"] is not None
    noise = torch.randint(0, 256, evaluator.reference.real_baseline.images.shape).to(torch.uint8)
    metrics = evaluator.compute_metrics(evaluator.reference.extract_features(noise))
    (warning,) = [text for text in evaluation_warnings(metrics, real) if text.startswith("low coverage:")]
    assert "cover 0%" in warning
    monkeypatch.setattr("vaegan.evaluation.evaluate.MIN_IMAGES_FOR_NEIGHBORS", 500)
    whole = Evaluator(evaluator.dataset, evaluator.settings, evaluator.device, None, ignore_event)
    assert whole.caution == "" and whole.real_metrics()["precision"] is not None
