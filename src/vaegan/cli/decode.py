"""vaegan decode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Device, Force, JsonFlag, Out, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import DecodeSettings

DECODE_BATCH_SIZE = 64


@with_settings(DecodeSettings)
def decode(
    ckpt: CheckpointArg,
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help="A .safetensors file of vaegan encode.")],
    separate: Annotated[bool, typer.Option("--separate", help="One file a picture, in a folder.")] = False,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Turn latents into pictures: a sheet, or one file each."""
    settings = build_settings(DecodeSettings, options)
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import read_latents
        from vaegan.inference.sample import (
            check_grid_path,
            check_image_folder,
            provenance_note,
            save_grid,
            save_separately,
        )

        model = load(path, device)
        rows = read_latents(latents, model, emit)
        name, note = f"{weights_slug(model.info.path)}-{latents.stem}", provenance_note(model, f"latents of {latents}")
        parts = (
            model.decode(rows[start : start + DECODE_BATCH_SIZE]) for start in range(0, len(rows), DECODE_BATCH_SIZE)
        )
        if separate:
            place = out or Path("samples") / name
            check_image_folder(place, force)
            names = [f"latent-{row:07d}" for row in range(len(rows))]
            save_separately(parts, names, settings.scale, place, note, emit)
        else:
            place = out or Path("samples") / f"{name}.png"
            check_grid_path(place, len(rows), force)
            save_grid(parts, len(rows), settings.scale, place, note, emit)
    print_results({"samples": place}, as_json, pictures=len(rows))
