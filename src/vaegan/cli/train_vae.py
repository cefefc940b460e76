"""vaegan train-vae."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import reporting, results
from vaegan.cli.params import Config, Data, Json, Quiet, Restart, takes
from vaegan.config.settings import VAESettings


@takes(VAESettings)
def train_vae(
    data: Data = None,
    run: Annotated[Path, typer.Option("--run", help="The run's directory; run again to go on.")] = Path("runs/vae"),
    config: Config = None,
    force: Restart = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Train a VAE on a prepared set, or go on where it stopped."""
    with reporting(quiet) as emit:
        from vaegan.training.train import train_vae as train

        path = train(data, run, config=config, force=force, on_event=emit, **options)
    results({"run": path}, json)
