"""The map: faces of known latents, and a sheet of their thumbnails."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.data.memmap import strided_subset
from vaegan.errors import VaeganError
from vaegan.events import EventHandler, TaskProgress
from vaegan.inference.model import INFERENCE_BATCH_SIZE, Model
from vaegan.run_lookup import train_val_images_for
from vaegan.utils.images import make_grid, to_pil

MAX_ENCODED_IMAGES = 1500
NUM_MAP_SAMPLES = 512
MAX_TILE_SIZE = 64
TILES_PER_ROW = 40


@dataclass(frozen=True)
class LatentMap:
    """Faces on the map.

    latents: float32 [N, d]; sprite: their thumbnails as one JPEG, `tile` pixels each, 40 in a row; said: what they are;
    encoded: whether they are training pictures, else samples.
    """

    latents: Tensor
    sprite_sheet: bytes
    tile_size: int
    description: str
    is_encoded: bool


def _make_sprite_sheet(images: Tensor) -> tuple[bytes, int]:
    """Pictures uint8 [N, C, S, S] as one JPEG of tiles, and a tile's side in pixels."""
    tile = min(MAX_TILE_SIZE, images.shape[-1])
    if tile < images.shape[-1]:
        parts = [
            F.interpolate(part.float(), size=tile, mode="area") for part in torch.split(images, INFERENCE_BATCH_SIZE)
        ]
        images = torch.cat(parts).round().to(torch.uint8)
    buffer = io.BytesIO()
    to_pil(make_grid(images, TILES_PER_ROW, padding=0)).convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), tile


def make_latent_map(model: Model, emit: EventHandler) -> LatentMap:
    """Put training faces on the map by the encoder; without one, or without the set, samples by their seeds."""
    if model.encoder is None:
        return _make_map_of_samples(model, "this GAN was trained from scratch and has no encoder")
    try:
        train, _ = train_val_images_for(model.info)
    except VaeganError as error:
        return _make_map_of_samples(model, str(error))
    pictures = strided_subset(train, MAX_ENCODED_IMAGES)
    count = len(pictures)
    latents = []
    for part in torch.split(pictures, INFERENCE_BATCH_SIZE):
        latents.append(model.encode(part))
        emit(TaskProgress("Placing faces", sum(map(len, latents)), count, "faces"))
    said = f"{count:,} of the {len(train):,} faces that it was trained on"
    return LatentMap(torch.cat(latents), *_make_sprite_sheet(pictures), said, True)


def _make_map_of_samples(model: Model, reason: str) -> LatentMap:
    seeds = range(NUM_MAP_SAMPLES)
    pictures = torch.cat(list(model.sample_batches(seeds)))
    said = f"samples of seeds 0 to {NUM_MAP_SAMPLES - 1} instead of training faces: {reason}"
    return LatentMap(model.latents_from_seeds(seeds), *_make_sprite_sheet(pictures), said, False)
