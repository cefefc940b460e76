"""Find the dataset and the VAE that a weights file came from, as recorded in its run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vaegan.checkpoint import WeightsInfo
from vaegan.config.model_config import ModelConfig
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, open_dataset
from vaegan.data.image_files import derive_preprocess_settings
from vaegan.data.memmap import ImageArray
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note
from vaegan.run_dir import find_run


def recorded_dataset_path(weights: WeightsInfo) -> Path | None:
    """Return the path of the dataset that weights were trained on, as their run records it.

    Args:
        weights: the weights.

    Returns:
        the path, which may no longer exist, or None if the weights belong to no run.
    """
    run = find_run(weights.path)
    return None if run is None else Path(str(run.read_config()["data"].get("path", "")))


def dataset_for(weights: WeightsInfo, data: Path | None, emit: EventHandler) -> PreparedDataset:
    """Open the given dataset, else the one that weights were trained on, else the newest under data/.

    Args:
        weights: the weights.
        data: dataset directory, if the user named one.
        emit: receives a note about a dataset that was chosen.

    Returns:
        the dataset.

    Raises:
        VaeganError: if there is none, or its images have another shape than the model's.
    """
    path = data or recorded_dataset_path(weights)
    if data is None and path is not None and not path.is_dir():
        raise VaeganError(f"{path}, the training dataset of {weights.path}, does not exist: give DATA, a dataset")
    if path is None:
        path = find_newest_dataset(Path("data"))
        if path is None:
            raise VaeganError(f"{weights.path} belongs to no run that records its dataset: give DATA, a dataset")
        emit(Note(f"Using {path}, the newest prepared dataset"))
    dataset = open_dataset(path)
    check_dataset_fits(dataset, weights.config, weights.path)
    return dataset


def check_dataset_fits(dataset: PreparedDataset, config: ModelConfig, weights_path: Path) -> None:
    """Check that a dataset's images have the model's size and channel count.

    Args:
        dataset: the dataset.
        config: sizes of the model.
        weights_path: weights file, for the message.

    Raises:
        VaeganError: if they differ.
    """
    if (dataset.size, dataset.channels) != (config.size, config.channels):
        raise VaeganError(
            f"{dataset.path} holds {dataset.size}x{dataset.size} images of {dataset.channels} channels,"
            f" {weights_path} generates {config.size}x{config.size} of {config.channels}: give the dataset that it"
            " was trained on"
        )


def train_val_images_for(weights: WeightsInfo) -> tuple[ImageArray, ImageArray]:
    """Open the images of the dataset that a model was trained on, memory-mapped.

    Args:
        weights: the model's weights.

    Returns:
        training and validation images, uint8 [N, C, S, S] each.

    Raises:
        VaeganError: if the dataset is unknown, missing, damaged, empty or of another image shape.
    """
    path = recorded_dataset_path(weights)
    if path is None:
        raise VaeganError(f"{weights.path} belongs to no run that records its dataset")
    dataset = open_dataset(path)
    check_dataset_fits(dataset, weights.config, weights.path)
    if not dataset.counts["train"]:
        raise VaeganError(f"{dataset.path} holds no training images")
    return dataset.open_memmap()


def preprocess_settings_for(weights: WeightsInfo) -> PreprocessSettings:
    """Return the settings that crop and resize other images as a model's dataset was.

    Args:
        weights: the model's weights.

    Returns:
        the dataset's settings, or the defaults if it is missing.
    """
    path, dataset = recorded_dataset_path(weights), None
    if path is not None:
        with contextlib.suppress(VaeganError):
            dataset = open_dataset(path)
    return derive_preprocess_settings(weights.config.size, weights.config.channels, dataset)


def source_vae_for(weights: WeightsInfo, emit: EventHandler) -> Path | None:
    """Return the weights file of the VAE that a GAN was initialized from.

    Args:
        weights: the GAN's weights.
        emit: receives a note if the file is missing.

    Returns:
        its path, or None.
    """
    run = find_run(weights.path)
    source = run.read_config().get("from_vae") if run is not None and weights.kind == "gan" else None
    if not source:
        return None
    path = Path(str(source.get("path", "")))
    if path.is_file():
        return path
    emit(Note(f"{path}, the VAE that this GAN was initialized from, is missing: its samples are not shown"))
    return None
