"""Fit linear probes from latents to the labels of a dataset, on encoded training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vaegan.data.dataset import PreparedDataset
from vaegan.data.labels import BINARY, NO, NUMERIC, YES, LabelColumn, Labels
from vaegan.data.memmap import strided_indices
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, TaskProgress
from vaegan.inference.attributes import NONE_VALUES, Attribute, AttributeSet, model_sha256
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE
from vaegan.models.linear_probe import auc, bootstrap_auc, bootstrap_r_squared, fit_probes, r_squared

MAX_PROBE_IMAGES = 20_000
MIN_EXAMPLES = 10
"""Fewest images with and without an attribute, in training and to measure the probe."""
MIN_AUC, MIN_R_SQUARED = 0.6, 0.05
"""The 95 % interval of a probe that is offered lies above this."""
TYPICAL_QUANTILE = 0.9
"""Quantile of the scores of images with an attribute that an edit aims at: those that have it clearly."""


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
