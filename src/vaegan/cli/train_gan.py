"""vaegan train-gan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.completion import complete_checkpoint
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import (
    DEFAULT_GAN_RUN,
    Config,
    ForceRestart,
    JsonFlag,
    Quiet,
    RunDirOption,
    dataset_argument,
    with_settings,
)
from vaegan.cli.summaries import training_summary
from vaegan.config.settings import GANSettings, group_options


@with_settings(GANSettings, group_options)
def train_gan(
    data: Annotated[
        Path | None, dataset_argument("A prepared dataset.", "the VAE's, else the newest under data/")
    ] = None,
    from_vae: Annotated[
        Path | None,
        typer.Option(
            "--from-vae",
            metavar="CKPT",
            help="VAE whose decoder initializes the generator.",
            show_default="random initialization",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    from_gan: Annotated[
        Path | None,
        typer.Option(
            "--from-gan",
            metavar="CKPT",
            help="Trained GAN to start from instead, of the same image size or half of it.",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    run: RunDirOption = DEFAULT_GAN_RUN,
    config: Config = None,
    force: ForceRestart = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Train a GAN from a VAE's decoder, from another GAN, or from scratch.

    Most runs need only --from-vae, --minutes and --preset. Run the same command again to resume.

    Examples:
        vaegan train-gan --from-vae runs/vae
        vaegan train-gan --from-vae runs/vae --minutes 60 --preset small
        vaegan train-gan data/few-64 --from-gan runs/gan --run runs/few-gan
    """
    with event_reporter(quiet) as emit:
        from vaegan.training.train import train_gan as train

        path = train(
            data, run, from_vae=from_vae, from_gan=from_gan, config=config, force=force, on_event=emit, **options
        )
        emit(training_summary(path))
    print_results({"run": path}, as_json)
