"""Which dataset, which VAE and which run a weights file came from."""

from __future__ import annotations

from pathlib import Path

from vaegan.checkpoint import WeightsInfo
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import PreprocessSettings
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, open_dataset
from vaegan.data.image_files import derive_preprocess_settings
from vaegan.data.memmap import ImageArray
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note
from vaegan.run_dir import find_run


def recorded_dataset_path(weights: WeightsInfo) -> Path | None:
    """Return the dataset path recorded in the run of `weights`; None when they lie in no run."""
    run = find_run(weights.path)
    return None if run is None else Path(str(run.read_config()["data"].get("path", "")))


def dataset_for(weights: WeightsInfo, data: Path | None, emit: EventHandler) -> PreparedDataset:
    """Open `data`, else the dataset that `weights` were trained on, else the newest under data/.

    Raises:
        VaeganError: if there is none, or its images do not fit the model.
    """
    path = data or recorded_dataset_path(weights)
    if data is None and path is not None and not path.is_dir():
        raise VaeganError(f"{path}, the training dataset of {weights.path}, does not exist: give DATA, a prepared set")
    if path is None:
        path = find_newest_dataset(Path("data"))
        if path is None:
            raise VaeganError(f"{weights.path} is in no run that names its dataset: give DATA, a prepared set")
        emit(Note(f"Using {path}, the newest prepared set"))
    found = open_dataset(path)
    check_dataset_fits(found, weights.config, weights.path)
    return found


def check_dataset_fits(data: PreparedDataset, config: ModelConfig, path: Path) -> None:
    """Raise VaeganError if the images of a dataset have another size or channel count than the model's."""
    if (data.size, data.channels) != (config.size, config.channels):
        raise VaeganError(
            f"{data.path} holds {data.size}x{data.size} images of {data.channels} channels, {path} generates"
            f" {config.size}x{config.size} of {config.channels}: give the dataset that it was trained on"
        )


def train_val_images_for(weights: WeightsInfo) -> tuple[ImageArray, ImageArray]:
    """Return the train and val images of a model's own dataset, memory-mapped, uint8 [N, C, S, S].

    Raises:
        VaeganError: if the dataset is unknown, gone, damaged, empty or of another shape.
    """
    path = recorded_dataset_path(weights)
    if path is None:
        raise VaeganError(f"{weights.path} is in no run that names its dataset")
    found = open_dataset(path)
    check_dataset_fits(found, weights.config, weights.path)
    if not found.counts["train"]:
        raise VaeganError(f"{found.path} holds no training images")
    return found.open_memmap()


def preprocess_settings_for(weights: WeightsInfo) -> PreprocessSettings:
    """Return how the images of the model's dataset were cropped and resized, or the defaults where it is gone."""
    path, prepared = recorded_dataset_path(weights), None
    if path is not None:
        try:
            prepared = open_dataset(path)
        except VaeganError:
            prepared = None
    return derive_preprocess_settings(weights.config.size, weights.config.channels, prepared)


def source_vae_for(weights: WeightsInfo, emit: EventHandler) -> Path | None:
    """Return the weights of the VAE that a GAN was initialized from, or None (with a note if they are gone)."""
    run = find_run(weights.path)
    source = run.read_config().get("from_vae") if run is not None and weights.kind == "gan" else None
    if not source:
        return None
    path = Path(str(source.get("path", "")))
    if path.is_file():
        return path
    emit(Note(f"{path}, the VAE that this GAN was initialized from, is gone: its samples are not shown"))
    return None
