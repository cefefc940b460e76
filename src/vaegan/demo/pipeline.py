"""The demo: draw a dataset of comic faces and run the whole pipeline on it."""

from __future__ import annotations

import csv
import re
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaegan.config.tool_settings import DemoSettings, InterpolateSettings, SampleSettings
from vaegan.data.dataset import PreparedDataset, is_dataset, open_dataset
from vaegan.data.preprocess.preprocess import prepare
from vaegan.demo.edits import save_edits
from vaegan.demo.faces import ATTRIBUTES_FILENAME, random_face, write_faces
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note, Summary, TaskProgress
from vaegan.inference.attribute_files import ATTRIBUTES_FILE, attributes_path, keep_marked, save_attributes
from vaegan.inference.attribute_fitting import fit_attributes
from vaegan.inference.interpolate import check_interpolation, keyframes_from_seeds, save_interpolation
from vaegan.inference.model import Model, load
from vaegan.inference.sample import save_samples
from vaegan.run_dir import RunDir
from vaegan.training.train import train_gan, train_vae

VAE_TIME_FRACTION = 0.4
"""Fraction of the remaining time that the VAE is trained for; the GAN gets the rest."""
RESERVED_SECONDS = 25.0
"""Time that is left for sampling and editing at the end."""
REENCODE = 1
"""How many times latents of the GAN are decoded and encoded first. More of these drawn faces are whole then."""
LABEL_COLUMNS = "glasses,hat,beard,hair,hair_color,skin,mouth,background_palette"
DEMO_FILES = (
    "faces",
    "data",
    "runs",
    "samples.png",
    "vae-samples.png",
    "interpolation.png",
    "interpolation.gif",
    "edits.png",
)
FACES_HINT = "choose another folder, or add --force"
FACE_FILE_PATTERN = re.compile(r"face-\d{5,}\.png")


def draw_face_folder(folder: Path, count: int, seed: int, force: bool, emit: EventHandler) -> Path:
    """Draw faces into a folder, or use the faces that are already there.

    Args:
        folder: the folder.
        count: number of faces.
        seed: seed of the faces.
        force: replace other files.
        emit: receives progress.

    Returns:
        the folder.

    Raises:
        VaeganError: The folder holds another number of faces, or other files, and `force` is false.
    """
    table = folder / ATTRIBUTES_FILENAME
    if table.is_file() and not force:
        with table.open(newline="", encoding="utf-8") as file:
            existing_count = sum(1 for _ in csv.DictReader(file))
        if existing_count != count:
            raise VaeganError(f"{folder} holds {existing_count} faces, -n asks for {count}: {FACES_HINT}")
        emit(Note(f"{folder} already holds {count} faces"))
        return folder
    if folder.is_dir() and not force:
        foreign = next((path.name for path in folder.iterdir() if not _is_demo_file(path.name)), None)
        if foreign is not None:
            raise VaeganError(f"{folder} holds {foreign}, which the demo did not draw: {FACES_HINT}")
    # Remove the old faces: there may have been more of them.
    table.unlink(missing_ok=True)
    for path in folder.glob("face-*.png"):
        if FACE_FILE_PATTERN.fullmatch(path.name):
            path.unlink()
    write_faces(folder, count, seed, lambda done, total: emit(TaskProgress("Drawing faces", done, total, "faces")))
    return folder


def check_faces_match_seed(folder: Path, seed: int) -> None:
    """Check that faces in a folder were drawn with a seed.

    Args:
        folder: the folder.
        seed: the seed.

    Raises:
        VaeganError: if they were drawn with another one.
    """
    table = folder / ATTRIBUTES_FILENAME
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        first_row = next(csv.DictReader(file), {})
    if any(first_row.get(name) != str(value) for name, value in asdict(random_face(seed, 0)).items()):
        cause = f"faces of another seed than --seed {seed} (or of another version of vaegan)"
        raise VaeganError(f"{folder} holds {cause}: {FACES_HINT}")


def _is_demo_file(name: str) -> bool:
    return name.startswith((".partial-", "face-")) or name == ATTRIBUTES_FILENAME


def _check_demo_dir(directory: Path, force: bool) -> None:
    """Raise VaeganError if `directory` holds what the demo does not make, such as the user's own images."""
    if force or not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if path.name not in DEMO_FILES and not path.name.startswith("."):
            raise VaeganError(
                f"{directory} holds {path.name}, which is not of the demo: {FACES_HINT}; to train on your own images:"
                f" vaegan preprocess {directory}"
            )


def _training_minutes(run_dir: Path, deadline: float, fraction: float, force: bool) -> float | None:
    """Return a fraction of the time until `deadline`; None for an existing run, which keeps its length."""
    if RunDir(run_dir).exists() and not force:
        return None
    return max(0.05, (deadline - time.perf_counter()) * fraction / 60)


