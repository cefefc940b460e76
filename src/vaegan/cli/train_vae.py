"""vaegan train-vae."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Config, DatasetArg, ForceRestart, JsonFlag, Quiet, with_settings
from vaegan.config.settings import VAESettings


@with_settings(VAESettings)
def train_vae(
    data: DatasetArg = None,
    run: Annotated[Path, typer.Option("--run", help="The run's directory; run again to go on.")] = Path("runs/vae"),
    config: Config = None,
    force: ForceRestart = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Train a VAE on a prepared set, or go on where it stopped."""
    with event_reporter(quiet) as emit:
        from vaegan.training.train import train_vae as train

        path = train(data, run, config=config, force=force, on_event=emit, **options)
    print_results({"run": path}, as_json)
