"""vaegan reconstruct."""

from __future__ import annotations

from pathlib import Path

from vaegan.cli.checkpoint_args import class_slug, load_model, settings_slug, sources_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results, print_table
from vaegan.cli.params import (
    Best,
    CheckpointArg,
    Device,
    Force,
    ImageClassName,
    ImagesArg,
    JsonFlag,
    Out,
    Quiet,
    with_settings,
)
from vaegan.config.tool_settings import ReconstructSettings


@with_settings(ReconstructSettings)
def reconstruct(
    ckpt: CheckpointArg,
    images: ImagesArg,
    out: Out = None,
    class_: ImageClassName = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: ReconstructSettings,
) -> None:
    """Show images beside their reconstructions, with PSNR and SSIM.

    Examples:
        vaegan reconstruct runs/vae photos/
    """
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.reconstruct import reconstruct_files, save_reconstructions
        from vaegan.inference.sample import check_grid_path

        name = f"{weights_slug(model.info.path)}-reconstructions-{sources_slug(images)}{class_slug(class_)}"
        out_path = out or Path("samples") / f"{name}{settings_slug(settings, ('scale',))}.png"
        check_grid_path(out_path, force)
        reconstructions = reconstruct_files(model, images, settings.n, emit, class_)
        save_reconstructions(model, reconstructions, settings.scale, out_path, emit)
    print_results({"grid": out_path}, as_json, images=reconstructions.to_records())
    if not as_json:
        print_table(reconstructions.table_header(), reconstructions.table_rows())
