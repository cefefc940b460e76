"""Say in a few sentences how good samples are, from their metrics and those of as many real images."""

from __future__ import annotations

from vaegan.evaluation.metric_specs import MetricDict

AS_REAL, CLOSE, VISIBLY_OFF = 0.010, 0.020, 0.100
"""Bounds of KID in the features of one scale.

Samples of the demo's GAN have 0.009 coarse and 0.031 fine; those of its VAE, which are blurred, 0.075 and 0.340. KID is
unbiased: unlike a Frechet distance, it can be judged with few images too.
"""
DEGREES = ("as in real images", "close to real images", "visibly off", "far off")
"""From best to worst; the bounds lie between them."""
NUM_STDERRS = 2.0
FULL_COVERAGE, MOST_COVERAGE = 0.9, 0.6
"""Bounds of coverage as a fraction of that of real images."""
LITTLE_DETAIL, MUCH_DETAIL, MUCH_NOISE = 0.6, 1.5, 1.5
"""Bounds of detail and noise as multiples of those of real images; beyond them, texture is at best close to real.

Two sets of real images differ less from 256 images on: by a factor of 1.27 in noise and 1.22 in detail at most.
"""
UNLIKE_REAL = 2.5
"""Factor of detail or noise beyond which texture is at best visibly off.

Two sets of only 32 real images differ by a factor of 2.4 in noise and 1.9 in detail at most (docs/experiments.md).
"""
EXTRA_MEMORIZED = 0.1


def make_verdict(samples: MetricDict, real: MetricDict, vae: MetricDict | None = None) -> list[str]:
    """Return sentences about variety, shapes, texture and copies, and the gain over the VAE.

    Args:
        samples: metrics of the samples.
        real: metrics of as many real images.
        vae: metrics of the samples of the VAE that a GAN started from, or None.

    Returns:
        one sentence each; what was not measured is left out.
    """
    sentences = (
        _variety(samples, real),
        _closeness("Shapes", "kid_coarse", samples, real),
        _texture(samples, real),
        _copies(samples, real),
        _gain(samples, real, vae),
    )
    return [sentence for sentence in sentences if sentence]


def _values(name: str, *columns: MetricDict) -> tuple[float, ...] | None:
    """Return a metric in all columns; None if it was not measured in one of them."""
    values = tuple(value for column in columns if (value := column.get(name)) is not None)
    return values if len(values) == len(columns) else None


def _variety(samples: MetricDict, real: MetricDict) -> str:
    coverage = _values("coverage", samples, real) or _values("coverage_fine", samples, real)
    if coverage is None or coverage[1] <= 0:
        return ""
    ratio = coverage[0] / coverage[1]
    if _degree("kid_coarse", samples) == DEGREES.index("far off") and ratio >= MOST_COVERAGE:
        return "Variety: not known. Samples whose shapes are far off cover real images by chance."
    text = "as varied as real images" if ratio >= FULL_COVERAGE else "some kinds of images are missing"
    text = text if ratio >= MOST_COVERAGE else "many kinds of images are missing, or do not look real"
    return (
        f"Variety: {text}. The samples cover {coverage[0]:.0%} of the validation images, real ones {coverage[1]:.0%}."
    )


def _closeness(what: str, name: str, samples: MetricDict, real: MetricDict, least_degree: int = 0) -> str:
    """Return a sentence by the KID of a scale, with no better degree than `least_degree`, an index of DEGREES."""
    distance = _values(name, samples, real)
    if distance is None:
        return ""
    text = DEGREES[max(_degree(name, samples), least_degree)]
    return f"{what}: {text}, with a KID x1000 of {1000 * distance[0]:.1f}, real images {1000 * distance[1]:.1f}."


def _degree(name: str, samples: MetricDict) -> int:
    """Return the index in DEGREES of the KID of a scale; 0 if it was not measured."""
    bounds = (as_real_bound(name, samples), CLOSE, VISIBLY_OFF)
    kid = samples.get(name) or 0.0
    return next((index for index, bound in enumerate(bounds) if kid <= bound), len(bounds))


def as_real_bound(name: str, samples: MetricDict) -> float:
    """Return the KID up to which samples count as real: higher where few images make it uncertain.

    Args:
        name: name of the KID.
        samples: metrics of the samples.

    Returns:
        the bound.
    """
    return max(AS_REAL, NUM_STDERRS * (samples.get(f"{name}_stderr") or 0.0))


def _texture(samples: MetricDict, real: MetricDict) -> str:
    """Return a sentence about texture, and what is wrong with fine detail and calm areas, which KID hardly sees."""
    faults, factors = [], [1.0]
    detail, noise = _values("power_high", samples, real), _values("luminance_deviation", samples, real)
    if detail is not None and detail[1] > 0:
        ratio = detail[0] / detail[1]
        if ratio < LITTLE_DETAIL:
            faults.append(f"{ratio:.0%} of the finest detail of real images: blurred")
            factors.append(1 / max(ratio, 1e-9))
        elif ratio > MUCH_DETAIL:
            faults.append(f"{ratio:.1f} times the finest detail of real images: grainy")
            factors.append(ratio)
    if noise is not None and noise[1] > 0 and noise[0] > MUCH_NOISE * noise[1]:
        faults.append(f"{noise[0] / noise[1]:.1f} times their noise in calm areas")
        factors.append(noise[0] / noise[1])
    least_degree = DEGREES.index("visibly off") if max(factors) > UNLIKE_REAL else int(bool(faults))
    sentence = _closeness("Texture", "kid_fine", samples, real, least_degree)
    return sentence + (f" {'; '.join(faults).capitalize()}." if sentence and faults else "")


def _copies(samples: MetricDict, real: MetricDict) -> str:
    memorized = _values("memorized_fraction", samples, real)
    if memorized is None:
        return ""
    if memorized[0] > memorized[1] + EXTRA_MEMORIZED:
        percentages = f"{memorized[0]:.0%} of the samples, {memorized[1]:.0%} of new real images"
        return f"Copies: {percentages} are nearer to a training image than its nearest neighbor is."
    return "Copies: none to be seen, samples are no nearer to training images than new real images are."


def _gain(samples: MetricDict, real: MetricDict, vae: MetricDict | None) -> str:
    kid = _values("kid_mean", samples, vae, real) if vae is not None else None
    if kid is None:
        return ""
    comparison = "better" if kid[0] < kid[1] else "worse"
    values = [f"{1000 * value:.1f}" for value in kid]
    return f"Against its VAE: {comparison}, KID x1000 {values[0]} and {values[1]}, real images {values[2]}."


def advice(samples: MetricDict) -> str:
    """Return what to try next.

    Args:
        samples: metrics of the samples.

    Returns:
        the advice; "" if samples are close to real images, or this was not measured.
    """
    names = ("kid_coarse", "kid_fine")
    if all((samples.get(name) or 0.0) <= max(CLOSE, as_real_bound(name, samples)) for name in names):
        return ""
    return "train longer (--images), on more images, or with a larger --preset"
