"""Sample faces that have given attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data.labels import NUMERIC
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler, TaskProgress, ignore_event
from vaegan.inference.attributes import Attribute, AttributeSet
from vaegan.inference.edit import NUMBER, AttributeValue, parse_change
from vaegan.inference.model import Model

MAX_DRAWS_PER_SAMPLE = 2000
DRAWS_PER_BATCH = 256
VISIBLE_FRACTION = 0.8
"""A sample has an attribute where its image scores so far from off to on, and more likely than not. In a model of one
class, the class itself must be more likely than not only."""


@dataclass(frozen=True)
class Condition:
    """A demand on one attribute of samples: it is on (1), off (-1), or a number between two bounds (0)."""

    attribute: Attribute
    direction: int
    lowest: float = -math.inf
    highest: float = math.inf

    def probabilities(self, latents: Tensor) -> Tensor:
        """Return the probability that latents meet the condition, by the probe.

        Args:
            latents: float [N, d].

        Returns:
            float64 [N].
        """
        scores = self.attribute.scores(latents)
        if self.direction == 0:
            return ((scores >= self.lowest) & (scores <= self.highest)).double()
        return (self.direction * scores).sigmoid()


def parse_conditions(attributes: AttributeSet, values: Mapping[str, AttributeValue]) -> list[Condition]:
    """Return the conditions that values ask for.

    Args:
        attributes: the attributes of the model.
        values: for each name yes or no, a value of the column, or a range of numbers such as 20..30.

    Returns:
        one condition per name.

    Raises:
        UsageError: if there is no such attribute or value.
    """
    conditions = []
    for name, value in values.items():
        attribute = attributes.of(name)[0]
        if attribute.kind != NUMERIC:
            change = parse_change(attributes, name, value)
            if change.direction == 0:
                raise UsageError(f"{name}={printable(value)}: expected yes, no or a value, not a change")
            conditions.append(Condition(change.attribute, change.direction))
            continue
        match = re.fullmatch(rf"({NUMBER})?\.\.({NUMBER})?", str(value).strip(), re.IGNORECASE)
        lowest, highest = (
            float(text) if text else bound
            for text, bound in zip(match.groups() if match else ("", ""), (-math.inf, math.inf), strict=True)
        )
        if match is None or not lowest < highest or (lowest, highest) == (-math.inf, math.inf):
            raise UsageError(
                f"{name}={printable(value)}: expected a range of numbers, such as {name}=20..30 or {name}=..5"
            )
        conditions.append(Condition(attribute, 0, lowest, highest))
    return conditions


@dataclass(frozen=True)
class ConditionalSamples:
    """Samples that meet conditions.

    Attributes:
        latents: float32 [N, d].
        seeds: the seed of each.
        num_draws: number of seeds that were tried.
    """

    latents: Tensor
    seeds: list[int]
    num_draws: int


def sample_where(
    model: Model,
    conditions: Sequence[Condition],
    count: int,
    seed: int = 0,
    truncation: float = 1.0,
    emit: EventHandler = ignore_event,
    reencode: int = 0,
) -> ConditionalSamples:
    """Draw samples from the prior given conditions, by rejection, which is exact for every prior.

    A draw z of seed s is accepted with probability p(conditions | z) by the probes. Its image is then encoded again,
    and rejected where the probes do not find the attributes in it. So an image is still that of its seed.

    Args:
        model: the model.
        conditions: what the samples shall have, at least one condition.
        count: number of samples.
        seed: the first seed to try.
        truncation: as in `Model.latents_from_seeds`.
        emit: receives the progress.
        reencode: as in `Model.latents_from_seeds`. The conditions are those of the latents that this gives.

    Returns:
        the samples.

    Raises:
        VaeganError: if too few of MAX_DRAWS_PER_SAMPLE draws for each sample are accepted.
    """
    seeds: list[int] = []
    latents: list[Tensor] = []
    max_draws = count * MAX_DRAWS_PER_SAMPLE
    for start in range(seed, seed + max_draws, DRAWS_PER_BATCH):
        candidates = list(range(start, min(start + DRAWS_PER_BATCH, seed + max_draws)))
        draws = model.latents_from_seeds(candidates, truncation, reencode=reencode)
        probability = torch.stack([condition.probabilities(draws) for condition in conditions]).prod(0)
        uniform = torch.tensor([_uniform(candidate) for candidate in candidates], dtype=torch.float64)
        is_accepted = uniform < probability
        is_accepted[is_accepted.clone()] = _is_visible(model, conditions, draws[is_accepted])
        for index in is_accepted.nonzero().flatten().tolist()[: count - len(seeds)]:
            seeds.append(candidates[index])
            latents.append(draws[index])
        emit(TaskProgress("Sampling", len(seeds), count, "faces"))
        if len(seeds) == count:
            return ConditionalSamples(torch.stack(latents), seeds, seeds[-1] + 1 - seed)
    raise VaeganError(
        f"only {len(seeds)} of {max_draws:,} samples have these attributes: ask for fewer of them, for fewer samples,"
        " or turn them on in other samples with vaegan edit"
    )


def _uniform(seed: int) -> float:
    """Return a number in [0, 1) that depends on the seed, but not on the noise that the seed's latent is drawn from."""
    return float(torch.rand(1, generator=torch.Generator().manual_seed((seed + 2**40) % 2**63)))


def _is_visible(model: Model, conditions: Sequence[Condition], latents: Tensor) -> Tensor:
    """Return whether the probes find the attributes in the images of latents [N, d] as well: bool [N]."""
    result = torch.ones(len(latents), dtype=torch.bool)
    if model.encoder is None or not len(latents):
        return result
    encoded = model.encode(model.decode(latents))
    for condition in conditions:
        if condition.direction == 0:
            result &= condition.probabilities(encoded) > 0
        else:
            result &= condition.direction * condition.attribute.scores(encoded) >= _least_score(model, condition)
    return result


def _least_score(model: Model, condition: Condition) -> float:
    """Return the score from which on an image shows an attribute, times the condition's direction."""
    attribute = condition.attribute
    # Samples of a class show it as a rule. A stricter check would leave out the unusual ones of them.
    if attribute.name == model.class_label:
        return 0.0
    distance = attribute.on_score - attribute.off_score
    typical = attribute.on_score if condition.direction > 0 else -attribute.off_score
    return max(0.0, typical - (1 - VISIBLE_FRACTION) * distance)
