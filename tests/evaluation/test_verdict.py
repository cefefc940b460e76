"""Sentences about an evaluation, for the numbers of the demo and for what can go wrong."""

import pytest

from vaegan.evaluation.verdict import advice, make_verdict

REAL = {
    **{"kid_coarse": -0.0003, "kid_fine": 0.0003, "kid_mean": 0.0001, "coverage": 0.97, "coverage_fine": 0.98},
    **{"memorized_fraction": 0.45, "power_high": 0.95, "luminance_deviation": 2.1},
}
DEMO_GAN = {
    **{"kid_coarse": 0.0091, "kid_fine": 0.0311, "kid_mean": 0.0187, "coverage": 0.93, "coverage_fine": 0.89},
    **{"memorized_fraction": 0.19, "power_high": 0.26, "luminance_deviation": 5.3},
}
DEMO_VAE = DEMO_GAN | {"kid_coarse": 0.075, "kid_fine": 0.34, "kid_mean": 0.2058, "luminance_deviation": 2.2}


def test_the_demos_gan():
    assert make_verdict(DEMO_GAN, REAL, DEMO_VAE) == [
        "Variety: as varied as real images. The samples cover 93% of the validation images, real ones 97%.",
        "Shapes: as in real images, with a KID x1000 of 9.1, real images -0.3.",
        "Texture: visibly off, with a KID x1000 of 31.1, real images 0.3. 27% of the finest detail of real images:"
        " blurred; 2.5 times their noise in calm areas.",
        "Copies: none to be seen, samples are no nearer to training images than new real images are.",
        "Against its VAE: better, KID x1000 18.7 and 205.8, real images 0.1.",
    ]
    assert advice(DEMO_GAN).startswith("train longer")


def test_real_images_need_no_advice():
    verdict = make_verdict(REAL, REAL)
    assert len(verdict) == 4 and "as varied as real" in verdict[0]
    assert all("as in real images" in sentence for sentence in verdict[1:3])
    assert advice(REAL) == ""


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"coverage": 0.7}, "Variety: some kinds of images are missing."),
        ({"coverage": 0.2}, "Variety: many kinds of images are missing"),
        ({"coverage": None, "coverage_fine": 0.1}, "cover 10% of the validation images, real ones 98%"),
        ({"coverage": None, "coverage_fine": 1.0, "kid_coarse": 3.0}, "Variety: not known."),
        ({"coverage": 0.2, "kid_coarse": 3.0}, "Variety: many kinds of images are missing"),
        ({"coverage": 0.9, "kid_coarse": 0.2, "kid_coarse_stderr": 0.2}, "Variety: as varied as real images."),
        ({"kid_coarse": 0.1077}, "Shapes: far off, with a KID x1000 of 107.7"),
        ({"kid_coarse": 0.015}, "Shapes: close to real images"),
        ({"kid_coarse": 0.03, "kid_coarse_stderr": 0.02}, "Shapes: as in real images"),
        ({"power_high": 3.0}, "3.2 times the finest detail of real images: grainy"),
        ({"memorized_fraction": 0.8}, "Copies: 80% of the samples, 45% of new real images are nearer"),
    ],
)
def test_what_is_wrong_is_said(changed, text):
    real = REAL | ({"coverage": None} if changed.get("coverage", 0) is None else {})
    assert any(text in sentence for sentence in make_verdict(DEMO_GAN | changed, real))


NEARLY_REAL = REAL | {"kid_fine": 0.007}


@pytest.mark.parametrize(
    ("changed", "degree", "fault"),
    [
        ({}, "as in real images", ""),
        ({"luminance_deviation": 1.4 * 2.1}, "as in real images", ""),
        ({"luminance_deviation": 1.6 * 2.1}, "close to real images", " 1.6 times their noise in calm areas."),
        ({"luminance_deviation": 5.1 * 2.1}, "visibly off", " 5.1 times their noise in calm areas."),
        ({"power_high": 0.5 * 0.95}, "close to real images", " 50% of the finest detail of real images: blurred."),
        ({"power_high": 0.25 * 0.95}, "visibly off", " 25% of the finest detail of real images: blurred."),
        ({"power_high": 3.0 * 0.95}, "visibly off", " 3.0 times the finest detail of real images: grainy."),
        ({"kid_fine": 0.2, "luminance_deviation": 5.1 * 2.1}, "far off", " 5.1 times their noise in calm areas."),
    ],
)
def test_texture_with_a_fault_is_not_called_as_in_real_images(changed, degree, fault):
    samples = NEARLY_REAL | changed
    (sentence,) = [line for line in make_verdict(samples, REAL) if line.startswith("Texture")]
    assert (
        sentence == f"Texture: {degree}, with a KID x1000 of {1000 * samples['kid_fine']:.1f}, real images 0.3.{fault}"
    )


def test_what_was_not_measured_is_left_out():
    assert make_verdict(dict.fromkeys(REAL), dict.fromkeys(REAL), dict.fromkeys(REAL)) == []
    assert advice(dict.fromkeys(REAL)) == ""
