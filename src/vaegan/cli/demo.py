"""vaegan demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Device, Force, JsonFlag, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import DemoSettings
from vaegan.errors import UsageError


@with_settings(DemoSettings)
def demo(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where everything goes.", show_default="./vaegan-demo")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="With --faces-only: where the faces go.", show_default="DIR/faces"),
    ] = None,
    faces_only: Annotated[bool, typer.Option("--faces-only", help="Draw the faces and stop.")] = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Draw comic faces, then run the whole pipeline on them."""
    settings = build_settings(DemoSettings, options)
    if out is not None and not faces_only:
        raise UsageError(f"--out {out} goes with --faces-only; the whole demo goes to DIR: vaegan demo {out}")
    place = directory or Path("vaegan-demo")
    with event_reporter(quiet) as emit:
        from vaegan.demo.pipeline import check_faces_match_seed, draw_face_folder, run_demo

        if faces_only:
            faces = out or place / "faces"
            if not force:
                check_faces_match_seed(faces, settings.seed)
            made = {"faces": draw_face_folder(faces, settings.n, settings.seed, force, emit)}
        else:
            made = run_demo(place, settings, device, force, emit)
    print_results(made, as_json)
