"""The measures by name: what each says, and which way is better. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

TOGETHER = "together"


@dataclass(frozen=True)
class Measure:
    """One number: how it is told, which way is better ("lower", "higher" or "real", near the real pictures' value)."""

    name: str
    label: str
    better: str
    digits: int = 2
    error: str | None = None
    factor: float = 1.0


SPACES = {
    TOGETHER: ", mean of the three scales",
    "fine": "  fine texture",
    "middle": "  middle",
    "coarse": "  coarse content",
    "set": "  learned from the set",
}


def _in_spaces(name: str, label: str, factor: float = 1.0, error: bool = False) -> list[Measure]:
    """The same distance in every space, the mean of the random ones first."""
    return [
        Measure(
            f"{name}_{space}",
            words if words.startswith(" ") else label + words,
            "lower",
            2,
            f"{name}_{space}_error" if error else None,
            factor,
        )
        for space, words in SPACES.items()
    ]


MEASURES = {
    measure.name: measure
    for measure in (
        *_in_spaces("frechet", "Frechet distance"),
        *_in_spaces("kid", "KID x 1000", 1000.0, error=True),
        Measure("frechet_vae", "Frechet distance, VAE's encoder (favours its own GAN)", "lower"),
        Measure("kid_vae", "KID x 1000, VAE's encoder (favours its own GAN)", "lower", 2, "kid_vae_error", 1000.0),
        Measure("precision", "precision", "higher", 3),
        Measure("recall", "recall", "higher", 3),
        Measure("density", "density", "real", 3),
        Measure("coverage", "coverage", "higher", 3),
        Measure("coverage_fine", "  in fine features", "higher", 3),
        Measure("coverage_coarse", "  in coarse features", "higher", 3),
        Measure("sliced_wasserstein", "sliced Wasserstein distance x 1000", "lower", 1),
        Measure("sliced_wasserstein_0", "  finest level", "lower", 1),
        Measure("sliced_wasserstein_1", "  half size", "lower", 1),
        Measure("sliced_wasserstein_2", "  quarter size", "lower", 1),
        Measure("channel_mean", "largest shift of a colour channel x 1000", "lower", 1),
        Measure("channel_deviation", "largest change of a channel's contrast x 1000", "lower", 1),
        Measure("bins_different", "bins of kinds of faces that differ (0.05 by chance)", "lower", 2),
        Measure("bins_missing", "  bins left empty", "lower", 2),
        Measure("duplicates", "pairs that are nearly the same", "lower", 0),
        Measure("support", "different pictures, estimated", "higher", 0),
        Measure("memorised", "nearer a training picture than its neighbour", "real", 3),
        Measure("inception_fid", "FID (Inception)", "lower"),
        Measure("inception_kid", "KID x 1000 (Inception)", "lower", 2, "inception_kid_error", 1000.0),
        Measure("inception_precision", "precision (Inception)", "higher", 3),
        Measure("inception_recall", "recall (Inception)", "higher", 3),
    )
}


def told(measure: Measure, numbers: dict[str, float | None]) -> str:
    """Say a measure's number as text: "12.34", "1.20 +- 0.30", or "-" where there is none."""
    value = numbers.get(measure.name)
    if value is None:
        return "-"
    if value == float("inf"):
        return "no pair found"
    text = f"{value * measure.factor:.{measure.digits}f}"
    error = numbers.get(measure.error) if measure.error is not None else None
    return text if error is None else f"{text} ±{error * measure.factor:.{measure.digits}f}"
