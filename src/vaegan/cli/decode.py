"""vaegan decode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Device, Force, Json, Model, Out, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import DecodeSettings

AT_ONCE = 64


@takes(DecodeSettings)
def decode(
    ckpt: Model,
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help="A .safetensors file of vaegan encode.")],
    separate: Annotated[bool, typer.Option("--separate", help="One file a picture, in a folder.")] = False,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Turn latents into pictures: a sheet, or one file each."""
    settings = build(DecodeSettings, options)
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import read_latents
        from vaegan.inference.sample import check_folder, check_sheet, draw_separate, draw_sheet, note_of

        model = load(path, device)
        rows = read_latents(latents, model, emit)
        name, note = f"{label(model.weights.path)}-{latents.stem}", note_of(model, f"latents of {latents}")
        parts = (model.decode(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE))
        if separate:
            place = out or Path("samples") / name
            check_folder(place, force)
            names = [f"latent-{row:07d}" for row in range(len(rows))]
            draw_separate(parts, names, settings.scale, place, note, emit)
        else:
            place = out or Path("samples") / f"{name}.png"
            check_sheet(place, len(rows), force)
            draw_sheet(parts, len(rows), settings.scale, place, note, emit)
    results({"samples": place}, json, pictures=len(rows))
