"""vaegan interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaegan.cli.checkpoint_args import checkpoint, label, named
from vaegan.cli.checkpoint_args import seeds as read_seeds
from vaegan.cli.console import reporting, results
from vaegan.cli.params import Best, Checkpoint, Device, Force, Json, Quiet, takes
from vaegan.config.options import build, only_one
from vaegan.config.settings import InterpolateSettings
from vaegan.errors import UsageError
from vaegan.events import Emit

if TYPE_CHECKING:
    from vaegan.inference.interpolate import Keys
    from vaegan.inference.model import Model

LONGEST = 80


@takes(InterpolateSettings)
def interpolate(
    ckpt: Checkpoint = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Faces to walk between, in order.", show_default="0,1")
    ] = None,
    latents: Annotated[
        Path | None, typer.Option("--latents", help="Walk between the rows of a file of vaegan encode.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="With --latents: these rows, from 0.", show_default="all")
    ] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Walk from this picture ...")] = None,
    via: Annotated[list[Path] | None, typer.Option("--via", help="... by this one (any number of them) ...")] = None,
    end: Annotated[Path | None, typer.Option("--to", help="... to this one.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where both files go: NAME.png, the strip, and NAME.gif, .webp or .mp4.",
            show_default="samples/...",
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
    """Walk from face to face, of seeds, latents or pictures: a strip and an animation."""
    settings = build(InterpolateSettings, options)
    only_one(options, ("path", "method"))
    pictures = [path for path in (start, *(via or ()), end) if path is not None]
    wanted = read_seeds(seeds or "0,1")
    chosen = None if rows is None else read_seeds(rows, "--rows")
    _check(seeds, latents, chosen, pictures, start, options)
    if not (latents or pictures) and len(wanted) < 2:
        raise UsageError(f"--seeds {seeds}: expected two seeds or more, such as 0,1")
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.inference.interpolate import check_walk, keys_of_pictures, keys_of_seeds, write_walk
        from vaegan.inference.model import load

        model = load(path, device)
        if pictures:
            name = "-".join(picture.stem for picture in pictures)[:LONGEST]
            files = check_walk(model, len(pictures), settings, out or _place(model, name), force)
            keys = keys_of_pictures(model, pictures, settings.optimize, emit)
        elif latents:
            keys, name = _rows(model, latents, chosen, emit)
            files = check_walk(model, len(keys.latents), settings, out or _place(model, name), force)
        else:
            files = check_walk(model, len(wanted), settings, out or _place(model, named(wanted)), force)
            keys = keys_of_seeds(model, wanted, settings.truncation)
        write_walk(model, keys, settings, files, emit)
    more = {"pictures": keys.errors} if pictures else {}
    results({"strip": files.strip, "animation": files.animation}, json, **more)


def _place(model: Model, name: str) -> Path:
    return Path("samples") / f"{label(model.weights.path)}-walk-{name}"


def _rows(model: Model, latents: Path, rows: list[int] | None, emit: Emit) -> tuple[Keys, str]:
    from vaegan.inference.interpolate import keys_of_latents

    keys = keys_of_latents(model, latents, rows, emit)
    if len(keys.latents) < 2:
        raise UsageError(f"--latents {latents}: one row alone is no walk, expected two or more")
    return keys, latents.stem if rows is None else f"{latents.stem}-{named(rows)}"


def _check(
    seeds: str | None,
    latents: Path | None,
    rows: list[int] | None,
    pictures: list[Path],
    start: Path | None,
    options: dict[str, Any],
) -> None:
    """Raise UsageError where faces are named in two ways, or in half of one."""
    ways = {"seeds": seeds, "latents": latents, "from": pictures[0] if pictures else None}
    only_one(ways, ways)
    if pictures and (start is None or len(pictures) < 2):
        raise UsageError(f"a walk needs two pictures or more: give --from and --to, not {pictures[0]} alone")
    if rows is not None and latents is None:
        raise UsageError("--rows goes with --latents: give the file that they are rows of")
    if options.get("truncation") is not None and (latents or pictures):
        raise UsageError(f"--truncation {options['truncation']:g} goes with --seeds: leave it out")
    if options.get("optimize") and not pictures:
        raise UsageError(f"--optimize {options['optimize']} goes with --from and --to: give pictures, or leave it out")
