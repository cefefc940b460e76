"""vaegan info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import weights_slug
from vaegan.cli.completion import complete_checkpoint
from vaegan.cli.console import event_reporter, print_facts, print_json, print_table
from vaegan.cli.output import print_line
from vaegan.cli.params import Device, Force, JsonFlag, Quiet, dataset_option, out_option, with_settings
from vaegan.cli.runs import runs
from vaegan.config.tool_settings import ReconstructSettings
from vaegan.errors import UsageError
from vaegan.progress.measurements import describe_measurements


@with_settings(ReconstructSettings)
def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="A dataset, a run directory, a checkpoint, or a .safetensors file of weights or latents.",
            show_default="a list of the runs and datasets here",
            autocompletion=complete_checkpoint,
        ),
    ] = None,
    outliers: Annotated[
        bool, typer.Option("--outliers", help="Show the images of the dataset that a VAE reconstructs worst.")
    ] = False,
    data: Annotated[
        Path | None, dataset_option("With --outliers: a prepared dataset.", "the dataset that it was trained on")
    ] = None,
    out: Annotated[Path | None, out_option("With --outliers: the image grid to write.", "samples/...")] = None,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: ReconstructSettings,
    options: dict[str, Any],
) -> None:
    """Describe a dataset, run, checkpoint or latents, or show a dataset's outliers.

    Examples:
        vaegan info                       # the runs and datasets here
        vaegan info runs/gan
        vaegan info runs/vae --outliers
    """
    if not outliers:
        outlier_options = {"--data": data, "--out": out, "-n": options.get("n"), "--scale": options.get("scale")}
        for flag, value in outlier_options.items():
            if value is not None:
                raise UsageError(f"{flag} {value} goes with --outliers: add it")
        if path is None:
            runs(as_json=as_json)
        else:
            _show_facts(path, as_json)
        return
    if path is None:
        raise UsageError("--outliers needs PATH: a run of a VAE, or of a GAN that was trained from one")
    with event_reporter(quiet) as emit:
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import find_outliers, save_reconstructions
        from vaegan.inference.sample import check_grid_path, check_grid_size

        model = load(path, device)
        out_path = out or Path("samples") / f"{weights_slug(model.info.path)}-outliers.png"
        check_grid_size(2 * settings.n, model.info.config.size, settings.scale)
        check_grid_path(out_path, force)
        dataset, reconstructions = find_outliers(model, data, settings.n, emit)
        save_reconstructions(model, reconstructions, settings.scale, out_path, emit)
    if as_json:
        print_json({"grid": str(out_path), "dataset": str(dataset.path), "images": reconstructions.to_records()})
    else:
        print_line(str(out_path))
        print_table(reconstructions.table_header("worst first"), reconstructions.table_rows())


def _show_facts(path: Path, as_json: bool) -> None:
    from vaegan.inference.info import describe_path

    facts = describe_path(path)
    if as_json:
        print_json(facts)
    else:
        if metrics := facts.get("last_metrics"):
            kind = "vae" if facts["kind"].startswith("VAE") else "gan"
            shown = describe_measurements(kind, metrics)
            facts["last_metrics"] = f"{shown}; all of them: --json" if shown else "those of --json"
        print_facts({name.replace("_", " "): str(value) for name, value in facts.items()})
