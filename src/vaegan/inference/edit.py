"""Edit the attributes of faces: what a user asks for becomes a change of latents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaegan.data.labels import NUMERIC, YES
from vaegan.errors import UsageError, printable
from vaegan.inference.attributes import NONE_VALUES, Attribute, AttributeSet
from vaegan.inference.model import Model
from vaegan.models.linear_probe import shift_scores
from vaegan.utils.text import join_text

YES_WORDS, NO_WORDS = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
ALL = "all"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
LOOKS = 2
MAX_OVERSHOOT = 1.5
NO_DEMAND = 1e6
"""A score may fall by this much where nothing is demanded of it."""
AttributeValue = str | bool | float
"""Value of an attribute in Python: True, False, a number, or a text as on the command line."""


@dataclass(frozen=True)
class Change:
    """What shall become of one attribute's score.

    Attributes:
        attribute: the attribute.
        direction: 1 to turn the attribute on, -1 to turn it off, 0 for a number.
        amount: with direction 0, the predicted number to reach, or the change if `is_relative`.
        is_relative: whether `amount` is a change: in standard deviations of the score, or of a numeric attribute in its
            own unit.
        text: what the user asked for, such as "glasses=yes".
    """

    attribute: Attribute
    direction: int
    amount: float = 0.0
    is_relative: bool = False
    text: str = ""


def parse_assignments(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Read texts of the form NAME=VALUE.

    Args:
        texts: the texts; each may hold several, separated by commas.
        flag: option that they were given to, for messages.

    Returns:
        the value of each name.

    Raises:
        UsageError: if a text has another form, or a name is given twice.
    """
    values: dict[str, str] = {}
    for text in (part for item in texts for part in item.split(",")):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{flag} {printable(text)}: expected NAME=VALUE, such as glasses=yes")
        if name in values:
            raise UsageError(f"{flag} {printable(name)} is given twice: give each attribute once")
        values[name] = value
    return values


def parse_change(attributes: AttributeSet, name: str, value: AttributeValue) -> Change:
    """Return the change that a value asks for.

    A value is yes or no, a value of the column, or a number. "+2" and "-2" change the score by two standard deviations;
    those of a numeric attribute change the number itself. A number without a sign, or after a further "=", is reached.

    Args:
        attributes: the attributes of the model.
        name: name of a column.
        value: the value.

    Returns:
        the change.

    Raises:
        UsageError: if there is no such attribute or value; the message lists what there is.
    """
    candidates = attributes.of(name)
    if isinstance(value, bool):
        value = YES_WORDS[0] if value else NO_WORDS[0]
    is_numeric = candidates[0].kind == NUMERIC
    if isinstance(value, (int, float)):
        value = f"={value}" if is_numeric else f"{value:+}"
    text, label = value.strip(), f"{name}={value}"
    main = candidates[0]
    if is_numeric:
        if re.fullmatch(NUMBER, text.removeprefix("=").strip(), re.IGNORECASE):
            number = float(text.removeprefix("="))
            return Change(main, 0, number, is_relative=text[0] in "+-", text=label)
        raise UsageError(
            f"{name}={printable(value)}: expected a number, such as {name}={main.on_score:.3g} or {name}=+1"
        )
    for candidate in candidates:  # a value of the column comes before the words for yes and no
        if candidate.value != YES and candidate.value.lower() == text.lower():
            return Change(candidate, 1, text=label)
        if candidate.opposite and candidate.opposite.lower() == text.lower():
            return Change(candidate, -1, text=label)
    is_presence = main.value == YES or main.opposite.lower() in NONE_VALUES
    if is_presence or main.opposite:
        if text.lower() in YES_WORDS and is_presence:
            return Change(main, 1, text=label)
        if text.lower() in NO_WORDS and is_presence:
            return Change(main, -1, text=label)
        if re.fullmatch(NUMBER, text, re.IGNORECASE) and text[0] in "+-":
            return Change(main, 0, float(text), is_relative=True, text=label)
    rejected = [other for other in attributes.attributes if other.name == name and other.value.lower() == text.lower()]
    if rejected:
        raise UsageError(f"{label} is not offered: {rejected[0].reason}")
    known = list(dict.fromkeys(text for item in candidates for text in (item.value, item.opposite) if text))
    raise UsageError(f"{name}={printable(value)}: there is no such value; there are {join_text(known)}")


