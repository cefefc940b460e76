"""vaegan interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import load_model, parse_seeds, seeds_slug, settings_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, Device, Force, JsonFlag, OptionalCheckpointArg, Quiet, out_option, with_settings
from vaegan.config.options import require_at_most_one
from vaegan.config.tool_settings import InterpolateSettings
from vaegan.errors import UsageError

MAX_NAME_LENGTH = 80
DEFAULT_SEEDS = "0,1"

Seeds = Annotated[
    str | None,
    typer.Option("--seeds", metavar="SEEDS", help="Seeds of the faces, in order.", show_default=DEFAULT_SEEDS),
]
LatentsFile = Annotated[
    Path | None,
    typer.Option("--latents", metavar="FILE", help="A .safetensors file of latents written by vaegan encode."),
]
Rows = Annotated[
    str | None,
    typer.Option("--rows", metavar="ROWS", help="With --latents: rows of the file, from 0.", show_default="all"),
]
ViaImages = Annotated[
    list[Path] | None, typer.Option("--via", metavar="IMAGE", help="Image between --from and --to; may be repeated.")
]
OutName = Annotated[
    Path | None,
    out_option("Path NAME of the strip NAME.png and the animation NAME.gif, .webp or .mp4.", "samples/...", "PATH"),
]


@with_settings(InterpolateSettings)
def interpolate(
    ckpt: OptionalCheckpointArg = None,
    seeds: Seeds = None,
    latents: LatentsFile = None,
    rows: Rows = None,
    first_image: Annotated[Path | None, typer.Option("--from", metavar="IMAGE", help="First image.")] = None,
    via: ViaImages = None,
    last_image: Annotated[Path | None, typer.Option("--to", metavar="IMAGE", help="Last image.")] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            metavar="NAME",
            help="Turn this attribute from off to on, of one face: the first of --seeds, or the image of --from."
            " NAME=VALUE names one value.",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class of all faces, for a model that was trained with --cond. Give it once for each face to go from"
            " class to class, also from one seed.",
        ),
    ] = None,
    out: OutName = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: InterpolateSettings,
    options: dict[str, Any],
) -> None:
    """Animate a walk between faces, or turn an attribute of one.

    Faces are given as seeds, latents or images.

    Writes a strip of images and a GIF, WebP or MP4.

    Examples:
        vaegan interpolate --seeds 3,17,42
        vaegan interpolate runs/gan --from ann.jpg --to bob.jpg --invert-steps 200
        vaegan interpolate --seeds 3 --attribute glasses
        vaegan interpolate --seeds 3 --class smile --class frown
    """
    images = [image for image in (first_image, *(via or ()), last_image) if image is not None]
    row_list = None if rows is None else parse_seeds(rows, "--rows")
    seed_list = parse_seeds(seeds or DEFAULT_SEEDS)
    if attribute is None and len(seed_list) == 1 and classes:
        seed_list *= len(classes)  # one seed in several classes
    loop_options = ("loop", "ping_pong")
    require_at_most_one({name: options.get(name) or None for name in loop_options}, loop_options)
    if attribute is None:
        _check_keyframe_source(seeds, latents, row_list, images, first_image)
    elif latents or len(images) > 1 or (images and first_image is None) or (images and seeds):
        raise UsageError(f"--attribute {attribute}: give one face, by --seeds or --from")
    has_seeds = not (latents or images)
    _check_options_of_source(has_seeds, bool(images), options)
    if attribute is None and has_seeds and len(seed_list) < 2:
        raise UsageError(f"--seeds {seeds}: expected two seeds or more, such as {DEFAULT_SEEDS}")
    with event_reporter(quiet) as emit:
        from vaegan.utils.animation import require_format

        require_format(out, settings.format)
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.interpolate import (
            check_interpolation,
            keyframes_from_images,
            keyframes_from_latents,
            keyframes_from_seeds,
            keyframes_of_attribute,
            save_interpolation,
        )
        from vaegan.inference.sample import file_slug

        def check_out(name: str, num_keyframes: int) -> dict[str, Path]:
            # with an ending, because one in a name, such as that of ben.orig.jpg, is none of an animation
            name += settings_slug(settings, ("truncation", "reencode", "invert_steps"))
            file_name = f"{weights_slug(model.info.path)}-interpolation-{name}.{settings.format or 'gif'}"
            default_out = Path("samples") / file_name
            return check_interpolation(model, num_keyframes, settings, out or default_out, force)

        if attribute is not None:
            keyframes = keyframes_of_attribute(
                model, attribute, seed_list[0], images[0] if images else None, settings, emit, classes
            )
            slug = attribute.replace("=", "-").replace("/", "-")
            paths = check_out(f"{images[0].stem if images else seed_list[0]}-{slug}"[:MAX_NAME_LENGTH], 2)
        elif images:  # the output path is checked first, because inversion takes long
            paths = check_out("-".join(image.stem for image in images)[:MAX_NAME_LENGTH], len(images))
            keyframes = keyframes_from_images(model, images, settings.invert_steps, emit, classes)
        elif latents:
            keyframes = keyframes_from_latents(model, latents, row_list, emit, classes)
            if len(keyframes.latents) < 2:
                raise UsageError(f"--latents {latents}: expected two rows or more, found {len(keyframes.latents)}")
            name = latents.stem if row_list is None else f"{latents.stem}-{seeds_slug(row_list)}"
            paths = check_out(name, len(keyframes.latents))
        else:
            class_slug = "".join(f"-{file_slug(name)}" for name in classes or ())[:MAX_NAME_LENGTH]
            paths = check_out(f"{seeds_slug(seed_list)}{class_slug}", len(seed_list))
            keyframes = keyframes_from_seeds(model, seed_list, settings.truncation, classes, settings.reencode)
        save_interpolation(model, keyframes, settings, paths, emit)
    extra = {"images": keyframes.reconstruction_errors} if images else {}
    print_results(paths, as_json, **extra)


def _check_keyframe_source(
    seeds: str | None,
    latents: Path | None,
    rows: list[int] | None,
    images: list[Path],
    first_image: Path | None,
) -> None:
    """Raise UsageError unless the faces come from exactly one source that is complete."""
    sources = {"seeds": seeds, "latents": latents, "from": images[0] if images else None}
    require_at_most_one(sources, sources)
    if images and (first_image is None or len(images) < 2):
        raise UsageError(f"expected two images or more: give --from and --to, not {images[0]} alone")
    if rows is not None and latents is None:
        raise UsageError("--rows goes with --latents: add the file that contains the rows")


def _check_options_of_source(has_seeds: bool, has_images: bool, options: dict[str, Any]) -> None:
    """Raise UsageError for an option that has no effect on faces from this source."""
    if options.get("truncation") is not None and not has_seeds:
        raise UsageError(f"--truncation {options['truncation']:g} goes with --seeds: leave it out")
    if options.get("reencode") and not has_seeds:
        raise UsageError(f"--reencode {options['reencode']} goes with --seeds: leave it out")
    if options.get("invert_steps") and not has_images:
        raise UsageError(f"--invert-steps {options['invert_steps']} goes with --from and --to: add them")
