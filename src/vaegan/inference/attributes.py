"""Attributes: linear probes from latents to the labels of a dataset, fitted on encoded training images.

A probe on the latents of a generative model also gives the direction in which to change a latent (Shen et al. 2020,
"Interpreting the latent space of GANs for semantic face editing", arXiv 1907.10786; see `vaegan.models.linear_probe`).
Probes belong to an encoder: a VAE and all GANs that are trained from it share them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import METADATA_KEY, load_tensors, open_safetensors, save_tensors
from vaegan.data.dataset import PreparedDataset
from vaegan.data.labels import BINARY, CATEGORICAL, NO, NUMERIC, YES, LabelColumn, Labels
from vaegan.data.memmap import strided_indices
from vaegan.errors import UsageError, VaeganError, error_text, printable
from vaegan.events import EventHandler, Note, TaskProgress, WarningMessage
from vaegan.inference.model import INFERENCE_BATCH_SIZE, Model, encoder_sha256
from vaegan.models.linear_probe import (
    auc,
    bootstrap_auc,
    bootstrap_r_squared,
    fit_probes,
    r_squared,
)
from vaegan.run_dir import run_of_checkpoint
from vaegan.utils.files import file_sha256

ATTRIBUTES_FILE = "attributes.safetensors"
ATTRIBUTES_FORMAT_VERSION = 1
MAX_PROBE_IMAGES = 20_000
MIN_EXAMPLES = 10
"""Fewest images with and without an attribute, in training and to measure the probe."""
MIN_AUC, MIN_R_SQUARED = 0.6, 0.05
"""The 95 % interval of a probe that is offered lies above this."""
NONE_VALUES = ("none", "no")
"""Values of a categorical column that mean that there is nothing."""
TYPICAL_QUANTILE = 0.9
"""Quantile of the scores of images with an attribute that an edit aims at: those that have it clearly."""
ENTANGLED_FRACTION = 0.25
MARKED_LOG_ODDS = 3.0
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
        raise UsageError(f"no attribute {printable(name)!r}: there are {', '.join(self.names())[:500] or 'none'}")

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
            such as "beard -48%, hat +30%".
        """
        moved = self.entanglement(attribute)[:max_count]
        return ", ".join(f"{other.title} {fraction:+.0%}" for other, fraction in moved)

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


# ---- Fitting --------------------------------------------------------------------------------------------------------


def fit_attributes(model: Model, dataset: PreparedDataset, emit: EventHandler, seed: int = 0) -> AttributeSet:
    """Fit one probe for each value of each label of a dataset, and measure it on left-out images.

    Args:
        model: a model with an encoder.
        dataset: a dataset with labels.
        emit: receives the progress of encoding.
        seed: seed of the division into folds and of the bootstrap.

    Returns:
        the attributes, also those that are not offered, in the order of the columns.

    Raises:
        VaeganError: if the model has no encoder, or the dataset has no labels or too few images.
    """
    if model.encoder is None:
        raise VaeganError(
            f"{model.info.path} holds no encoder, so its images have no latents: train a GAN with --from-vae"
        )
    labels = dataset.load_labels()
    train, val = dataset.open_memmap()
    rows = strided_indices(len(train), MAX_PROBE_IMAGES)
    total = len(rows) + len(val)

    def encode(images: Any, indices: Tensor, done: int) -> Tensor:
        parts = [torch.empty(0, model.latent_dim)]
        for batch in torch.split(indices, INFERENCE_BATCH_SIZE):
            parts.append(model.encode(images[batch]))
            emit(TaskProgress("Encoding", done + sum(map(len, parts)), total))
        return torch.cat(parts)

    train_latents = encode(train, rows, 0)
    val_latents = encode(val, torch.arange(len(val)), len(rows))
    if len(train_latents) < 2 * MIN_EXAMPLES:
        raise VaeganError(f"{dataset.path} has {len(train)} training images: too few to learn attributes from")
    labels = Labels(labels.columns, labels.train[rows], labels.val)
    probes = [
        _prepare_probe(column, value, labels.train[:, index], labels.val[:, index])
        for index, column in enumerate(labels.columns)
        for value in _probe_values(column)
    ]
    attributes = _fit_all(probes, train_latents, val_latents, seed)
    covariance = torch.cov(train_latents.double().T)
    covariance = covariance + 1e-6 * torch.eye(len(covariance)).double()
    return AttributeSet(attributes, covariance, model_sha256(model), dataset.fingerprint)


