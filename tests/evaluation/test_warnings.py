"""What an evaluation's numbers warn of."""

import pytest

from vaegan.evaluation.evaluate import REAL_COLUMN, quality_warnings
from vaegan.metrics.prdc import birthday_support_size

HEALTHY = {"memorized_fraction": 0.4, "coverage": 0.93, "frechet_fine": 12.0, "frechet_coarse": 19.0}
REAL_FACES = {"memorized_fraction": 0.4, "coverage": 0.97, "frechet_fine": 9.0, "frechet_coarse": 17.0}


def found(pairs=0, real_pairs=0, n=2000, **samples):
    counted = {"duplicate_pairs": float(pairs), "birthday_support": birthday_support_size(n, pairs)}
    real = {"duplicate_pairs": float(real_pairs), "birthday_support": birthday_support_size(n, real_pairs)}
    return quality_warnings({"samples": HEALTHY | counted | samples, REAL_COLUMN: REAL_FACES | real})


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"memorized_fraction": 0.7}, "memorised: 70% of the samples"),
        ({"coverage": 0.3}, "low coverage: the samples cover 30%"),
        ({"frechet_fine": 120.0}, "fine texture is off"),
        ({"pairs": 400}, "repeated faces: there seem to be only about 4,998 different"),
        ({"pairs": 2000, "real_pairs": 48}, "repeated faces"),
        ({"pairs": 5, "n": 24}, "repeated faces"),
    ],
)
def test_what_is_wrong_is_said(samples, words):
    (text,) = found(**samples)
    assert text.startswith(words)


@pytest.mark.parametrize(
    "samples", [{}, {"pairs": 1}, {"pairs": 30}, {"pairs": 300, "real_pairs": 48}, {"pairs": 1, "n": 24}]
)
def test_what_is_as_with_real_faces_or_by_chance_is_not(samples):
    assert found(**samples) == []


def test_what_could_not_be_measured_is_not_judged():
    assert quality_warnings({"samples": dict.fromkeys(HEALTHY), REAL_COLUMN: dict.fromkeys(REAL_FACES)}) == []
