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
from vaegan.config.options import build_settings, flag_name
from vaegan.config.settings import GANSettings, group_options
from vaegan.errors import UsageError

START_OPTIONS = ("init_d_from_encoder", "recon_weight", "recon_fraction", "recon_fraction_final", "recon_fade")
"""Options without an effect on a GAN from scratch; --freeze-d is checked with the networks."""
CONDITIONAL_OPTIONS = (*START_OPTIONS, "gamma_anneal_images")


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
        from vaegan.run_dir import RunDir
        from vaegan.training.train import train_gan as train

        if force or not RunDir(run).exists():  # a run that is resumed keeps its start and its options
            _check_effects(
                options, has_start=from_vae is not None or from_gan is not None, has_config=config is not None
            )
        path = train(
            data, run, from_vae=from_vae, from_gan=from_gan, config=config, force=force, on_event=emit, **options
        )
        emit(training_summary(path))
    print_results({"run": path}, as_json)


def _check_effects(options: dict[str, Any], has_start: bool, has_config: bool) -> None:
    """Raise UsageError for an option of a new run that would have no effect; 0 turns one off, and is allowed."""
    settings = build_settings(GANSettings, {name: options[name] for name in CONDITIONAL_OPTIONS if name in options})
    given = {name: getattr(settings, name) for name in CONDITIONAL_OPTIONS if name in options}
    for name in START_OPTIONS:
        if given.get(name) and not has_start:
            value = "" if given[name] is True else f" {given[name]}"
            raise UsageError(f"{flag_name(name)}{value} goes with --from-vae or --from-gan: add one, or leave it out")
    if "gamma_anneal_images" in given and options.get("gamma_final") is None and not has_config:
        count = given["gamma_anneal_images"]
        raise UsageError(f"--gamma-anneal-images {count} goes with --gamma-final: add it, or leave it out")
