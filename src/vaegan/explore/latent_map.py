"""The map: faces of known latents, and a sheet of their thumbnails."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.data.memmap import some_of
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit
from vaegan.inference.model import BATCH, Model
from vaegan.run_lookup import train_val_images_for
from vaegan.utils.images import grid, to_pil

FACES = 1500
SAMPLED = 512
TILE = 64
COLUMNS = 40


@dataclass(frozen=True)
class Atlas:
    """Faces on the map.

    latents: float32 [N, d]; sprite: their thumbnails as one JPEG, `tile` pixels each, 40 in a row; said: what they are;
    encoded: whether they are training pictures, else samples.
    """

    latents: Tensor
    sprite: bytes
    tile: int
    said: str
    encoded: bool


def _sprite(pictures: Tensor) -> tuple[bytes, int]:
    """Pictures uint8 [N, C, S, S] as one JPEG of tiles, and a tile's side in pixels."""
    tile = min(TILE, pictures.shape[-1])
    if tile < pictures.shape[-1]:
        parts = [F.interpolate(part.float(), size=tile, mode="area") for part in torch.split(pictures, BATCH)]
        pictures = torch.cat(parts).round().to(torch.uint8)
    buffer = io.BytesIO()
    to_pil(grid(pictures, COLUMNS, padding=0)).convert("RGB").save(buffer, "JPEG", quality=85)
    return buffer.getvalue(), tile


def make_atlas(model: Model, emit: Emit) -> Atlas:
    """Put training faces on the map by the encoder; without one, or without the set, samples by their seeds."""
    if model.encoder is None:
        return _sampled(model, "this GAN was trained from scratch and has no encoder")
    try:
        train, _ = train_val_images_for(model.weights)
    except VaeganError as error:
        return _sampled(model, str(error))
    pictures = some_of(train, FACES)
    count = len(pictures)
    latents = []
    for part in torch.split(pictures, BATCH):
        latents.append(model.encode(part))
        emit(Counted("Placing faces", sum(map(len, latents)), count, "faces"))
    said = f"{count:,} of the {len(train):,} faces that it was trained on"
    return Atlas(torch.cat(latents), *_sprite(pictures), said, True)


def _sampled(model: Model, why: str) -> Atlas:
    seeds = range(SAMPLED)
    pictures = torch.cat(list(model.batches(seeds)))
    said = f"samples of seeds 0 to {SAMPLED - 1} instead of training faces: {why}"
    return Atlas(model.latents(seeds), *_sprite(pictures), said, False)
