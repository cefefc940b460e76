"""vaegan info."""

from __future__ import annotations

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import reporting, results, show_table
from vaegan.cli.params import Device, Force, Json, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import ReconstructSettings
from vaegan.errors import UsageError


@takes(ReconstructSettings)
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
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Say what a prepared set, run or checkpoint is; or which pictures of its set are outliers."""
    if outliers:
        _show_outliers(path, data, out, device, force, json, quiet, build(ReconstructSettings, options))
        return
    alone = {"--data": data, "--out": out, "-n": options.get("n"), "--scale": options.get("scale")}
    for flag, value in alone.items():
        if value is not None:
            raise UsageError(f"{flag} {value} goes with --outliers: add it")
    from vaegan.inference.info import inspect

    facts = inspect(path)
    if json:
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
    json: bool,
    quiet: bool,
    settings: ReconstructSettings,
) -> None:
    with reporting(quiet) as emit:
        from vaegan.cli.checkpoint_args import label
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import outliers, write_pairs
        from vaegan.inference.sample import check_sheet

        model = load(path, device)
        place = out or Path("samples") / f"{label(model.weights.path)}-outliers.png"
        check_sheet(place, 2 * settings.n, force)
        prepared, pairs = outliers(model, data, settings.n, emit)
        write_pairs(model, pairs, settings.scale, place, emit)
    results({"sheet": place, "set": prepared.path} if json else {"sheet": place}, json, pictures=pairs.rows())
    if not json:
        show_table(("worst first", "PSNR, dB", "SSIM"), pairs.table())
