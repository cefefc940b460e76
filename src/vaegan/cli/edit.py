"""vaegan edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import (
    class_slug,
    load_model,
    settings_slug,
    shorten_slug,
    sources_slug,
    weights_slug,
)
from vaegan.cli.console import event_reporter, print_results, print_table
from vaegan.cli.params import (
    Best,
    CheckpointArg,
    Device,
    Force,
    ImageClassName,
    ImagesArg,
    JsonFlag,
    Out,
    Quiet,
    with_settings,
)
from vaegan.config.tool_settings import EditSettings
from vaegan.errors import UsageError

MAX_CHANGES_BYTES = 60


@with_settings(EditSettings)
def edit(
    ckpt: CheckpointArg,
    images: ImagesArg,
    set_values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Attribute to change: yes, no, a value, or +2 for two standard deviations; may be repeated.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="Attribute to turn off; may be repeated.")
    ] = None,
    hold: Annotated[
        list[str] | None,
        typer.Option("--hold", metavar="NAME", help="Attribute that shall not change, or all; may be repeated."),
    ] = None,
    class_: ImageClassName = None,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: EditSettings,
) -> None:
    """Change attributes of faces, such as glasses or age.

    Writes a sheet of originals, reconstructions and edits. A second image shows each face at several strengths.

    Run vaegan attributes first.

    Examples:
        vaegan edit runs/gan ann.jpg --set glasses=yes --hold hair_color
        vaegan edit runs/gan photos/ --set age=+10 --remove hat --invert-steps 100
    """
    from vaegan.inference.edit import parse_assignments

    values = parse_assignments(set_values or (), "--set")
    for name in remove or ():
        if name in values:
            raise UsageError(f"--remove {name}: it is also given to --set; give it once")
        values[name] = "no"
    if not values:
        raise UsageError("nothing to change: add --set NAME=VALUE or --remove NAME; vaegan attributes lists the names")
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.edit import parse_changes
        from vaegan.inference.edit_sheets import edit_files, edit_sheet_paths
        from vaegan.inference.sample import file_slug

        changes = parse_changes(model.attributes, values)
        parts = [*values.items(), *(("hold", name) for name in hold or ())]
        asked = shorten_slug(file_slug("-".join(map("-".join, parts))), MAX_CHANGES_BYTES)
        name = f"{weights_slug(model.info.path)}-edit-{sources_slug(images)}{class_slug(class_)}-{asked}"
        name += settings_slug(settings, ("n", "strength", "invert_steps", "scale"))
        out_path = out or Path("samples") / f"{name}.png"
        paths = edit_sheet_paths(model, out_path, settings.n, settings.scale, force)
        records = edit_files(model, model.attributes, images, changes, hold or (), settings, paths, emit, class_)
    print_results(paths, as_json, images=records)
    if not as_json:
        rows = []
        for record in records:
            readings = record["readings"]
            assert isinstance(readings, dict)
            for title, (before, after) in readings.items():
                rows.append((str(record["image"]), title, f"{before:.2f}", f"{after:.2f}"))
        print_table(("image", "attribute", "before", "after"), rows)
