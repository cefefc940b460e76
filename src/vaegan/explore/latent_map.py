"""The latent map: latents of many images, and a sprite sheet of their thumbnails."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.data.memmap import strided_subset
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, TaskProgress
from vaegan.inference.class_weights import class_number
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE
from vaegan.run_lookup import train_class_ids_for, train_val_images_for
from vaegan.utils.images import make_grid, to_pil

MAX_ENCODED_IMAGES = 1500
NUM_MAP_SAMPLES = 512
MAX_TILE_SIZE = 64
TILES_PER_ROW = 40


@dataclass(frozen=True)
class LatentMap:
    """The images on the map: encoded training images, or samples if training images cannot be encoded."""

    latents: Tensor  # float32 [N, d]
    sprite_sheet: bytes  # one JPEG of all thumbnails in the order of the latents, TILES_PER_ROW per row
    tile_size: int  # side of a thumbnail in pixels
    description: str
    is_encoded: bool  # whether the images are training images
    class_numbers: list[int] = field(default_factory=list)  # of each image; NO_CLASS where it is not known


def make_latent_map(model: Model, emit: EventHandler) -> LatentMap:
    """Encode training images. Without an encoder or the dataset, use samples.

    Args:
        model: the model.
        emit: receives notes and progress.

    Returns:
        the map.
    """
    if model.encoder is None:
        return _make_map_of_samples(model, "this GAN was trained without a VAE and has no encoder")
    try:
        train, _ = train_val_images_for(model.info)
    except VaeganError as error:
        return _make_map_of_samples(model, str(error))
    images, class_numbers = strided_subset(train, MAX_ENCODED_IMAGES), []
    if model.classes:
        with contextlib.suppress(VaeganError):  # the dataset may have lost its labels
            class_numbers = strided_subset(train_class_ids_for(model.info), MAX_ENCODED_IMAGES).tolist()
    latents = []
    for start in range(0, len(images), INFERENCE_BATCH_SIZE):
        latents.append(model.encode(images[start : start + INFERENCE_BATCH_SIZE]))
        emit(TaskProgress("Encoding images", start + len(latents[-1]), len(images), "images"))
    description = f"{len(images):,} of the {len(train):,} training images"
    sprite_sheet, tile_size = _make_sprite_sheet(images)
    return LatentMap(torch.cat(latents), sprite_sheet, tile_size, description, True, class_numbers)


def _make_map_of_samples(model: Model, reason: str) -> LatentMap:
    seeds = range(NUM_MAP_SAMPLES)
    images = torch.cat(list(model.sample_batches(seeds)))
    description = f"samples of the seeds 0 to {NUM_MAP_SAMPLES - 1} instead of training images: {reason}"
    class_numbers = [class_number(model, name) for name in model.classes_from_seeds(seeds) or ()]
    sprite_sheet, tile_size = _make_sprite_sheet(images)
    return LatentMap(model.latents_from_seeds(seeds), sprite_sheet, tile_size, description, False, class_numbers)


def _make_sprite_sheet(images: Tensor) -> tuple[bytes, int]:
    """Return images uint8 [N, C, S, S] as one JPEG of tiles, and the side of a tile in pixels."""
    tile_size = min(MAX_TILE_SIZE, images.shape[-1])
    if tile_size < images.shape[-1]:
        batches = torch.split(images, INFERENCE_BATCH_SIZE)
        images = torch.cat([F.interpolate(batch.float(), size=tile_size, mode="area") for batch in batches])
        images = images.round().to(torch.uint8)
    buffer = io.BytesIO()
    to_pil(make_grid(images, TILES_PER_ROW, padding=0)).convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), tile_size
