"""The demo: faces that the tool draws itself, through the same functions that the commands call."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaegan.config.settings import DemoSettings, InterpolateSettings, SampleSettings
from vaegan.data.dataset import is_prepared
from vaegan.data.preprocess.preprocess import prepare
from vaegan.demo.faces import ATTRIBUTES, draw_faces, random_face
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit, Note
from vaegan.inference.interpolate import check_walk, keys_of_seeds, write_walk
from vaegan.inference.model import load
from vaegan.inference.sample import write_sheet
from vaegan.run_dir import Run
from vaegan.training.train import train_gan, train_vae

VAE_SHARE = 0.3
FACE = re.compile(r"face-\d{5,}\.png")
RESERVE_SECONDS = 12.0


def draw(folder: Path, count: int, seed: int, force: bool, emit: Emit) -> Path:
    """Draw `count` faces into `folder` and return it; a finished folder of as many is used as it is."""
    table = folder / ATTRIBUTES
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
        foreign = next((path.name for path in folder.iterdir() if not _drawn(path.name)), None)
        if foreign is not None:
            raise VaeganError(
                f"{folder} holds {foreign}, which the demo did not draw: choose another folder, or add --force"
            )
    table.unlink(missing_ok=True)
    for left in folder.glob("face-*.png"):  # of more faces
        if FACE.fullmatch(left.name):
            left.unlink()
    draw_faces(folder, count, seed, lambda done, total: emit(Counted("Drawing faces", done, total, "faces")))
    return folder


def check_seed(folder: Path, seed: int) -> None:
    """Raise VaeganError where `folder` holds faces that were drawn of another seed."""
    table = folder / ATTRIBUTES
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file), {})
    if any(first.get(name) != str(value) for name, value in asdict(random_face(seed, 0)).items()):
        raise VaeganError(
            f"{folder} holds faces of another seed than --seed {seed} (or of another version of vaegan): choose another"
            " folder, or add --force"
        )


def _drawn(name: str) -> bool:
    return name.startswith((".partial-", "face-")) or name == ATTRIBUTES


def run_demo(place: Path, settings: DemoSettings, device: str, force: bool, emit: Emit) -> dict[str, Path]:
    """Draw, prepare, train a VAE, train a GAN from it, sample and walk; returns every file made, by name.

    Run again it goes on where it was stopped. Raises VaeganError and Interrupted as the commands do.
    """
    began = time.perf_counter()
    data, vae, gan = place / "data" / "faces-64", place / "runs" / "vae", place / "runs" / "gan"
    if force or not Run(gan).exists():
        emit(Note(f"The demo takes about {settings.minutes:g} minutes on this machine and writes to {place}"))
    else:
        emit(Note(f"Going on with the demo in {place}: it stays as long as it was begun; --force starts over"))
    if not (force or is_prepared(data)):
        check_seed(place / "faces", settings.seed)
    faces = draw(place / "faces", settings.n, settings.seed, force, emit)
    if not is_prepared(data) or force:
        prepare([faces], data, force=force, on_event=emit)

    def minutes(run: Path, share: float) -> float | None:
        """Length of a new run, a share of the time that is left; a run that is there keeps its own."""
        left = settings.minutes * 60 - (time.perf_counter() - began) - RESERVE_SECONDS
        return max(0.05, left * share / 60) if force or not Run(run).exists() else None

    options: dict[str, Any] = {"device": device, "seed": settings.seed}
    train_vae(data, vae, force=force, on_event=emit, minutes=minutes(vae, VAE_SHARE), **options)
    train_gan(data, gan, from_vae=vae, force=force, on_event=emit, minutes=minutes(gan, 1.0), **options)
    made = {"faces": faces, "prepared set": data, "VAE": vae, "GAN": gan, **_show(place, vae, gan, device, force, emit)}
    spent = (time.perf_counter() - began) / 60
    emit(Note(f"Done in {spent:.1f} minutes. Look at {made['samples']} first, then at {made['animation']}"))
    return made


def _show(place: Path, vae: Path, gan: Path, device: str, force: bool, emit: Emit) -> dict[str, Path]:
    """Sample both runs with the same seeds, and walk through the GAN's latents."""
    model, before = load(gan, device), load(vae, device)
    samples, blurred = place / "samples.png", place / "vae-samples.png"
    write_sheet(model, range(64), SampleSettings(), samples, force, emit)
    write_sheet(before, range(64), SampleSettings(), blurred, force, emit)
    settings, keys = InterpolateSettings(), keys_of_seeds(model, range(4), 1.0)
    files = check_walk(model, len(keys.latents), settings, place / "walk", force)
    write_walk(model, keys, settings, files, emit)
    return {"samples": samples, "VAE samples": blurred, "strip": files.strip, "animation": files.animation}