def _probe_values(column: LabelColumn) -> list[str]:
    """Return the values of a column that get a probe; YES stands for the attribute itself, "" for a number."""
    if column.kind == NUMERIC:
        return [""]
    if column.kind == BINARY:
        return [YES]
    others = [value for value in column.values if value.lower() not in NONE_VALUES]
    if len(others) < len(column.values):  # "none" is the opposite of all others together
        return [YES, *others] if len(others) > 1 else others
    return others if len(others) > 2 else others[1:]


@dataclass(frozen=True)
class _Probe:
    """A probe that is to be fitted: its targets in training and validation, NaN where a label is missing."""

    column: LabelColumn
    value: str
    opposite: str
    train: Tensor
    val: Tensor

    @property
    def is_number(self) -> bool:
        return self.column.kind == NUMERIC

    @property
    def num_positive(self) -> int:
        present = self.train[~self.train.isnan()]
        return len(present) if self.is_number else int(present.sum())

    def reason_not_to_fit(self) -> str:
        """Return why the probe cannot be fitted, or ""."""
        present = self.train[~self.train.isnan()]
        if self.is_number:
            is_enough = len(present) >= 2 * MIN_EXAMPLES and float(present.std()) > 0
            return "" if is_enough else f"only {len(present)} training images have it, or all the same value"
        counts = f"{self.num_positive} training images have it and {len(present) - self.num_positive} do not"
        return "" if _has_examples(present) else f"{counts}: too few to learn"


def _prepare_probe(column: LabelColumn, value: str, train: Tensor, val: Tensor) -> _Probe:
    """Turn the labels of a column into the targets of one of its values."""
    if column.kind == NUMERIC:
        return _Probe(column, value, "", train, val)
    if column.kind == BINARY:
        return _Probe(column, value, NO, train, val)
    if value == YES:
        code = next(index for index, text in enumerate(column.values) if text.lower() in NONE_VALUES)
        opposite = column.values[code]
    else:
        code = column.values.index(value)
        opposite = next(text for text in column.values if text != value) if len(column.values) == 2 else ""

    def target(labels: Tensor) -> Tensor:
        is_code = labels != code if value == YES else labels == code
        return torch.where(labels.isnan(), labels, is_code.float())

    return _Probe(column, value, opposite, target(train), target(val))


def _fit_all(probes: Sequence[_Probe], train_latents: Tensor, val_latents: Tensor, seed: int) -> list[Attribute]:
    """Fit and measure all probes; those with the same missing labels are fitted together."""
    attributes: dict[int, Attribute] = {}
    groups: dict[bytes, list[int]] = {}
    for index, probe in enumerate(probes):
        if reason := probe.reason_not_to_fit():
            nothing = torch.zeros(train_latents.shape[1], dtype=torch.float64)
            attribute = Attribute(
                probe.column.name, probe.value, probe.opposite, probe.column.kind, nothing, 0, 0, 0, 1
            )
            attributes[index] = replace(attribute, num_positive=probe.num_positive, reason=reason)
        else:
            groups.setdefault(probe.train.isnan().numpy().tobytes(), []).append(index)
    for members in groups.values():
        is_present = ~probes[members[0]].train.isnan()
        targets = torch.stack([probes[index].train[is_present] for index in members], 1)
        is_binary = torch.tensor([not probes[index].is_number for index in members])
        latents = train_latents[is_present]
        fit = fit_probes(latents, targets, is_binary, seed)
        scores = latents.double() @ fit.weights.T + fit.biases
        for position, index in enumerate(members):
            attributes[index] = _measure(
                probes[index],
                (fit.weights[position], float(fit.biases[position])),
                scores[:, position],
                fit.left_out_scores[:, position],
                val_latents,
                seed,
            )
    return [attributes[index] for index in range(len(probes))]


