"""vaegan train-gan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import reporting, results
from vaegan.cli.params import Config, Data, Json, Quiet, Restart, takes
from vaegan.config.settings import GANSettings


@takes(GANSettings)
def train_gan(
    data: Data = None,
    from_vae: Annotated[
        Path | None,
        typer.Option(
            "--from-vae", metavar="CKPT", help="VAE whose decoder becomes the generator.", show_default="from scratch"
        ),
    ] = None,
    run: Annotated[Path, typer.Option("--run", help="The run's directory; run again to go on.")] = Path("runs/gan"),
    config: Config = None,
    force: Restart = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Train a GAN, its generator started from a VAE's decoder or from scratch."""
    with reporting(quiet) as emit:
        from vaegan.training.train import train_gan as train

        path = train(data, run, from_vae=from_vae, config=config, force=force, on_event=emit, **options)
    results({"run": path}, json)
