"""vaegan info."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import event_reporter, print_results, print_table
from vaegan.cli.params import Device, Force, JsonFlag, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import ReconstructSettings
from vaegan.errors import UsageError


@with_settings(ReconstructSettings)
def info(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A prepared set, a run, a checkpoint or a .safetensors file.")
    ],
    outliers: Annotated[
        bool,
        typer.Option("--outliers", help="Of a VAE: show the pictures of its set that it reconstructs worst."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="With --outliers: another prepared set.", show_default="the set of its training"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="With --outliers: where the sheet goes.", show_default="samples/..."),
    ] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Say what a prepared set, run or checkpoint is; or which pictures of its set are outliers."""
    if outliers:
        _show_outliers(path, data, out, device, force, as_json, quiet, build_settings(ReconstructSettings, options))
        return
    alone = {"--data": data, "--out": out, "-n": options.get("n"), "--scale": options.get("scale")}
    for flag, value in alone.items():
        if value is not None:
            raise UsageError(f"{flag} {value} goes with --outliers: add it")
    from vaegan.inference.info import describe_path

    facts = describe_path(path)
    if as_json:
        print(encoder.dumps(facts, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")


def _show_outliers(
    path: Path,
    data: Path | None,
    out: Path | None,
    device: str,
    force: bool,
    as_json: bool,
    quiet: bool,
    settings: ReconstructSettings,
) -> None:
    with event_reporter(quiet) as emit:
        from vaegan.cli.checkpoint_args import weights_slug
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import find_outliers, save_reconstructions
        from vaegan.inference.sample import check_grid_path

        model = load(path, device)
        place = out or Path("samples") / f"{weights_slug(model.info.path)}-outliers.png"
        check_grid_path(place, 2 * settings.n, force)
        prepared, pairs = find_outliers(model, data, settings.n, emit)
        save_reconstructions(model, pairs, settings.scale, place, emit)
    print_results(
        {"sheet": place, "set": prepared.path} if as_json else {"sheet": place}, as_json, pictures=pairs.to_records()
    )
    if not as_json:
        print_table(("worst first", "PSNR, dB", "SSIM"), pairs.table_rows())
