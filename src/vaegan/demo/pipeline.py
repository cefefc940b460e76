"""The demo: faces that the tool draws itself, through the same functions that the commands call."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaegan.config.settings import DemoSettings, InterpolateSettings, SampleSettings
from vaegan.data.dataset import is_dataset
from vaegan.data.preprocess.preprocess import prepare
from vaegan.demo.faces import ATTRIBUTES_FILENAME, random_face, write_faces
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, Note, TaskProgress
from vaegan.inference.interpolate import check_interpolation, keyframes_from_seeds, save_interpolation
from vaegan.inference.model import load
from vaegan.inference.sample import save_sample_grid
from vaegan.run_dir import RunDir
from vaegan.training.train import train_gan, train_vae

VAE_TIME_FRACTION = 0.3
FACE_FILE_PATTERN = re.compile(r"face-\d{5,}\.png")
RESERVE_SECONDS = 12.0


def draw_face_folder(folder: Path, count: int, seed: int, force: bool, emit: EventHandler) -> Path:
    """Draw `count` faces into `folder` and return it; a finished folder of as many is used as it is."""
    table = folder / ATTRIBUTES_FILENAME
    if table.is_file() and not force:
        with table.open(newline="", encoding="utf-8") as file:
            there = sum(1 for _ in csv.DictReader(file))
        if there != count:
            raise VaeganError(
                f"{folder} holds {there} faces, -n asks for {count}: choose another folder, or add --force"
            )
        emit(Note(f"{folder} already holds {count} faces"))
        return folder
    if folder.is_dir() and not force:
        foreign = next((path.name for path in folder.iterdir() if not _is_demo_file(path.name)), None)
        if foreign is not None:
            raise VaeganError(
                f"{folder} holds {foreign}, which the demo did not draw: choose another folder, or add --force"
            )
    table.unlink(missing_ok=True)
    for left in folder.glob("face-*.png"):  # of more faces
        if FACE_FILE_PATTERN.fullmatch(left.name):
            left.unlink()
    write_faces(folder, count, seed, lambda done, total: emit(TaskProgress("Drawing faces", done, total, "faces")))
    return folder


def check_faces_match_seed(folder: Path, seed: int) -> None:
    """Raise VaeganError where `folder` holds faces that were drawn of another seed."""
    table = folder / ATTRIBUTES_FILENAME
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), {})
    if any(first.get(name) != str(value) for name, value in asdict(random_face(seed, 0)).items()):
        raise VaeganError(
            f"{folder} holds faces of another seed than --seed {seed} (or of another version of vaegan): choose another"
            " folder, or add --force"
        )


def _is_demo_file(name: str) -> bool:
    return name.startswith((".partial-", "face-")) or name == ATTRIBUTES_FILENAME


def run_demo(directory: Path, settings: DemoSettings, device: str, force: bool, emit: EventHandler) -> dict[str, Path]:
    """Draw, prepare, train a VAE, train a GAN from it, sample and walk; returns every file made, by name.

    Run again it goes on where it was stopped. Raises VaeganError and Interrupted as the commands do.
    """
    began = time.perf_counter()
    data, vae, gan = directory / "data" / "faces-64", directory / "runs" / "vae", directory / "runs" / "gan"
    if force or not RunDir(gan).exists():
        emit(Note(f"The demo takes about {settings.minutes:g} minutes on this machine and writes to {directory}"))
    else:
        emit(Note(f"Going on with the demo in {directory}: it stays as long as it was begun; --force starts over"))
    if not (force or is_dataset(data)):
        check_faces_match_seed(directory / "faces", settings.seed)
    faces = draw_face_folder(directory / "faces", settings.n, settings.seed, force, emit)
    if not is_dataset(data) or force:
        prepare([faces], data, force=force, on_event=emit)

    def minutes(run: Path, share: float) -> float | None:
        """Length of a new run, a share of the time that is left; a run that is there keeps its own."""
        left = settings.minutes * 60 - (time.perf_counter() - began) - RESERVE_SECONDS
        return max(0.05, left * share / 60) if force or not RunDir(run).exists() else None

    options: dict[str, Any] = {"device": device, "seed": settings.seed}
    train_vae(data, vae, force=force, on_event=emit, minutes=minutes(vae, VAE_TIME_FRACTION), **options)
    train_gan(data, gan, from_vae=vae, force=force, on_event=emit, minutes=minutes(gan, 1.0), **options)
    made = {
        "faces": faces,
        "prepared set": data,
        "VAE": vae,
        "GAN": gan,
        **_sample_and_interpolate(directory, vae, gan, device, force, emit),
    }
    spent = (time.perf_counter() - began) / 60
    emit(Note(f"Done in {spent:.1f} minutes. Look at {made['samples']} first, then at {made['animation']}"))
    return made


def _sample_and_interpolate(
    directory: Path, vae: Path, gan: Path, device: str, force: bool, emit: EventHandler
) -> dict[str, Path]:
    """Sample both runs with the same seeds, and walk through the GAN's latents."""
    model, before = load(gan, device), load(vae, device)
    samples, blurred = directory / "samples.png", directory / "vae-samples.png"
    save_sample_grid(model, range(64), SampleSettings(), samples, force, emit)
    save_sample_grid(before, range(64), SampleSettings(), blurred, force, emit)
    settings, keys = InterpolateSettings(), keyframes_from_seeds(model, range(4), 1.0)
    files = check_interpolation(model, len(keys.latents), settings, directory / "walk", force)
    save_interpolation(model, keys, settings, files, emit)
    return {"samples": samples, "VAE samples": blurred, "strip": files.strip, "animation": files.animation}
