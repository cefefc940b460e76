"""vaegan interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaegan.cli.checkpoint_args import parse_seeds as read_seeds
from vaegan.cli.checkpoint_args import resolve_checkpoint, seeds_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, Device, Force, JsonFlag, OptionalCheckpointArg, Quiet, with_settings
from vaegan.config.options import build_settings, require_at_most_one
from vaegan.config.settings import InterpolateSettings
from vaegan.errors import UsageError
from vaegan.events import EventHandler

if TYPE_CHECKING:
    from vaegan.inference.interpolate import Keyframes
    from vaegan.inference.model import Model

MAX_NAME_LENGTH = 80


@with_settings(InterpolateSettings)
def interpolate(
    ckpt: OptionalCheckpointArg = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Faces to walk between, in order.", show_default="0,1")
    ] = None,
    latents: Annotated[
        Path | None, typer.Option("--latents", help="Walk between the rows of a file of vaegan encode.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="With --latents: these rows, from 0.", show_default="all")
    ] = None,
    first_image: Annotated[Path | None, typer.Option("--from", help="Walk from this picture ...")] = None,
    via: Annotated[list[Path] | None, typer.Option("--via", help="... by this one (any number of them) ...")] = None,
    last_image: Annotated[Path | None, typer.Option("--to", help="... to this one.")] = None,
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
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Walk from face to face, of seeds, latents or pictures: a strip and an animation."""
    settings = build_settings(InterpolateSettings, options)
    require_at_most_one(options, ("path", "method"))
    pictures = [path for path in (first_image, *(via or ()), last_image) if path is not None]
    wanted = read_seeds(seeds or "0,1")
    chosen = None if rows is None else read_seeds(rows, "--rows")
    _check_keyframe_source(seeds, latents, chosen, pictures, first_image, options)
    if not (latents or pictures) and len(wanted) < 2:
        raise UsageError(f"--seeds {seeds}: expected two seeds or more, such as 0,1")
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.inference.interpolate import (
            check_interpolation,
            keyframes_from_images,
            keyframes_from_seeds,
            save_interpolation,
        )
        from vaegan.inference.model import load

        model = load(path, device)
        if pictures:
            name = "-".join(picture.stem for picture in pictures)[:MAX_NAME_LENGTH]
            files = check_interpolation(model, len(pictures), settings, out or _default_out(model, name), force)
            keys = keyframes_from_images(model, pictures, settings.invert_steps, emit)
        elif latents:
            keys, name = _keyframes_from_rows(model, latents, chosen, emit)
            files = check_interpolation(model, len(keys.latents), settings, out or _default_out(model, name), force)
        else:
            files = check_interpolation(
                model, len(wanted), settings, out or _default_out(model, seeds_slug(wanted)), force
            )
            keys = keyframes_from_seeds(model, wanted, settings.truncation)
        save_interpolation(model, keys, settings, files, emit)
    more = {"pictures": keys.reconstruction_errors} if pictures else {}
    print_results({"strip": files.strip, "animation": files.animation}, as_json, **more)


def _default_out(model: Model, name: str) -> Path:
    return Path("samples") / f"{weights_slug(model.info.path)}-walk-{name}"


def _keyframes_from_rows(
    model: Model, latents: Path, rows: list[int] | None, emit: EventHandler
) -> tuple[Keyframes, str]:
    from vaegan.inference.interpolate import keyframes_from_latents

    keys = keyframes_from_latents(model, latents, rows, emit)
    if len(keys.latents) < 2:
        raise UsageError(f"--latents {latents}: one row alone is no walk, expected two or more")
    return keys, latents.stem if rows is None else f"{latents.stem}-{seeds_slug(rows)}"


def _check_keyframe_source(
    seeds: str | None,
    latents: Path | None,
    rows: list[int] | None,
    images: list[Path],
    first_image: Path | None,
    options: dict[str, Any],
) -> None:
    """Raise UsageError where faces are named in two ways, or in half of one."""
    ways = {"seeds": seeds, "latents": latents, "from": images[0] if images else None}
    require_at_most_one(ways, ways)
    if images and (first_image is None or len(images) < 2):
        raise UsageError(f"a walk needs two pictures or more: give --from and --to, not {images[0]} alone")
    if rows is not None and latents is None:
        raise UsageError("--rows goes with --latents: give the file that they are rows of")
    if options.get("truncation") is not None and (latents or images):
        raise UsageError(f"--truncation {options['truncation']:g} goes with --seeds: leave it out")
    if options.get("invert_steps") and not images:
        raise UsageError(
            f"--invert-steps {options['invert_steps']} goes with --from and --to: give pictures, or leave it out"
        )
