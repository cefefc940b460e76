"""Attributes: linear probes from latents to the labels of a dataset, fitted on encoded training images.

A probe on the latents of a generative model also gives the direction in which to change a latent (Shen et al. 2020,
"Interpreting the latent space of GANs for semantic face editing", arXiv 1907.10786; see `vaegan.models.linear_probe`).
Probes belong to an encoder: a VAE and all GANs that are trained from it share them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from vaegan.data.labels import BINARY, CATEGORICAL, NUMERIC, YES
from vaegan.errors import UsageError, printable
from vaegan.inference.model import Model
from vaegan.inference.networks import encoder_sha256
from vaegan.utils.files import file_sha256
from vaegan.utils.text import join_first, join_text

NONE_VALUES = ("none", "no")
"""Values of a categorical column that mean that there is nothing."""
ENTANGLED_FRACTION = 0.25
MARKED = "marked"
"""Kind of an attribute that a user has marked on some faces, without labels."""
ATTRIBUTE_KINDS = (BINARY, CATEGORICAL, NUMERIC, MARKED)


@dataclass(frozen=True)
class Attribute:
    """One probe: the score of a latent z is weight.z + bias.

    Attributes:
        name: column of the labels.
        value: value that a high score means; YES where that is the attribute itself, "" for a number.
        opposite: value that a low score means; "" where it means several.
        kind: one of ATTRIBUTE_KINDS.
        weight: float64 [d].
        bias: the score of a latent of zeros.
        on_score: typical score of images with the attribute, at which an edit aims; of a number, its 95 % quantile.
        off_score: typical score of images without it; of a number, its 5 % quantile.
        score_stddev: standard deviation of the scores of the training images.
        quality: AUC, or R2 of a number, on images that the probe was not fitted to.
        low: lower end of the 95 % interval of `quality`.
        high: upper end of this interval.
        num_positive: number of training images with the attribute; of a number, of all that have it.
        reason: why the attribute is not offered; "" if it is.
    """

    name: str
    value: str
    opposite: str
    kind: str
    weight: Tensor
    bias: float
    on_score: float
    off_score: float
    score_stddev: float
    quality: float = math.nan
    low: float = math.nan
    high: float = math.nan
    num_positive: int = 0
    reason: str = ""

    @property
    def title(self) -> str:
        """The name for people: "glasses" or "hat: beanie"."""
        return self.name if self.value in (YES, "") else f"{self.name}: {self.value}"

    @property
    def measure(self) -> str:
        """Name of the measure of `quality`."""
        return "R2" if self.kind == NUMERIC else "AUC"

    def describe_quality(self) -> tuple[str, str]:
        """Return the measure with its value, and its interval, as texts; of a marked attribute what it is.

        Returns:
            such as "AUC 0.917" and "0.876 to 0.950".
        """
        if self.kind == MARKED:
            return f"marked on {self.num_positive}", "-"
        return f"{self.measure} {self.quality:.3f}", f"{self.low:.3f} to {self.high:.3f}"

    def scores(self, latents: Tensor) -> Tensor:
        """Score latents: the log-odds of the attribute, or the predicted number.

        Args:
            latents: float [N, d].

        Returns:
            float64 [N].
        """
        return latents.double() @ self.weight + self.bias

    def reading(self, latents: Tensor) -> Tensor:
        """Return the probability of the attribute, or the predicted number.

        Args:
            latents: float [N, d].

        Returns:
            float64 [N], from 0 to 1 unless the attribute is a number.
        """
        scores = self.scores(latents)
        return scores if self.kind == NUMERIC else scores.sigmoid()


@dataclass(frozen=True)
class AttributeSet:
    """The attributes of a model's latents.

    Attributes:
        attributes: all of them, also those that are not offered.
        covariance: float64 [d, d], of the encoded training images.
        model_sha256: what identifies the latents; see `model_sha256`.
        dataset_fingerprint: fingerprint of the labeled dataset; "" without one.
    """

    attributes: list[Attribute]
    covariance: Tensor
    model_sha256: str
    dataset_fingerprint: str = ""

    def __iter__(self) -> Iterator[Attribute]:
        """Iterate over the attributes that are offered."""
        return (attribute for attribute in self.attributes if not attribute.reason)

    def names(self) -> list[str]:
        """Return the names of the columns that have an offered attribute.

        Returns:
            each name once.
        """
        return list(dict.fromkeys(attribute.name for attribute in self))

    def of(self, name: str) -> list[Attribute]:
        """Return the offered attributes of a column.

        Args:
            name: name of the column.

        Returns:
            at least one attribute.

        Raises:
            UsageError: if there is none; the message gives the reason, or lists what there is.
        """
        found = [attribute for attribute in self if attribute.name == name]
        if found:
            return found
        reasons = [attribute.reason for attribute in self.attributes if attribute.name == name]
        if reasons:
            raise UsageError(f"{printable(name)} is not offered: {reasons[0]}")
        raise UsageError(f"no attribute {printable(name)!r}: there are {join_text(self.names()) or 'none'}")

    def direction(self, attribute: Attribute) -> Tensor:
        """Return the shortest step that raises an attribute's score by 1: C w / (w^T C w).

        Args:
            attribute: the attribute.

        Returns:
            float64 [d].
        """
        step = self.covariance @ attribute.weight
        return step / (attribute.weight @ step)

    def entanglement(self, attribute: Attribute) -> list[tuple[Attribute, float]]:
        """Return what else moves when an attribute is turned from off to on, the strongest first.

        Small changes, and other values of the same column, are left out.

        Args:
            attribute: the attribute that is turned on.

        Returns:
            other attributes, and the change of each one's score as a fraction of its own distance from off to on. It is
            negative where the other is turned off.
        """
        step = self.direction(attribute) * (attribute.on_score - attribute.off_score)
        moved = []
        for other in self:
            if other.name != attribute.name:
                fraction = float(other.weight @ step) / max(1e-9, other.on_score - other.off_score)
                if abs(fraction) >= ENTANGLED_FRACTION:
                    moved.append((other, fraction))
        return sorted(moved, key=lambda pair: -abs(pair[1]))

    def describe_entanglement(self, attribute: Attribute, max_count: int) -> str:
        """Return what else moves with an attribute as text.

        Args:
            attribute: the attribute that is turned on.
            max_count: number of others to name, the strongest first.

        Returns:
            such as "beard -48%, hat +30% and 3 more".
        """
        moved = [f"{other.title} {fraction:+.0%}" for other, fraction in self.entanglement(attribute)]
        return join_first(moved, max_count)

    def with_attribute(self, attribute: Attribute) -> AttributeSet:
        """Return the set with one attribute added, or replaced where it has the same name and value.

        Args:
            attribute: the new attribute.

        Returns:
            a new set.
        """
        key = (attribute.name, attribute.value)
        others = [other for other in self.attributes if (other.name, other.value) != key]
        return replace(self, attributes=[*others, attribute])


def model_sha256(model: Model) -> str:
    """Return what identifies a model's latents.

    Args:
        model: the model.

    Returns:
        the SHA-256 of its encoder, or of the weights file of a GAN that has none.
    """
    return file_sha256(model.info.path) if model.encoder is None else encoder_sha256(model.encoder)