def parse_changes(attributes: AttributeSet, values: Mapping[str, AttributeValue]) -> list[Change]:
    """Return the changes that values ask for; see `parse_change`.

    Args:
        attributes: the attributes of the model.
        values: value of each name.

    Returns:
        one change per name.

    Raises:
        UsageError: if there is no such attribute or value; the message lists what there is.
    """
    return [parse_change(attributes, name, value) for name, value in values.items()]


def held_attributes(attributes: AttributeSet, hold: str | Sequence[str], changes: Sequence[Change]) -> list[Attribute]:
    """Return the attributes to hold: those of the named columns, or of every column that is not changed.

    Args:
        attributes: the attributes of the model.
        hold: name of a column, several names, or "all".
        changes: what to change.

    Returns:
        the attributes; none if "all" is given and every column is changed.

    Raises:
        UsageError: if a column does not exist or is changed.
    """
    changed, held = {change.attribute.name for change in changes}, []
    for name in [hold] if isinstance(hold, str) else hold:
        if name == ALL:
            held += [attribute for attribute in attributes if attribute.name not in changed]
        elif name in changed:
            raise UsageError(f"--hold {printable(name)}: it is changed by --set; hold another attribute")
        else:
            held += attributes.of(name)
    return list({id(attribute): attribute for attribute in held}.values())


def edit_latents(
    attributes: AttributeSet,
    latents: Tensor,
    changes: Sequence[Change],
    hold: str | Sequence[str] = (),
    strength: float = 1.0,
    overshoot: Tensor | None = None,
) -> Tensor:
    """Change latents as little as possible so that they have the attributes that are asked for.

    An attribute is turned on by raising its score to that of images that have it; a latent whose score is higher stays.
    Of the values of a column only one is on, so the others are turned off where they are on.

    Args:
        attributes: the attributes of the model.
        latents: float [N, d].
        changes: what to change, at least one.
        hold: name of a column whose scores shall not change, several names, or "all".
        strength: factor on the change of each latent; 0 leaves the latents as they are.
        overshoot: float [N, changes], how far beyond the typical score each latent shall go, as a fraction of the
            distance from off to on; None for 0.

    Returns:
        the changed latents, float32 [N, d].

    Raises:
        UsageError: if a column of `hold` does not exist or is changed, or what is held leaves no way to the change.
    """
    beyond = torch.zeros(len(latents), len(changes)) if overshoot is None else overshoot
    demands = [
        demand
        for index, change in enumerate(changes)
        for demand in _demands(attributes, latents, change, beyond[:, index].double())
    ]
    for attribute in held_attributes(attributes, hold, changes):
        demands.append(_Demand(attribute, torch.zeros(len(latents), dtype=torch.float64), 1, is_at_least=False))
    edited = _meet(attributes, latents, demands)
    return torch.lerp(latents.float(), edited, strength)


def edit_until_visible(
    model: Model,
    attributes: AttributeSet,
    latents: Tensor,
    changes: Sequence[Change],
    hold: str | Sequence[str] = (),
    strength: float = 1.0,
) -> Tensor:
    """Change latents as `edit_latents` does, and further where the decoded images do not show it yet.

    The images are encoded again. Where an attribute that was turned on or off scores less there than it does typically,
    the latent goes further by what is missing. A model without an encoder cannot look, so its changes stay as they are.

    Args:
        model: The model that decodes the latents.
        attributes: Its attributes.
        latents: float [N, d].
        changes: What shall become of the attributes.
        hold: Name of a column whose scores shall not change, several names, or "all".
        strength: Factor on the change of each latent.

    Returns:
        The changed latents, float32 [N, d].

    Raises:
        UsageError: If `hold` names an attribute that does not exist or that is changed, or leaves no way.
    """
    overshoot = torch.zeros(len(latents), len(changes))
    edited = edit_latents(attributes, latents, changes, hold)
    for _ in range(LOOKS if model.encoder is not None else 0):
        seen = model.encode(model.decode(edited))
        for index, change in enumerate(changes):
            attribute = change.attribute
            typical = attribute.on_score if change.direction > 0 else attribute.off_score
            missing = change.direction * (typical - attribute.scores(seen)) / (attribute.on_score - attribute.off_score)
            overshoot[:, index] = (overshoot[:, index] + missing.clamp(0, 1)).clamp_max(MAX_OVERSHOOT)
        edited = edit_latents(attributes, latents, changes, hold, overshoot=overshoot)
    return torch.lerp(latents.float(), edited, strength)


