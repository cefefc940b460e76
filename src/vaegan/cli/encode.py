"""vaegan encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from vaegan.cli.checkpoint_args import class_slug, load_model, sources_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import Best, CheckpointArg, Device, Force, ImageClassName, ImagesArg, JsonFlag, Quiet, out_option


def encode(
    ckpt: CheckpointArg,
    images: ImagesArg,
    out: Annotated[Path | None, out_option("The .safetensors file to write.", "latents/...")] = None,
    class_: ImageClassName = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
) -> None:
    """Encode images into latents: a .safetensors file, one row per image.

    Examples:
        vaegan encode runs/gan photo.jpg
        vaegan encode runs/gan photos/ --out latents/photos.safetensors
    """
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.reconstruct import check_latents_path, encode_files

        name = f"{weights_slug(model.info.path)}-{sources_slug(images)}{class_slug(class_)}"
        out_path = out or Path("latents") / f"{name}.safetensors"
        check_latents_path(out_path, force)
        num_images = encode_files(model, images, out_path, emit, class_)
    print_results({"latents": out_path}, as_json, num_images=num_images)