def run_demo(directory: Path, settings: DemoSettings, device: str, force: bool, emit: EventHandler) -> dict[str, Path]:
    """Draw faces, preprocess them, train a VAE, train a GAN from it, sample, interpolate and edit.

    If it is run again in the same directory, it continues where it was interrupted.

    Args:
        directory: directory for all files.
        settings: options of demo.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        force: start over.
        emit: receives notes, progress and results.

    Returns:
        The path of every result by name, for example "dataset" or "samples".

    Raises:
        VaeganError: A step failed.
        Interrupted: A signal stopped a training; its state was saved.
    """
    start_time = time.perf_counter()
    _check_demo_dir(directory, force)
    dataset = directory / "data" / "faces-64"
    vae_run, gan_run = directory / "runs" / "vae", directory / "runs" / "gan"
    if force or not RunDir(gan_run).exists():
        emit(Note(f"The demo takes about {settings.minutes:g} minutes on this machine and writes to {directory}"))
    else:
        emit(Note(f"Continuing the demo in {directory} with its original length; --force starts over"))

    # Dataset
    if not (force or is_dataset(dataset)):
        check_faces_match_seed(directory / "faces", settings.seed)
    faces = draw_face_folder(directory / "faces", settings.n, settings.seed, force, emit)
    if not is_dataset(dataset) or force:
        table = str(faces / ATTRIBUTES_FILENAME)
        prepare([faces], dataset, force=force, on_event=emit, labels=table, label_columns=LABEL_COLUMNS)

    # Training
    deadline = start_time + settings.minutes * 60 - RESERVED_SECONDS
    options: dict[str, Any] = {"device": device, "seed": settings.seed, "force": force, "on_event": emit}
    minutes = _training_minutes(vae_run, deadline, VAE_TIME_FRACTION, force)
    train_vae(dataset, vae_run, minutes=minutes, **options)
    _learn_attributes(dataset, vae_run, device, force, emit)
    minutes = _training_minutes(gan_run, deadline, 1.0, force)
    train_gan(dataset, gan_run, from_vae=vae_run, minutes=minutes, **options)

    # Results
    gan, vae = load(gan_run, device), load(vae_run, device)
    results = {"faces": faces, "dataset": dataset, "vae_run": vae_run, "gan_run": gan_run}
    results |= _sample_and_interpolate(directory, vae, gan, force, emit)
    results |= _edit(directory, open_dataset(dataset), gan, emit)
    minutes = (time.perf_counter() - start_time) / 60
    emit(
        Summary(
            f"The demo is done, in {minutes:.1f} minutes",
            [
                ("look at", f"{results['samples']} first, then at {results.get('edits', results['animation'])}"),
                ("read", f"{gan_run / 'report.html'}, how the training went"),
                ("next", f"vaegan explore {shlex.quote(str(gan_run))}"),
                ("your faces", "vaegan preprocess FOLDER"),
            ],
        )
    )
    return results


def _learn_attributes(dataset_path: Path, vae_run: Path, device: str, force: bool, emit: EventHandler) -> None:
    """Learn the attributes of the drawn faces in the VAE's latents; a GAN that is trained from it takes them over."""
    dataset, path = open_dataset(dataset_path), vae_run / ATTRIBUTES_FILE
    if not dataset.has_labels:
        emit(Note(f"{dataset_path} has no labels, so no attributes are learned; --force starts over with them"))
    elif force or not path.is_file():
        vae = load(vae_run, device)
        attributes = fit_attributes(vae, dataset, emit)
        save_attributes(path, attributes if force else keep_marked(path, vae, attributes, emit))


def _sample_and_interpolate(
    directory: Path, vae: Model, gan: Model, force: bool, emit: EventHandler
) -> dict[str, Path]:
    """Sample the VAE and the GAN with the same seeds, and interpolate between latents of the GAN."""
    samples, vae_samples = directory / "samples.png", directory / "vae-samples.png"
    save_samples(gan, range(64), SampleSettings(reencode=REENCODE), samples, emit, force=force)
    save_samples(vae, range(64), SampleSettings(), vae_samples, emit, force=force)
    settings, keyframes = InterpolateSettings(), keyframes_from_seeds(gan, range(4), 1.0, reencode=REENCODE)
    files = check_interpolation(gan, len(keyframes.latents), settings, directory / "interpolation", force)
    save_interpolation(gan, keyframes, settings, files, emit)
    return {"samples": samples, "vae_samples": vae_samples, **files}


def _edit(directory: Path, dataset: PreparedDataset, gan: Model, emit: EventHandler) -> dict[str, Path]:
    """Edit some of the faces; nothing for a GAN without attributes."""
    path = attributes_path(gan.info.path)
    if not path.is_file():
        return {}
    edits = save_edits(gan, dataset, directory / "edits.png", emit)
    return {"attributes": path} | ({} if edits is None else {"edits": edits})
