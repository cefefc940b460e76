"""The file of a model's attributes, and the attributes as JSON."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaegan.checkpoint import METADATA_KEY, WEIGHTS_FILE, load_tensors, open_safetensors, save_tensors
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError, error_text, printable
from vaegan.events import EventHandler, Note, WarningMessage, ignore_event
from vaegan.inference.attributes import ATTRIBUTE_KINDS, MARKED, Attribute, AttributeSet, model_sha256
from vaegan.inference.model import Model, load
from vaegan.run_dir import find_run, run_of_checkpoint
from vaegan.run_lookup import find_recorded_dataset

ATTRIBUTES_FILE = "attributes.safetensors"
ATTRIBUTES_FORMAT_VERSION = 1


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
        arguments = _learn_arguments(model.info.path)
        raise VaeganError(f"{path} does not exist: learn attributes with vaegan attributes {arguments}")
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


def _learn_arguments(weights: Path) -> str:
    """Return the arguments with which `vaegan attributes` can learn: with DATA if the run's dataset has no labels."""
    source, run = weights.parent if weights.name == WEIGHTS_FILE else weights, find_run(weights)
    with contextlib.suppress(VaeganError):
        if run is not None and open_dataset(find_recorded_dataset(run, ignore_event)).has_labels:
            return str(source)
    return f"{source} DATA, where DATA is a dataset with labels"


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


def inherit_attributes(vae_weights: Path, run: Path, emit: EventHandler) -> None:
    """Copy the attributes of a VAE, if it has some, to the run of a GAN that is trained from it.

    They belong to the encoder, which both share.

    Args:
        vae_weights: weights file of the VAE.
        run: directory of the GAN's run.
        emit: receives a note on what is copied, or why nothing is.
    """
    source, target = attributes_path(vae_weights), run / ATTRIBUTES_FILE
    if not source.is_file():
        return
    model = load(vae_weights, "cpu")
    try:
        attributes = load_attributes(source, model)
    except VaeganError as error:
        emit(Note(f"The attributes of the VAE are not taken over: {error}"))
        return
    save_attributes(target, keep_marked(target, model, attributes, emit))
    emit(Note(f"The attributes of the VAE hold for this GAN too: {', '.join(attributes.names()) or 'none is offered'}"))


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
