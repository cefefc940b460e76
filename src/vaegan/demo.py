"""The demo: faces that the tool draws itself, through the same functions that the commands call."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from vaegan.data.cartoon import draw_faces
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit, Note
from vaegan.settings import DemoSettings, InterpolateSettings, SampleSettings

VAE_SHARE = 0.2
RESERVE_SECONDS = 12.0


def draw(folder: Path, count: int, seed: int, force: bool, emit: Emit) -> Path:
    """Draw `count` faces into `folder` and return it; a finished folder of as many is used as it is."""
    table = folder / "attributes.csv"
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
    draw_faces(folder, count, seed, lambda done, total: emit(Counted("Drawing faces", done, total, "faces")))
    return folder


def _drawn(name: str) -> bool:
    return name.startswith((".partial-", "face-")) or name == "attributes.csv"


def run_demo(place: Path, settings: DemoSettings, device: str, force: bool, emit: Emit) -> dict[str, Path]:
    """Draw, prepare, train a VAE, train a GAN from it, sample and walk; returns every file made, by name.

    Run again it goes on where it was stopped. Raises VaeganError and Interrupted as the commands do.
    """
    began = time.perf_counter()
    emit(Note(f"The demo takes about {settings.minutes:g} minutes on this machine and writes to {place}"))
    faces = draw(place / "faces", settings.n, settings.seed, force, emit)
    from vaegan.data.preprocess import prepare
    from vaegan.data.store import is_prepared
    from vaegan.generation import load
    from vaegan.output import write_sheet, write_walk
    from vaegan.run import Run
    from vaegan.training.session import train_gan, train_vae

    data, vae, gan = place / "data" / "faces-64", place / "runs" / "vae", place / "runs" / "gan"
    if not is_prepared(data) or force:
        prepare([faces], data, force=force, on_event=emit)
    total = settings.minutes * 60

    def left(share: float) -> float:
        """Minutes for a stage that may take `share` of what is left."""
        return max(0.05, (total - (time.perf_counter() - began) - RESERVE_SECONDS) * share / 60)

    def minutes(run: Path, share: float) -> float | None:
        """Length of a new run; a run that is there keeps its own."""
        return left(share) if force or not Run(run).exists() else None

    options: dict[str, Any] = {"device": device, "seed": settings.seed}
    train_vae(data, vae, force=force, on_event=emit, minutes=minutes(vae, VAE_SHARE), **options)
    train_gan(data, gan, from_vae=vae, force=force, on_event=emit, minutes=minutes(gan, 1.0), **options)
    made = {"faces": faces, "prepared set": data, "VAE": vae, "GAN": gan}
    model = load(gan, device)
    write_sheet(model, range(64), SampleSettings(), place / "samples.png", force, emit)
    write_sheet(load(vae, device), range(64), SampleSettings(), place / "vae-samples.png", force, emit)
    strip, animation = write_walk(model, (0, 1, 2, 3), InterpolateSettings(), place / "walk", force, emit)
    made |= {"samples": place / "samples.png", "VAE samples": place / "vae-samples.png"}
    made |= {"strip": strip, "animation": animation}
    spent = (time.perf_counter() - began) / 60
    emit(Note(f"Done in {spent:.1f} minutes. Look at {place / 'samples.png'} first, then at {animation}"))
    return made
