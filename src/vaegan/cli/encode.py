"""vaegan encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Device, Force, ImagesArg, JsonFlag, Quiet


def encode(
    ckpt: CheckpointArg,
    images: ImagesArg,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .safetensors file.", show_default="latents/...")
    ] = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Turn pictures into latents: a safetensors file, a row a picture."""
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import check_latents_path
        from vaegan.inference.reconstruct import encode_files as write

        model = load(path, device)
        place = out or Path("latents") / f"{weights_slug(model.info.path)}.safetensors"
        check_latents_path(place, force)
        count = write(model, images, place, emit)
    print_results({"latents": place}, as_json, pictures=count)
