"""vaegan demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Device, Force, JsonFlag, Quiet, out_option, with_settings
from vaegan.config.tool_settings import DemoSettings
from vaegan.errors import UsageError


@with_settings(DemoSettings)
def demo(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Directory for all files of the demo.", show_default="./vaegan-demo"),
    ] = None,
    out: Annotated[Path | None, out_option("With --faces-only: folder of the faces.", "DIR/faces", "DIR")] = None,
    faces_only: Annotated[bool, typer.Option("--faces-only", help="Only draw the faces.")] = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: DemoSettings,
) -> None:
    """Draw comic faces and run the whole pipeline on them.

    Examples:
        vaegan demo                  # about ten minutes without a GPU
        vaegan demo --minutes 30     # better faces
        vaegan demo --faces-only -n 1000 --out faces
    """
    if out is not None and not faces_only:
        raise UsageError(f"--out {out} goes with --faces-only; to run the whole demo there: vaegan demo {out}")
    demo_dir = directory or Path("vaegan-demo")
    with event_reporter(quiet) as emit:
        from vaegan.demo.pipeline import check_faces_match_seed, draw_face_folder, run_demo

        if faces_only:
            faces_dir = out or demo_dir / "faces"
            if not force:
                check_faces_match_seed(faces_dir, settings.seed)
            paths = {"faces": draw_face_folder(faces_dir, settings.n, settings.seed, force, emit)}
        else:
            paths = run_demo(demo_dir, settings, device, force, emit)
    print_results(paths, as_json)
