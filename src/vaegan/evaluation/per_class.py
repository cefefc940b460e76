"""The distance of a conditional model's samples of each class to the validation images of that class."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vaegan.data.classes import read_class_ids
from vaegan.data.dataset import PreparedDataset
from vaegan.data.memmap import strided_indices
from vaegan.errors import VaeganError
from vaegan.evaluation.reference import Reference
from vaegan.events import EventHandler, Note, TaskProgress
from vaegan.inference.model import Model
from vaegan.metrics.distances import kid
from vaegan.metrics.random_features import LEVELS

MIN_CLASS_IMAGES = 20
"""With fewer validation images of a class, the standard error of its distance is as large as the distance."""
MIN_CLASS_SAMPLES, MAX_CLASS_SAMPLES = 64, 512
CLASS_HEADER = ("class", "train", "val", "KID x 1000", "of real images")


@dataclass(frozen=True)
class ClassResult:
    """Result of one class.

    Attributes:
        name: name of the class.
        num_train: number of training images.
        num_val: number of validation images.
        kid: KID of samples against the validation images of the class, mean of the three scales; None with fewer than
            MIN_CLASS_IMAGES of them.
        kid_stderr: its standard error.
        real_kid: KID of training images of the class, the best possible value; None with fewer than MIN_CLASS_IMAGES.
    """

    name: str
    num_train: int
    num_val: int
    kid: float | None
    kid_stderr: float | None
    real_kid: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the values as a JSON object.

        Returns:
            values by name.
        """
        return asdict(self)

    def table_row(self) -> tuple[str, ...]:
        """Return the cells below CLASS_HEADER.

        Returns:
            texts.
        """
        value = f"too few: at least {MIN_CLASS_IMAGES} val images"
        if self.kid is not None:
            value = f"{1000 * self.kid:.2f}"
            value += "" if self.kid_stderr is None else f" ±{1000 * self.kid_stderr:.2f}"
        real = "-" if self.real_kid is None else f"{1000 * self.real_kid:.2f}"
        return self.name, f"{self.num_train:,}", f"{self.num_val:,}", value, real


def evaluate_classes(
    model: Model, dataset: PreparedDataset, reference: Reference, num_images: int, seed: int, emit: EventHandler
) -> list[ClassResult]:
    """Compare the samples of each class with the validation images of that class.

    Args:
        model: the model.
        dataset: a dataset with the label that the classes are the values of.
        reference: its real images and their features.
        num_images: number of samples of all classes together, about.
        seed: seed of the first sample of each class.
        emit: receives progress, and a note if the dataset does not have the label.

    Returns:
        one result per class; none for an unconditional model.
    """
    label, names = model.info.config.class_label, model.classes
    if not names:
        return []
    try:
        class_ids = read_class_ids(dataset, label, names)
    except VaeganError as error:
        emit(Note(f"The classes are not evaluated: {str(error).removeprefix('--cond ')}"))
        return []
    train, _ = dataset.open_memmap()
    count = min(MAX_CLASS_SAMPLES, max(MIN_CLASS_SAMPLES, num_images // len(names)))
    results = []
    for number, name in enumerate(names):
        train_rows, val_rows = ((ids == number).nonzero().flatten() for ids in (class_ids.train, class_ids.val))
        distance, stderr, real_distance = None, None, None
        if len(val_rows) >= MIN_CLASS_IMAGES:
            val_features = {level: reference.val.features[level][val_rows] for level in LEVELS}
            samples = model.sample(count, seed, class_=name)
            distance, stderr = _mean_kid(reference, samples, val_features)
            if len(train_rows) >= MIN_CLASS_IMAGES:
                real = train[train_rows[strided_indices(len(train_rows), count)]]
                real_distance, _ = _mean_kid(reference, real, val_features)
        results.append(ClassResult(name, len(train_rows), len(val_rows), distance, stderr, real_distance))
        emit(TaskProgress("Comparing classes", number + 1, len(names), "classes"))
    return results


def _mean_kid(reference: Reference, images: Tensor, val_features: dict[str, Tensor]) -> tuple[float, float | None]:
    """Return the mean of the scales' KID, and of its standard errors."""
    features = reference.feature_spaces(images)
    values = torch.tensor([kid(val_features[level], features[level]) for level in LEVELS])
    value, stderr = values.mean(0).tolist()
    return value, None if math.isnan(stderr) else stderr
