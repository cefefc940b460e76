"""vaegan reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaegan.cli.chosen import checkpoint, label
from vaegan.cli.options import Best, Device, Force, Json, Model, Out, Pictures, Quiet, takes
from vaegan.cli.reporting import reporting, results, show_table
from vaegan.config import build
from vaegan.settings import ReconstructSettings


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
        from vaegan.generation import load
        from vaegan.output import check_sheet
        from vaegan.reconstruction import reconstruct as measure
        from vaegan.reconstruction import write_pairs

        model = load(path, device)
        place = out or Path("samples") / f"{label(model.weights.path)}-reconstructions.png"
        check_sheet(place, 2 * settings.n, force)
        pairs = measure(model, pictures, settings.n, emit)
        write_pairs(model, pairs, settings.scale, place, emit)
    results({"sheet": place}, json, pictures=pairs.rows())
    if not json:
        show_table(("picture", "PSNR, dB", "SSIM"), pairs.table())
