"""vaegan train-vae."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Config, DatasetArg, ForceRestart, JsonFlag, Quiet, RunDirOption, with_settings
from vaegan.cli.summaries import training_summary
from vaegan.config.settings import VAESettings, group_options


@with_settings(VAESettings, group_options)
def train_vae(
    data: DatasetArg = None,
    run: RunDirOption = Path("runs/vae"),
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
    """
    with event_reporter(quiet) as emit:
        from vaegan.training.train import train_vae as train

        path = train(data, run, config=config, force=force, on_event=emit, **options)
        emit(training_summary(path))
    print_results({"run": path}, as_json)
