"""The attributes of the explorer: those that were learned from labels, and those that the user marks on faces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaegan.data.labels import MAX_TEXT_LENGTH, YES
from vaegan.errors import UsageError, VaeganError
from vaegan.inference.attribute_files import attributes_path, load_attributes, save_attributes
from vaegan.inference.attribute_marking import mark_attribute
from vaegan.inference.attributes import Attribute, AttributeSet, model_sha256
from vaegan.inference.model import Model

MAX_SLIDERS = 64
MAX_MARKED_FACES = 100
SLIDER_MARGIN = 0.5
"""A slider goes beyond the typical scores by this fraction of their distance."""


class AttributeSliders:
    """The attributes of the explored model, as the page needs them.

    If the file of attributes cannot be read, there are none, `error` says why, and the file is not replaced.
    """

    def __init__(self, model: Model) -> None:
        self.path, self.error = attributes_path(model.info.path), ""
        covariance = torch.eye(model.latent_dim, dtype=torch.float64)  # the latents are white
        self.attributes = AttributeSet([], covariance, model_sha256(model))
        if self.path.exists():
            try:
                self.attributes = load_attributes(self.path, model)
            except VaeganError as error:
                self.error = str(error)

    def describe(self) -> list[dict[str, Any]]:
        """Return one slider per attribute, whole columns first.

        Returns:
            at most MAX_SLIDERS JSON objects with title, probe, direction and range of each.
        """
        # glasses before glasses: round, since there may be many values
        ordered = sorted(self.attributes, key=lambda attribute: attribute.value not in (YES, ""))
        return [self._describe_one(attribute) for attribute in ordered[:MAX_SLIDERS]]

    def _describe_one(self, attribute: Attribute) -> dict[str, Any]:
        margin = SLIDER_MARGIN * (attribute.on_score - attribute.off_score)
        return {
            "title": attribute.title,
            "kind": attribute.kind,
            "weight": attribute.weight.tolist(),
            "bias": attribute.bias,
            "direction": self.attributes.direction(attribute).tolist(),
            "min": attribute.off_score - margin,
            "max": attribute.on_score + margin,
        }

    def mark(self, name: object, more: Tensor, less: Tensor) -> dict[str, Any]:
        """Make an attribute from faces that the user marked, and save it.

        Args:
            name: its name; whatever the page sent.
            more: float [n, d], latents of faces that have more of it.
            less: float [m, d], latents of faces that have less of it.

        Returns:
            its slider, as in `describe`.

        Raises:
            UsageError: if the name is no short text or belongs to a learned attribute, or the faces do not differ.
            VaeganError: if the file cannot be read or written.
        """
        if self.error:
            raise VaeganError(self.error)
        title = " ".join(name.split()) if isinstance(name, str) else ""
        if not 1 <= len(title) <= MAX_TEXT_LENGTH or not title.isprintable() or set(title) & set("=,"):
            raise UsageError(f'expected a name of at most {MAX_TEXT_LENGTH} characters, without "=" and ","')
        marked = mark_attribute(title, more, less)
        taken = any(other.name == title and other.kind != marked.kind for other in self.attributes.attributes)
        if taken:
            raise UsageError(f"{title} is an attribute of the labels: choose another name")
        if not float(marked.weight.abs().sum()):
            raise UsageError("the faces with more and those with less are the same: add other faces")
        attributes = self.attributes.with_attribute(marked)
        try:
            save_attributes(self.path, attributes)
        except OSError as error:
            raise VaeganError(f"cannot write {self.path}: {error}") from error
        self.attributes = attributes
        return self._describe_one(marked)
