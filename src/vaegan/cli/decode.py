"""vaegan decode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Device, Force, JsonFlag, Out, Quiet, Separate, with_settings
from vaegan.config.options import build_settings
from vaegan.config.tool_settings import DecodeSettings

DECODE_BATCH_SIZE = 64


@with_settings(DecodeSettings)
def decode(
    ckpt: CheckpointArg,
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help="A .safetensors file written by vaegan encode.")],
    separate: Separate = False,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Decode latents into an image grid, or into one file per image."""
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
        z = read_latents(latents, model, emit)
        batches = (model.decode(z[start : start + DECODE_BATCH_SIZE]) for start in range(0, len(z), DECODE_BATCH_SIZE))
        name, note = f"{weights_slug(model.info.path)}-{latents.stem}", provenance_note(model, f"latents of {latents}")
        if separate:
            out_path = out or Path("samples") / name
            check_image_folder(out_path, force)
            names = [f"latent-{row:07d}" for row in range(len(z))]
            save_separately(batches, names, settings.scale, out_path, note, emit)
        else:
            out_path = out or Path("samples") / f"{name}.png"
            check_grid_path(out_path, len(z), force)
            save_grid(batches, len(z), settings.scale, out_path, note, emit)
    print_results({"samples": out_path}, as_json, num_images=len(z))
