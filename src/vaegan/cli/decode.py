"""vaegan decode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaegan.cli.checkpoint_args import class_slug, load_model, settings_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Device, Force, JsonFlag, Out, Quiet, Separate, with_settings
from vaegan.config.tool_settings import DecodeSettings


@with_settings(DecodeSettings)
def decode(
    ckpt: CheckpointArg,
    latents: Annotated[Path, typer.Argument(metavar="LATENTS", help="A .safetensors file written by vaegan encode.")],
    separate: Separate = False,
    out: Out = None,
    class_: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="Class of the images, for a model that was trained with --cond.",
            show_default="those in LATENTS",
        ),
    ] = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: DecodeSettings,
) -> None:
    """Decode latents into an image grid, or into one file per image.

    Examples:
        vaegan decode runs/gan latents/gan.safetensors
    """
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        import torch

        from vaegan.inference.networks import INFERENCE_BATCH_SIZE
        from vaegan.inference.reconstruct import read_classes, read_latents
        from vaegan.inference.sample import save_images

        z = read_latents(latents, model, emit)
        weights = model.class_weights(read_classes(latents, model, len(z)) if class_ is None else class_, len(z))
        batches = map(model.decode, *(torch.split(rows, INFERENCE_BATCH_SIZE) for rows in (z, weights)))
        names = [f"latent-{row:07d}" for row in range(len(z))]
        name = (
            f"{weights_slug(model.info.path)}-{latents.stem}{class_slug(class_)}{settings_slug(settings, ('scale',))}"
        )
        out_path = out or Path("samples") / (name if separate else f"{name}.png")
        description = f"latents of {latents}"
        save_images(model, batches, names, settings.scale, out_path, description, emit, separate, force)
    print_results({"samples": out_path}, as_json, num_images=len(z))
