"""The map: faces of known latents, and a sheet of their thumbnails."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vaegan.data.store import PreparedSet, open_set
from vaegan.errors import VaeganError
from vaegan.events import Counted, Emit
from vaegan.generation import BATCH, Model
from vaegan.images import grid, to_pil
from vaegan.run import run_of

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


def set_of(model: Model) -> tuple[PreparedSet | None, str]:
    """The set that a model was trained on, or None and the reason why it is not known."""
    run = run_of(model.weights.path)
    if run is None:
        return None, f"{model.weights.path} is in no run that names its set"
    try:
        found = open_set(Path(str(run.config()["data"].get("path", ""))))
    except VaeganError as error:
        return None, str(error)
    config = model.weights.config
    if (found.size, found.channels) != (config.size, config.channels):
        return None, f"{found.path} holds pictures of another size"
    return found, ""


def make_atlas(model: Model, emit: Emit) -> Atlas:
    """Put training faces on the map by the encoder; without one, or without the set, samples by their seeds."""
    prepared, why = set_of(model)
    if model.encoder is None:
        return _sampled(model, "this GAN was trained from scratch and has no encoder")
    if prepared is None:
        return _sampled(model, why)
    try:
        train, _ = prepared.load()
    except VaeganError as error:
        return _sampled(model, str(error))
    if not len(train):
        return _sampled(model, f"{prepared.path} holds no training pictures")
    count = min(FACES, len(train))
    pictures = train[torch.arange(count) * len(train) // count]
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
