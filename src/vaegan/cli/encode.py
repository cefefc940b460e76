"""vaegan encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Device, Force, Json, Model, Pictures, Quiet


def encode(
    ckpt: Model,
    pictures: Pictures,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .safetensors file.", show_default="latents/...")
    ] = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn pictures into latents: a safetensors file, a row a picture."""
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import check_latents
        from vaegan.inference.reconstruct import encode as write

        model = load(path, device)
        place = out or Path("latents") / f"{label(model.weights.path)}.safetensors"
        check_latents(place, force)
        count = write(model, pictures, place, emit)
    results({"latents": place}, json, pictures=count)