@dataclass(frozen=True)
class _Demand:
    """A demand on an attribute's score: `sign` times its change is equal to, or at least, sign times `change` [N]."""

    attribute: Attribute
    change: Tensor
    sign: int
    is_at_least: bool = True


def _meet(attributes: AttributeSet, latents: Tensor, demands: Sequence[_Demand]) -> Tensor:
    """Change latents [N, d] as little as possible so that all demands are met; see `shift_scores`."""
    return shift_scores(
        latents,
        torch.stack([demand.sign * demand.attribute.weight for demand in demands]),
        torch.stack([demand.sign * demand.change for demand in demands], 1),
        attributes.covariance,
        torch.tensor([demand.is_at_least for demand in demands]),
    )


def _demands(attributes: AttributeSet, latents: Tensor, change: Change, overshoot: Tensor) -> list[_Demand]:
    """Return the demands of one change on the attributes of its column; `overshoot` [N] as in `edit_latents`."""
    attribute, scores = change.attribute, change.attribute.scores(latents)
    if change.direction == 0:
        unit = 1.0 if attribute.kind == NUMERIC else attribute.score_stddev
        amount = torch.full_like(scores, change.amount * unit) if change.is_relative else change.amount - scores
        return [_Demand(attribute, amount, 1, is_at_least=False)]
    values = [other for other in attributes.of(attribute.name) if other.value != YES]
    if change.direction > 0 and attribute.value == YES and values:
        return _demand_nearest_value(attributes, latents, attribute, values, overshoot)
    typical = attribute.on_score if change.direction > 0 else attribute.off_score
    goal = typical + change.direction * overshoot * (attribute.on_score - attribute.off_score)
    demands = [_Demand(attribute, goal - scores, change.direction)]
    for other in attributes.of(attribute.name):
        if other is attribute:
            continue
        other_scores = other.scores(latents)
        if other.value == YES:  # with one of the values, there is something
            demands.append(_Demand(other, other.on_score - other_scores, 1))
        else:  # only one of the values is on
            middle = (other.on_score + other.off_score) / 2
            goals = torch.where(other_scores > middle, other.off_score, middle)
            demands.append(_Demand(other, goals - other_scores, -1))
    return demands


def _demand_nearest_value(
    attributes: AttributeSet, latents: Tensor, attribute: Attribute, values: Sequence[Attribute], overshoot: Tensor
) -> list[_Demand]:
    """Demand that there is something, namely the value that each latent [N, d] is nearest to.

    All the hats together have no direction of their own: each kind of hat has.
    """
    changes = [
        value.on_score + overshoot * (value.on_score - value.off_score) - value.scores(latents) for value in values
    ]
    steps = [
        _meet(attributes, latents, [_Demand(value, change, 1)]) for value, change in zip(values, changes, strict=True)
    ]
    precision = torch.linalg.inv(attributes.covariance)
    differences = [step.double() - latents.double() for step in steps]
    lengths = torch.stack([((difference @ precision) * difference).sum(1) for difference in differences])
    nearest = lengths.argmin(0)
    demands = [_Demand(attribute, attribute.on_score - attribute.scores(latents), 1)]
    for index, (value, change) in enumerate(zip(values, changes, strict=True)):
        demands.append(_Demand(value, torch.where(nearest == index, change, -NO_DEMAND), 1))
    return demands


def attribute_keyframes(attributes: AttributeSet, name: str, latents: Tensor) -> tuple[Tensor, str]:
    """Return the latents between which an attribute goes from off to on, and a description.

    Args:
        attributes: the attributes of the model.
        name: name of a column, or NAME=VALUE for one value of it.
        latents: float [1, d], of the face.

    Returns:
        float32 [2, d], and the description for people.

    Raises:
        UsageError: if there is no such attribute or value.
    """
    column, _, value = name.partition("=")
    attribute = attributes.of(column)[0] if not value else parse_change(attributes, column, value).attribute
    ends = [
        edit_latents(attributes, latents, [Change(attribute, 0, goal)])
        for goal in (attribute.off_score, attribute.on_score)
    ]
    return torch.cat(ends), f"a face with {attribute.title} from off to on"
