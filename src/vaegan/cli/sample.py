"""vaegan sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaegan.cli.checkpoint_args import load_model, parse_seeds, seeds_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, Device, Force, JsonFlag, OptionalCheckpointArg, Out, Quiet, Separate, with_settings
from vaegan.config.options import require_at_most_one
from vaegan.config.tool_settings import SampleSettings


@with_settings(SampleSettings)
def sample(
    ckpt: OptionalCheckpointArg = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Seeds instead of -n and --seed: 0-63 or 3,17,20-25.")
    ] = None,
    separate: Separate = False,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: SampleSettings,
    options: dict[str, Any],
) -> None:
    """Sample new faces into an image grid, or into one file per image."""
    require_at_most_one({"seeds": seeds, **options}, ("seeds", "n"))
    require_at_most_one({"seeds": seeds, **options}, ("seeds", "seed"))
    seed_list = parse_seeds(seeds) if seeds is not None else list(range(settings.seed, settings.seed + settings.n))
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.sample import save_samples

        name = f"{weights_slug(model.info.path)}-seeds-{seeds_slug(seed_list)}"
        out_path = out or Path("samples") / (name if separate else f"{name}.png")
        save_samples(model, seed_list, settings, out_path, emit, separate, force)
    print_results({"samples": out_path}, as_json, num_images=len(seed_list))
