"""vaegan train-vae."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.completion import complete_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import (
    DEFAULT_VAE_RUN,
    Config,
    DatasetArg,
    ForceRestart,
    JsonFlag,
    Quiet,
    RunDirOption,
    with_settings,
)
from vaegan.cli.summaries import training_summary
from vaegan.config.settings import VAESettings, group_options


@with_settings(VAESettings, group_options)
def train_vae(
    data: DatasetArg = None,
    from_run: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="CKPT",
            help="Trained VAE to start from, of the same image size or half of it.",
            show_default="random initialization",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    run: RunDirOption = DEFAULT_VAE_RUN,
    config: Config = None,
    force: ForceRestart = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Train a VAE on a dataset.

    Most runs need only --minutes and --preset. Run the same command again to resume.

    Examples:
        vaegan train-vae
        vaegan train-vae data/faces-64 --minutes 20 --preset small
        vaegan train-vae data/few-64 --from runs/vae --run runs/few-vae
    """
    with event_reporter(quiet) as emit:
        from vaegan.training.train import train_vae as train

        path = train(data, run, config=config, force=force, from_run=from_run, on_event=emit, **options)
        emit(training_summary(path))
    print_results({"run": path}, as_json)
