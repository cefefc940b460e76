"""Find the dataset and the VAE that a weights file came from, as recorded in its run.

A run records paths twice, absolute and relative to itself, and what lies there: a dataset's fingerprint, a weights
file's SHA-256. So a project folder may be moved or copied, and a dataset renamed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vaegan.checkpoint import WEIGHTS_FILE, WeightsInfo
from vaegan.config.model_config import ModelConfig
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.classes import read_class_ids
from vaegan.data.dataset import PreparedDataset, find_newest_dataset, is_dataset, open_dataset
from vaegan.data.image_files import derive_preprocess_settings, image_options
from vaegan.data.memmap import ImageArray
from vaegan.errors import VaeganError, printable
from vaegan.events import EventHandler, Note, WarningMessage, ignore_event
from vaegan.run_dir import RunDir, find_run
from vaegan.utils.files import file_sha256


def record_path(path: Path, run: Path) -> dict[str, str]:
    """Return the entries of config.json for a path.

    Args:
        path: the path.
        run: directory of the run.

    Returns:
        "path", absolute, and "relative_path", from the run's directory; on Windows no relative path to another drive.
    """
    record = {"path": str(path.resolve())}
    with contextlib.suppress(ValueError):  # Windows: on another drive
        record["relative_path"] = Path(os.path.relpath(path.resolve(), run.resolve())).as_posix()
    return record


def _recorded_places(record: Mapping[str, Any], run: RunDir) -> list[Path]:
    """Return where a recorded path may be, relative to the run first: a copied project uses its own files."""
    places = []
    if relative := record.get("relative_path"):
        places.append(Path(os.path.normpath(run.path / str(relative))))
    return [*places, Path(str(record.get("path", "")))]


def find_recorded_dataset(run: RunDir, emit: EventHandler) -> Path:
    """Return the dataset with the fingerprint that a run recorded, or else the recorded path.

    It is looked for at the recorded path, then beside it, and in the folders "data" beside the run's parent and here.

    Args:
        run: the run.
        emit: receives a note if the dataset is somewhere else than recorded, and no longer there.

    Returns:
        path of the dataset; the recorded path, whatever is there, if none has the fingerprint.
    """
    record = run.read_config()["data"]
    places = _recorded_places(record, run)
    recorded = places[-1]
    fingerprint = record.get("fingerprint")
    for path in (*places, *_datasets_nearby(places, run)):
        if _has_fingerprint(path, fingerprint):
            if path.resolve() != recorded and not _has_fingerprint(recorded, fingerprint):
                state = "has changed since" if recorded.is_dir() else "does not exist"
                used, owner = relative_to_cwd(path), relative_to_cwd(run.path)
                emit(Note(f"Using {used}, the dataset of {owner} by its fingerprint: {recorded} {state}"))
            return path
    return recorded


def _datasets_nearby(places: list[Path], run: RunDir) -> Iterator[Path]:
    folders = [*(place.parent for place in places), run.path.resolve().parent.parent / "data", Path("data")]
    for folder in dict.fromkeys(folders):
        with contextlib.suppress(OSError):
            yield from sorted(path.parent for path in folder.glob("*/set.json"))


def _has_fingerprint(path: Path, fingerprint: object) -> bool:
    try:
        return is_dataset(path) and open_dataset(path).fingerprint == fingerprint
    except VaeganError:
        return False


def relative_to_cwd(path: Path) -> Path:
    """Return `path` relative to the working directory if it is below it.

    Args:
        path: the path.

    Returns:
        the relative path, or `path` as it is.
    """
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def open_recorded_dataset(run: RunDir, emit: EventHandler) -> PreparedDataset:
    """Open the dataset that a run was trained on.

    Args:
        run: the run.
        emit: receives a warning if the dataset's images have changed since.

    Returns:
        the dataset.

    Raises:
        VaeganError: if it is missing or damaged.
    """
    path = find_recorded_dataset(run, emit)
    dataset = open_dataset(path)
    if dataset.fingerprint != run.read_config()["data"].get("fingerprint"):
        owner = relative_to_cwd(run.path)
        emit(WarningMessage(f"{relative_to_cwd(path)} has changed since {owner} was trained on it"))
    return dataset


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
    run = find_run(weights.path)
    if data is not None:
        dataset = open_dataset(data)
    elif run is not None:
        path = find_recorded_dataset(run, ignore_event)
        if not path.is_dir():
            raise VaeganError(
                f"{printable(path, 300)}, the training dataset of {weights.path}, does not exist: give DATA, a dataset"
            )
        dataset = open_recorded_dataset(run, emit)
    else:
        newest = find_newest_dataset(Path("data"))
        if newest is None:
            raise VaeganError(f"{weights.path} belongs to no run that records its dataset: give DATA, a dataset")
        emit(Note(f"Using {newest}, the newest prepared dataset"))
        dataset = open_dataset(newest)
    check_dataset_fits(dataset, weights.config, weights.path)
    return dataset


def recorded_fingerprint(weights: Path) -> str | None:
    """Return the fingerprint of the dataset that weights were trained on, as their run records it.

    Args:
        weights: weights file.

    Returns:
        the fingerprint; None for weights that are in no run.
    """
    run = find_run(weights)
    return None if run is None else run.read_config()["data"].get("fingerprint")


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
    run = find_run(weights.path)
    if run is None:
        raise VaeganError(f"{weights.path} belongs to no run that records its dataset")
    dataset = open_recorded_dataset(run, ignore_event)
    check_dataset_fits(dataset, weights.config, weights.path)
    if not dataset.counts["train"]:
        raise VaeganError(f"{dataset.path} holds no training images")
    return dataset.open_memmap()


def train_class_ids_for(weights: WeightsInfo) -> Tensor:
    """Return the classes of the training images of the dataset that a conditional model was trained on.

    Args:
        weights: the model's weights.

    Returns:
        numbers of the classes, int64 [N]; NO_CLASS where an image has none.

    Raises:
        VaeganError: if the dataset or its labels are unknown, missing or damaged.
    """
    run = find_run(weights.path)
    if run is None:
        raise VaeganError(f"{weights.path} belongs to no run that records its dataset")
    dataset = open_recorded_dataset(run, ignore_event)
    return read_class_ids(dataset, weights.config.class_label, weights.config.classes).train


def preprocess_settings_for(weights: WeightsInfo, emit: EventHandler) -> PreprocessSettings:
    """Return the settings that cropped and resized a model's training images.

    The weights say so themselves; else their dataset does. Without either, the defaults are used.

    Args:
        weights: metadata of the model's weights.
        emit: receives a warning if the defaults are used.

    Returns:
        the settings.
    """
    options = weights.image_options
    if options is None:
        with contextlib.suppress(VaeganError):
            run = find_run(weights.path)
            options = None if run is None else image_options(open_recorded_dataset(run, ignore_event))
    if options is None:
        emit(
            WarningMessage(
                f"{weights.path} does not say how its training images were cropped, and its dataset is missing: images"
                " are cropped in the middle"
            )
        )
    return derive_preprocess_settings(weights.config.size, weights.config.channels, options or {})


def find_source(run: RunDir, key: str) -> tuple[Path, bool] | None:
    """Find the weights that a run was initialized from.

    They are looked for at the recorded path, then in the runs beside this one, also in their checkpoints.

    Args:
        run: the run.
        key: entry of config.json that records them: "from_vae" for the VAE of a GAN, "from_run" for another start.

    Returns:
        The path, and whether the file is still the recorded one. If there is no such file, the recorded path and False.
        None for a run that has no such entry.
    """
    source = run.read_config().get(key)
    if not source:
        return None
    places, sha256, step = _recorded_places(source, run), source.get("sha256"), source.get("step")
    run_folders = (path.parent for path in run.path.parent.glob(f"*/{WEIGHTS_FILE}"))
    folders = [*(place.parent for place in places), *run_folders]
    names = [WEIGHTS_FILE]
    if isinstance(step, int):
        names.append(f"checkpoints/step-{step:07d}/{WEIGHTS_FILE}")
    nearby = [folder / name for folder in folders for name in names]
    for path in dict.fromkeys([*places, *nearby]):
        if path.is_file() and file_sha256(path) == sha256:
            return path, True
    return places[-1], False


def source_vae_for(weights: WeightsInfo, emit: EventHandler) -> Path | None:
    """Return the weights file of the VAE that a GAN was initialized from.

    Args:
        weights: the GAN's weights.
        emit: receives a note if the file is missing.

    Returns:
        its path, or None.
    """
    run = find_run(weights.path)
    found = find_source(run, "from_vae") if run is not None and weights.kind == "gan" else None
    if found is None:
        return None
    path, is_same = found
    if not path.is_file():
        emit(Note(f"{path}, the VAE that this GAN was initialized from, is missing: its samples are not shown"))
        return None
    if not is_same:
        emit(Note(f"{path}, the VAE that this GAN was initialized from, has changed since"))
    return path
