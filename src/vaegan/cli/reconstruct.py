"""vaegan reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.cli.checkpoint_args import resolve_checkpoint, weights_slug
from vaegan.cli.console import event_reporter, print_results, print_table
from vaegan.cli.params import Best, CheckpointArg, Device, Force, ImagesArg, JsonFlag, Out, Quiet, with_settings
from vaegan.config.options import build_settings
from vaegan.config.settings import ReconstructSettings


@with_settings(ReconstructSettings)
def reconstruct(
    ckpt: CheckpointArg,
    images: ImagesArg,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Show pictures beside what the model makes of them, with the error of each."""
    settings = build_settings(ReconstructSettings, options)
    with event_reporter(quiet) as emit:
        path = resolve_checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import reconstruct_files as measure
        from vaegan.inference.reconstruct import save_reconstructions
        from vaegan.inference.sample import check_grid_path

        model = load(path, device)
        place = out or Path("samples") / f"{weights_slug(model.info.path)}-reconstructions.png"
        check_grid_path(place, 2 * settings.n, force)
        pairs = measure(model, images, settings.n, emit)
        save_reconstructions(model, pairs, settings.scale, place, emit)
    print_results({"sheet": place}, as_json, pictures=pairs.to_records())
    if not as_json:
        print_table(("picture", "PSNR, dB", "SSIM"), pairs.table_rows())