def _measure(
    probe: _Probe,
    weight_and_bias: tuple[Tensor, float],
    scores: Tensor,
    left_out_scores: Tensor,
    val_latents: Tensor,
    seed: int,
) -> Attribute:
    """Return the attribute of a fitted probe, measured on validation images, or where they are few on left-out ones."""
    weight, bias = weight_and_bias
    target = probe.train[~probe.train.isnan()]
    is_val = ~probe.val.isnan()
    val_target = probe.val[is_val]
    is_enough = len(val_target) >= 2 * MIN_EXAMPLES if probe.is_number else _has_examples(val_target)
    held_out, held_target = left_out_scores, target
    if is_enough:
        held_out, held_target = val_latents[is_val].double() @ weight + bias, val_target
    if probe.is_number:
        off_score, on_score = target.double().quantile(torch.tensor([0.05, 0.95]).double()).tolist()
        quality, interval = r_squared(held_out, held_target), bootstrap_r_squared(held_out, held_target, seed)
        measure, limit = "R2", MIN_R_SQUARED
    else:
        on_score = float(scores[target > 0.5].quantile(TYPICAL_QUANTILE))
        off_score = float(scores[target <= 0.5].quantile(1 - TYPICAL_QUANTILE))
        quality, interval = auc(held_out, held_target), bootstrap_auc(held_out, held_target, seed)
        measure, limit = "AUC", MIN_AUC
    is_good = interval[0] > limit and on_score > off_score
    return Attribute(
        probe.column.name,
        probe.value,
        probe.opposite,
        probe.column.kind,
        weight,
        bias,
        on_score,
        off_score,
        float(scores.std()),
        quality,
        *interval,
        probe.num_positive,
        "" if is_good else f"it can hardly be told from the latents ({measure} {quality:.2f})",
    )


def _has_examples(target: Tensor) -> bool:
    num_positive = int(target.sum())
    return min(num_positive, len(target) - num_positive) >= MIN_EXAMPLES


def mark_attribute(name: str, more: Tensor, less: Tensor) -> Attribute:
    """Make an attribute from a few faces that have more of something, and a few that have less.

    The weight is the difference of the two means. Latents are white, so each coordinate of this difference has variance
    1/n + 1/m where the two groups do not differ. Coordinates are shrunk accordingly (non-negative garrote, Breiman
    1995), so that the direction is not that of the faces that happened to be picked. Ten faces are enough.

    Args:
        name: name of the attribute.
        more: latents float [n, d], n at least 1.
        less: latents float [m, d], m at least 1.

    Returns:
        an attribute of kind MARKED.
    """
    more, less = more.double(), less.double()
    difference = more.mean(0) - less.mean(0)
    noise = 1 / len(more) + 1 / len(less)
    weight = difference * (1 - noise / difference.square().clamp_min(1e-12)).clamp_min(0)
    if not float(weight.abs().sum()):
        weight = difference
    middle = (more.mean(0) + less.mean(0)) / 2
    bias = -float(weight @ middle)
    on_score, off_score = float(more.mean(0) @ weight) + bias, float(less.mean(0) @ weight) + bias
    # a few picked faces say nothing of probabilities: the two means get 95 % and 5 %
    scale = 2 * MARKED_LOG_ODDS / max(1e-12, on_score - off_score)
    return Attribute(
        name,
        YES,
        NO,
        MARKED,
        weight * scale,
        bias * scale,
        on_score * scale,
        off_score * scale,
        float(weight.norm()) * scale,
        num_positive=len(more),
    )


def keep_marked(path: Path, model: Model, attributes: AttributeSet, emit: EventHandler) -> AttributeSet:
    """Add the attributes that the user has marked on faces, from the file that is to be replaced.

    Args:
        path: the file of the model's attributes; it need not exist.
        model: the model.
        attributes: attributes that were learned anew.
        emit: receives a note on what is kept, or a warning on what cannot be.

    Returns:
        all of them.
    """
    if not path.exists():
        return attributes
    try:
        marked = [attribute for attribute in load_attributes(path, model).attributes if attribute.kind == MARKED]
    except VaeganError as error:
        emit(WarningMessage(f"attributes that were marked on faces are not kept: {error}"))
        return attributes
    for attribute in marked:
        attributes = attributes.with_attribute(attribute)
    if marked:
        emit(Note(f"Kept what was marked on faces: {', '.join(attribute.title for attribute in marked)}"))
    return attributes


def model_sha256(model: Model) -> str:
    """Return what identifies a model's latents.

    Args:
        model: the model.

    Returns:
        the SHA-256 of its encoder, or of the weights file of a GAN that has none.
    """
    return file_sha256(model.info.path) if model.encoder is None else encoder_sha256(model.encoder)


# ---- Files ----------------------------------------------------------------------------------------------------------


def attributes_path(weights: Path) -> Path:
    """Return where the attributes of a weights file are.

    Args:
        weights: the weights file.

    Returns:
        a path beside it, or in the run that its checkpoint belongs to.
    """
    return (run_of_checkpoint(weights.parent) or weights.parent) / ATTRIBUTES_FILE


