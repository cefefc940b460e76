"""Edit the attributes of faces, and sample faces that have given attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.tool_settings import EditSettings
from vaegan.data.labels import NUMERIC, YES
from vaegan.errors import UsageError, VaeganError, printable
from vaegan.events import EventHandler, FileWritten, TaskProgress, ignore_event
from vaegan.inference.attributes import NONE_VALUES, Attribute, AttributeSet
from vaegan.inference.class_choice import choose_classes, invert_by_class, map_by_class
from vaegan.inference.invert import encode_or_center
from vaegan.inference.model import Model
from vaegan.inference.reconstruct import read_first_images
from vaegan.inference.sample import check_grid_path, check_grid_size, provenance_note
from vaegan.metrics.image_quality import psnr
from vaegan.models.linear_probe import shift_scores
from vaegan.utils.files import note_replaced
from vaegan.utils.images import enlarge, make_grid, save_png, to_float

YES_WORDS, NO_WORDS = ("yes", "true", "on", "1"), ("no", "false", "off", "0")
ALL = "all"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
MAX_DRAWS_PER_SAMPLE = 2000
DRAWS_PER_BATCH = 256
LOOKS = 2
MAX_OVERSHOOT = 1.5
VISIBLE_FRACTION = 0.8
"""A sample has an attribute where its image scores so far from off to on, and more likely than not."""
NO_DEMAND = 1e6
"""A score may fall by this much where nothing is demanded of it."""
STRIP_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
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
    raise UsageError(f"{name}={printable(value)}: there is no such value; there are {', '.join(known)[:500]}")


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


def _held_attributes(attributes: AttributeSet, hold: Iterable[str], changes: Sequence[Change]) -> list[Attribute]:
    """Return the attributes to hold: those of the named columns, or with "all" of every column that is not changed."""
    changed, held = {change.attribute.name for change in changes}, []
    for name in hold:
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
    hold: Iterable[str] = (),
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
        hold: names of columns whose scores shall not change, or "all".
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
    for attribute in _held_attributes(attributes, hold, changes):
        demands.append(_Demand(attribute, torch.zeros(len(latents), dtype=torch.float64), 1, is_at_least=False))
    edited = _meet(attributes, latents, demands)
    return torch.lerp(latents.float(), edited, strength)


def edit_until_visible(
    model: Model,
    attributes: AttributeSet,
    latents: Tensor,
    changes: Sequence[Change],
    hold: Iterable[str] = (),
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
        hold: Names of columns whose scores shall not change, or "all".
        strength: Factor on the change of each latent.

    Returns:
        The changed latents, float32 [N, d].

    Raises:
        UsageError: If `hold` names an attribute that does not exist or that is changed, or leaves no way.
    """
    hold, overshoot = list(hold), torch.zeros(len(latents), len(changes))
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


# ---- Conditional sampling -------------------------------------------------------------------------------------------


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
        draws = model.latents_from_seeds(candidates, truncation)
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
            attribute = condition.attribute
            distance = attribute.on_score - attribute.off_score
            typical = attribute.on_score if condition.direction > 0 else -attribute.off_score
            least = max(0.0, typical - (1 - VISIBLE_FRACTION) * distance)
            result &= condition.direction * attribute.scores(encoded) >= least
    return result


# ---- Files ----------------------------------------------------------------------------------------------------------


def edit_sheet_paths(model: Model, out: Path, count: int, scale: int, force: bool) -> dict[str, Path]:
    """Return the paths of the sheet and of the strips, after a check that they can be written.

    Args:
        model: the model.
        out: path of the sheet, a PNG.
        count: largest number of images.
        scale: whole number by which the images are enlarged.
        force: allow to replace files.

    Returns:
        the paths of "edits" and "strengths".

    Raises:
        VaeganError: if one of them exists, is no PNG, or would be too large.
    """
    strengths = out.with_name(f"{out.stem}-strengths{out.suffix}")
    for path, columns in ((out, 3), (strengths, len(STRIP_STRENGTHS))):
        check_grid_size(columns * count, model.info.config.size, scale)
        check_grid_path(path, force)
    return {"edits": out, "strengths": strengths}


def edit_files(
    model: Model,
    attributes: AttributeSet,
    sources: Sequence[Path],
    changes: Sequence[Change],
    hold: Sequence[str],
    settings: EditSettings,
    paths: Mapping[str, Path],
    emit: EventHandler,
    class_: str | None = None,
) -> list[dict[str, object]]:
    """Edit the first `settings.n` images of files, folders or datasets, and write a sheet and strips.

    The sheet has a row of original, reconstruction and edited image for each image. The strips show each image with
    STRIP_STRENGTHS times the change.

    Args:
        model: a model with an encoder.
        attributes: its attributes.
        sources: image files, folders, archives or datasets.
        changes: what to change.
        hold: names of columns whose scores shall not change, or "all".
        settings: options of the edit.
        paths: as from `edit_sheet_paths`.
        emit: receives notes, progress and written files.
        class_: class of the images; None for the one that reconstructs each image best.

    Returns:
        for each image its name, its class where there are classes, the PSNR of its reconstruction in dB, and the
            readings of each changed attribute in the reconstruction and in the edited image: probabilities, or
            predicted numbers.
    """
    names, images = read_first_images(model, sources, settings.n, emit)
    latents = encode_or_center(model, images, settings.invert_steps, emit)
    classes = choose_classes(model, images, latents, class_)
    latents = invert_by_class(model, images, latents, classes, settings.invert_steps, emit)
    full = map_by_class(
        model,
        classes,
        len(latents),
        lambda part, rows: edit_until_visible(part, attributes, latents[rows], changes, hold),
    )
    edited, *strips = (torch.lerp(latents, full, settings.strength * strength) for strength in (1.0, *STRIP_STRENGTHS))
    weights = model.class_weights(classes, len(latents))
    decoded, result = model.decode(latents, weights), model.decode(edited, weights)

    note_replaced(paths.values(), emit)
    asked = ", ".join(change.text for change in changes)
    note = provenance_note(model, f"images, reconstructions and edits ({asked})")
    sheet = make_grid(torch.stack([images, decoded, result], 1).flatten(0, 1), 3)
    save_png(enlarge(sheet, settings.scale), paths["edits"], note)
    emit(FileWritten("edits", paths["edits"]))
    strip_images = model.decode(torch.stack(strips, 1).flatten(0, 1), weights.repeat_interleave(len(strips), 0))
    save_png(enlarge(make_grid(strip_images, len(strips)), settings.scale), paths["strengths"], note)
    emit(FileWritten("strengths", paths["strengths"]))

    before, after = (latents, edited) if model.encoder is None else (model.encode(decoded), model.encode(result))
    readings = {
        change.attribute.title: [change.attribute.reading(side).tolist() for side in (before, after)]
        for change in changes
    }
    return [
        {
            "image": name,
            **({"class": classes[row]} if classes else {}),
            "psnr": round(value, 2),
            "readings": {title: [round(side[row], 3) for side in sides] for title, sides in readings.items()},
        }
        for row, (name, value) in enumerate(zip(names, psnr(to_float(images), to_float(decoded)).tolist(), strict=True))
    ]


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
