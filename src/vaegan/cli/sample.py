"""vaegan sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import checkpoint, label, named
from vaegan.cli.checkpoint_args import seeds as read_seeds
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Checkpoint, Device, Force, Json, Out, Quiet, takes
from vaegan.config.options import build, only_one
from vaegan.config.settings import SampleSettings


@takes(SampleSettings)
def sample(
    ckpt: Checkpoint = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Exactly these seeds: 0-63 or 3,17,20-25.", show_default=False)
    ] = None,
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
    """Draw new faces: a sheet, or one file each."""
    only_one({"seeds": seeds, **options}, ("seeds", "n"))
    only_one({"seeds": seeds, **options}, ("seeds", "seed"))
    settings = build(SampleSettings, options)
    wanted = read_seeds(seeds) if seeds is not None else list(range(settings.seed, settings.seed + settings.n))
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.sample import write_separate, write_sheet

        model = load(path, device)
        name = f"{label(model.weights.path)}-seeds-{named(wanted)}"
        if separate:
            place = out or Path("samples") / name
            write_separate(model, wanted, settings, place, force, emit)
        else:
            place = out or Path("samples") / f"{name}.png"
            write_sheet(model, wanted, settings, place, force, emit)
    results({"samples": place}, json, pictures=len(wanted))
