"""vaegan reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.cli.checkpoint_args import checkpoint, label
from vaegan.cli.console import reporting, results, show_table
from vaegan.cli.params import Best, Device, Force, Json, Model, Out, Pictures, Quiet, takes
from vaegan.config.options import build
from vaegan.config.settings import ReconstructSettings


@takes(ReconstructSettings)
def reconstruct(
    ckpt: Model,
    pictures: Pictures,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    *,
    options: dict[str, Any],
) -> None:
    """Show pictures beside what the model makes of them, with the error of each."""
    settings = build(ReconstructSettings, options)
    with reporting(quiet) as emit:
        path = checkpoint(ckpt, emit, best)
        from vaegan.inference.model import load
        from vaegan.inference.reconstruct import reconstruct as measure
        from vaegan.inference.reconstruct import write_pairs
        from vaegan.inference.sample import check_sheet

        model = load(path, device)
        place = out or Path("samples") / f"{label(model.weights.path)}-reconstructions.png"
        check_sheet(place, 2 * settings.n, force)
        pairs = measure(model, pictures, settings.n, emit)
        write_pairs(model, pairs, settings.scale, place, emit)
    results({"sheet": place}, json, pictures=pairs.rows())
    if not json:
        show_table(("picture", "PSNR, dB", "SSIM"), pairs.table())