def save_attributes(path: Path, attributes: AttributeSet) -> None:
    """Write attributes to a safetensors file.

    The tensors are the probes' weights and the covariance; the rest is JSON in the metadata.

    Args:
        path: the file.
        attributes: the attributes.
    """
    described = [
        {name: value for name, value in vars(attribute).items() if name != "weight"}
        for attribute in attributes.attributes
    ]
    metadata = {
        "format_version": ATTRIBUTES_FORMAT_VERSION,
        "model_sha256": attributes.model_sha256,
        "dataset_fingerprint": attributes.dataset_fingerprint,
        "attributes": described,
    }
    weights = [attribute.weight for attribute in attributes.attributes]
    tensors = {
        "weights": torch.stack(weights) if weights else attributes.covariance.new_empty(0, len(attributes.covariance)),
        "covariance": attributes.covariance,
    }
    save_tensors(path, tensors, {METADATA_KEY: json.dumps(metadata)})


def load_attributes(path: Path, model: Model) -> AttributeSet:
    """Read the attributes of a model.

    Args:
        path: file of `save_attributes`.
        model: the model.

    Returns:
        the attributes.

    Raises:
        VaeganError: if there are none, the file is damaged, or they belong to another model.
    """
    if not path.is_file():
        raise VaeganError(f"{path} does not exist: learn attributes with vaegan attributes {model.info.path}")
    tensors = load_tensors(path)
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get(METADATA_KEY, "")
    try:
        metadata = json.loads(text)
        weights, covariance = tensors["weights"].double(), tensors["covariance"].double()
        if metadata["format_version"] != ATTRIBUTES_FORMAT_VERSION:
            raise ValueError(f"format_version {printable(metadata['format_version'])}")
        attributes = [
            _attribute_from_json(item, weight) for item, weight in zip(metadata["attributes"], weights, strict=True)
        ]
        d = model.latent_dim
        if tuple(covariance.shape) != (d, d) or tuple(weights.shape) != (len(attributes), d):
            raise ValueError("its tensors have other shapes than the model's latents")
        if not (covariance.isfinite().all() and weights.isfinite().all()):
            raise ValueError("its numbers are not finite")
        is_same = metadata["model_sha256"] == model_sha256(model)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VaeganError(
            f"{path} is damaged ({error_text(error)[:200]}): learn them again with vaegan attributes"
        ) from None
    if not is_same:
        raise VaeganError(f"{path} belongs to another model than {model.info.path}: run vaegan attributes again")
    return AttributeSet(attributes, covariance, str(metadata["model_sha256"]), str(metadata["dataset_fingerprint"]))


def _attribute_from_json(item: Any, weight: Tensor) -> Attribute:
    """Read one attribute. Raises ValueError, KeyError or TypeError."""
    values: dict[str, Any] = {"weight": weight}
    for field in fields(Attribute):
        if field.name == "weight":
            continue
        value = item[field.name]
        if field.type == "float":
            value = float(value)
            if math.isinf(value) or (math.isnan(value) and field.name not in ("quality", "low", "high")):
                raise ValueError(f"{field.name} is not finite")
        elif field.type == "int":
            value = int(value)
        elif not isinstance(value, str) or len(value) > 500:
            raise ValueError(f"{field.name} is not text")
        values[field.name] = value
    attribute = Attribute(**values)
    if attribute.kind not in ATTRIBUTE_KINDS or (not attribute.on_score > attribute.off_score and not attribute.reason):
        raise ValueError(f"{printable(attribute.name)} has an unknown kind, or no range of scores")
    return attribute


def attribute_records(attributes: AttributeSet) -> list[dict[str, Any]]:
    """Return the attributes as JSON objects.

    Args:
        attributes: the attributes.

    Returns:
        for each its names, quality, number of examples, what else it moves, and why it is not offered.
    """
    records = []
    for attribute in attributes.attributes:
        moved = (
            {}
            if attribute.reason
            else {other.title: round(fraction, 2) for other, fraction in attributes.entanglement(attribute)}
        )
        record: dict[str, Any] = {"name": attribute.name, "value": attribute.value, "kind": attribute.kind}
        if not math.isnan(attribute.quality):
            interval = [round(attribute.low, 3), round(attribute.high, 3)]
            record |= {attribute.measure: round(attribute.quality, 3), "interval": interval}
        records.append(
            record | {"examples": attribute.num_positive, "moves_also": moved, "not_offered": attribute.reason}
        )
    return records
