"""vaegan interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.chosen import checkpoint, label, named
from vaegan.cli.chosen import seeds as read_seeds
from vaegan.cli.options import Best, Checkpoint, Device, Force, Json, Quiet, takes
from vaegan.cli.reporting import reporting, results
from vaegan.config import build
from vaegan.errors import UsageError
from vaegan.settings import InterpolateSettings


@takes(InterpolateSettings)
def interpolate(
    ckpt: Checkpoint = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Faces to walk between, in order.")] = "0,1",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where both files go: NAME.png, the strip, and NAME.gif.", show_default="samples/..."
        ),
    ] = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Walk from face to face: a strip and an animation."""
    settings = build(InterpolateSettings, options)
    wanted = read_seeds(seeds)
    if len(wanted) < 2:
        raise UsageError(f"--seeds {seeds}: expected two seeds or more, such as 0,1")
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.generation import load
        from vaegan.output import write_walk

        model = load(path, device)
        place = out or Path("samples") / f"{label(model.weights.path)}-walk-{named(wanted)}"
        strip, animation = write_walk(model, wanted, settings, place, force, emit)
    results({"strip": strip, "animation": animation}, json)
