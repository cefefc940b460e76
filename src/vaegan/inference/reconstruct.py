"""Reconstruct images, find the outliers of a dataset, and write and read files of latents."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from vaegan.checkpoint import METADATA_KEY, load_tensors
from vaegan.data.dataset import SPLIT_NAMES, PreparedDataset
from vaegan.data.image_files import read_images
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, FileWritten, TaskProgress, WarningMessage
from vaegan.inference.class_choice import choose_classes
from vaegan.inference.class_weights import class_hint
from vaegan.inference.latent_files import (
    CLASSES_KEY,
    ENCODER_HASH_KEY,
    LATENTS_KEY,
    NAMES_KEY,
    WEIGHTS_HASH_KEY,
    read_latents_metadata,
)
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE, encoder_sha256
from vaegan.inference.sample import check_grid_size, provenance_note
from vaegan.metrics.image_quality import psnr, ssim
from vaegan.run_lookup import dataset_for, preprocess_settings_for
from vaegan.utils.files import check_has_file_name, check_writable, file_sha256, note_replaced, write_bytes
from vaegan.utils.images import enlarge, make_grid, save_png, to_float


@dataclass(frozen=True)
class Reconstructions:
    """Images and their reconstructions, uint8 [N, C, S, S], with PSNR in dB and SSIM, float [N].

    Those of a conditional model have `classes`, the name of the class that each was decoded with.
    """

    names: list[str]
    images: Tensor
    decoded: Tensor
    psnr: Tensor
    ssim: Tensor
    classes: list[str] | None = None

    def to_records(self) -> list[dict[str, str | float]]:
        """Return the values for --json.

        Returns:
            "image", "psnr" in dB and "ssim" of each image, and "class" where there are classes.
        """
        rows = zip(self.names, self.psnr.tolist(), self.ssim.tolist(), strict=True)
        records: list[dict[str, str | float]] = [
            {"image": row[0], "psnr": round(row[1], 3), "ssim": round(row[2], 4)} for row in rows
        ]
        for record, name in zip(records, self.classes or (), strict=False):
            record["class"] = name
        return records

    def table_header(self, first: str = "image") -> tuple[str, ...]:
        """Return the names of the columns of `table_rows`.

        Args:
            first: name of the first column.

        Returns:
            names.
        """
        return (first, "PSNR, dB", "SSIM", *(("class",) if self.classes else ()))

    def table_rows(self) -> list[tuple[str, ...]]:
        """Return the values for a table.

        Returns:
            name, PSNR in dB and SSIM of each image, and its class where there are classes, as text.
        """
        return [
            (
                str(row["image"]),
                f"{row['psnr']:.2f}",
                f"{row['ssim']:.3f}",
                *((str(row["class"]),) if self.classes else ()),
            )
            for row in self.to_records()
        ]


def _reconstruct(model: Model, names: list[str], images: Tensor, class_: str | None = None) -> Reconstructions:
    latents = model.encode(images)
    classes = choose_classes(model, images, latents, class_)
    decoded = model.decode(latents, classes)
    psnr_parts, ssim_parts = [], []
    for start in range(0, len(images), INFERENCE_BATCH_SIZE):
        batch = slice(start, start + INFERENCE_BATCH_SIZE)
        psnr_parts.append(psnr(to_float(images[batch]), to_float(decoded[batch])))
        ssim_parts.append(ssim(to_float(images[batch]), to_float(decoded[batch])))
    return Reconstructions(names, images, decoded, torch.cat(psnr_parts), torch.cat(ssim_parts), classes)


def reconstruct_files(
    model: Model, sources: Sequence[Path], max_images: int, emit: EventHandler, class_: str | None = None
) -> Reconstructions:
    """Reconstruct the images of files, folders or datasets.

    Args:
        model: a model with an encoder.
        sources: image files, folders, archives or datasets.
        max_images: number of images to take; the first ones.
        emit: receives notes and warnings.
        class_: class of the images; None for the one that reconstructs each image best.

    Returns:
        the images and their reconstructions.

    Raises:
        VaeganError: if no image can be read, or the model has no encoder.
    """
    names, images = read_first_images(model, sources, max_images, emit)
    return _reconstruct(model, names, images, class_)


def read_first_images(
    model: Model, sources: Sequence[Path], max_images: int, emit: EventHandler
) -> tuple[list[str], Tensor]:
    """Read the first images of files, folders or datasets.

    They are cropped and resized like the training images of the model.

    Args:
        model: the model.
        sources: image files, folders, archives or datasets.
        max_images: number of images to take.
        emit: receives notes and warnings.

    Returns:
        the names, and the images, uint8 [N, C, S, S].

    Raises:
        VaeganError: if no image can be read.
    """
    names: list[str] = []
    batches: list[Tensor] = []
    for batch_names, images in read_images(sources, preprocess_settings_for(model.info, emit), emit):
        names += batch_names
        batches.append(images)
        if len(names) >= max_images:
            break
    return names[:max_images], torch.cat(batches)[:max_images]


def find_outliers(
    model: Model, data: Path | None, num_images: int, emit: EventHandler
) -> tuple[PreparedDataset, Reconstructions]:
    """Find the training and validation images that a model reconstructs worst.

    Args:
        model: a model with an encoder.
        data: the dataset; None for the one that the model was trained on.
        num_images: number of images to return.
        emit: receives progress.

    Returns:
        The dataset, and the images with the lowest PSNR, the worst first.

    Raises:
        VaeganError: if the dataset is missing, empty or does not fit the model.
    """
    dataset = dataset_for(model.info, data, emit)
    images = [image for split_images in dataset.load() for image in split_images]
    splits = zip(dataset.image_names(), SPLIT_NAMES, strict=True)
    names = [f"{name} ({split})" for split_names, split in splits for name in split_names]
    if not images:
        raise VaeganError(f"{dataset.path} holds no images")
    psnr_parts = []
    for start in range(0, len(images), INFERENCE_BATCH_SIZE):
        batch = torch.stack(images[start : start + INFERENCE_BATCH_SIZE])
        psnr_parts.append(psnr(to_float(batch), to_float(model.reconstruct(batch))))
        emit(TaskProgress("Reconstructing", start + len(batch), len(images)))
    worst = torch.cat(psnr_parts).argsort(stable=True)[:num_images].tolist()
    return dataset, _reconstruct(model, [names[row] for row in worst], torch.stack([images[row] for row in worst]))


def save_reconstructions(
    model: Model, reconstructions: Reconstructions, scale: int, path: Path, emit: EventHandler
) -> None:
    """Write a grid in which each image has its reconstruction to its right.

    Args:
        model: the model, for the note in the file.
        reconstructions: what to show.
        scale: whole number by which the images are enlarged.
        path: PNG file to write.
        emit: receives a FileWritten.

    Raises:
        VaeganError: if the file cannot be written.
    """
    check_grid_size(2 * len(reconstructions.names), model.info.config.size, scale)
    note_replaced([path], emit)
    pairs = torch.stack([reconstructions.images, reconstructions.decoded], 1).flatten(0, 1)
    columns = 2 * math.ceil(math.sqrt(len(reconstructions.names) / 2))
    save_png(enlarge(make_grid(pairs, columns), scale), path, provenance_note(model, "images and reconstructions"))
    emit(FileWritten("reconstructions", path))


def check_latents_path(path: Path, force: bool) -> None:
    """Check that latents may be written to a path.

    Args:
        path: .safetensors file.
        force: allow to replace any file.

    Raises:
        VaeganError: if they may not.
    """
    check_has_file_name(path)
    if path.is_dir() or path.suffix != ".safetensors":
        raise VaeganError(f"--out {path}: name a .safetensors file, such as {path.with_suffix('')}.safetensors")
    if path.exists() and not force and not _is_latents_file(path):
        raise VaeganError(f"{path} exists and holds no latents of vaegan: choose another --out, or add --force")
    check_writable(path)


def _is_latents_file(path: Path) -> bool:
    try:
        return WEIGHTS_HASH_KEY in read_latents_metadata(path)
    except VaeganError:
        return False


def _encode_texts(texts: Sequence[str]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(list(texts)).encode()), dtype=torch.uint8)


def serialize_latents(
    model: Model, names: Sequence[str], latents: Tensor, classes: Sequence[str] | None = None
) -> bytes:
    """Return the content of a safetensors file with latents and their names.

    The tensors "names" and "classes" are uint8: a JSON list of strings in UTF-8. The metadata identifies the model by
    hashes.

    Args:
        model: model that encoded them.
        names: N names.
        latents: float [N, d].
        classes: N names of classes, for a conditional model.

    Returns:
        the file's bytes.
    """
    metadata = {WEIGHTS_HASH_KEY: file_sha256(model.info.path), "kind": model.info.kind, "step": model.info.step}
    if model.encoder is not None:
        metadata[ENCODER_HASH_KEY] = encoder_sha256(model.encoder)
    tensors = {LATENTS_KEY: latents.contiguous(), NAMES_KEY: _encode_texts(names)}
    if classes:
        tensors[CLASSES_KEY] = _encode_texts(classes)
    return save(tensors, {METADATA_KEY: json.dumps(metadata)})


def encode_files(
    model: Model, sources: Sequence[Path], path: Path, emit: EventHandler, class_: str | None = None
) -> int:
    """Write the posterior means and names of the images of files, folders or datasets, and for what class.

    Args:
        model: a model with an encoder.
        sources: image files, folders, archives or datasets.
        path: .safetensors file to write.
        emit: receives notes, warnings and a FileWritten.
        class_: class of the images; None for the one that reconstructs each image best.

    Returns:
        number of images.

    Raises:
        VaeganError: if no image can be read, the model has no encoder, or the file cannot be written.
    """
    names: list[str] = []
    latents: list[Tensor] = []
    classes: list[str] = []
    for batch_names, images in read_images(sources, preprocess_settings_for(model.info, emit), emit):
        names += batch_names
        latents.append(model.encode(images))
        classes += choose_classes(model, images, latents[-1], class_) or ()
    note_replaced([path], emit)
    write_bytes(path, serialize_latents(model, names, torch.cat(latents), classes))
    emit(FileWritten("latents", path))
    return len(names)


def read_latents(path: Path, model: Model, emit: EventHandler) -> Tensor:
    """Read latents for a model from the tensor "latents" of any program's safetensors file.

    Args:
        path: .safetensors file.
        model: model that will decode them.
        emit: receives a warning for latents that another model encoded.

    Returns:
        float32 [N, d].

    Raises:
        VaeganError: if the file is missing or damaged, or the model cannot decode its latents.
    """
    if not path.is_file():
        raise VaeganError(f"{path} does not exist: make it with vaegan encode, or give a .safetensors file")
    latents = load_tensors(path).get(LATENTS_KEY)
    if latents is None:
        raise VaeganError(f"{path} holds no tensor {LATENTS_KEY!r}: make it with vaegan encode")
    is_matrix = latents.dim() == 2 and latents.shape[1] == model.latent_dim and len(latents) > 0
    if not is_matrix or not latents.is_floating_point():
        raise VaeganError(
            f"{path} holds latents of shape {list(latents.shape)} and type {latents.dtype}: {model.info.path}"
            f" decodes floats of shape [N, {model.latent_dim}]"
        )
    if not latents.isfinite().all():
        raise VaeganError(f"{path} holds latents that are not finite")
    metadata = read_latents_metadata(path)
    if WEIGHTS_HASH_KEY in metadata and not _is_encoded_by(model, metadata):
        emit(WarningMessage(f"{path} was encoded by other weights than {model.info.path}: the faces will differ"))
    return latents.float()


def read_classes(path: Path, model: Model, count: int) -> list[str] | None:
    """Read the classes of latents for a conditional model.

    Args:
        path: file of `vaegan encode`.
        model: model that will decode them.
        count: number of latents.

    Returns:
        `count` names; None for an unconditional model.

    Raises:
        VaeganError: if the file does not name a class of the model for each latent.
    """
    if not model.classes:
        return None
    tensor = load_tensors(path).get(CLASSES_KEY)
    try:
        names = json.loads(bytes(tensor.numpy())) if tensor is not None and tensor.dtype == torch.uint8 else []
    except (ValueError, RecursionError):
        names = []
    is_valid = isinstance(names, list) and len(names) == count and all(name in model.classes for name in names)
    if not is_valid:
        raise VaeganError(f"{path} does not hold a class of {model.info.path} for each latent: {class_hint(model)}")
    return names


def _is_encoded_by(model: Model, metadata: dict[str, Any]) -> bool:
    if metadata[WEIGHTS_HASH_KEY] == file_sha256(model.info.path):
        return True
    return model.encoder is not None and metadata.get(ENCODER_HASH_KEY) == encoder_sha256(model.encoder)
