"""Walks through latent space: what they lead by (seeds, latents, real pictures), and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.settings import InterpolateSettings
from vaegan.data.image_files import read_pictures
from vaegan.errors import UsageError
from vaegan.events import Counted, Emit, Note, Wrote, ignore
from vaegan.inference.invert import invert, quality
from vaegan.inference.model import BATCH, Model
from vaegan.inference.reconstruct import read_latents
from vaegan.inference.sample import note_of, refuse_directory
from vaegan.models.interpolation import default_path, walk
from vaegan.run_lookup import preprocess_settings_for
from vaegan.utils.animation import MAX_BYTES, check_animation, place_of, save_animation
from vaegan.utils.images import enlarge, grid, refuse_foreign, save_png

MAX_FRAMES = 10_000
STRIP = 10


@dataclass(frozen=True)
class Keys:
    """What a walk leads by: latents float32 [k, d], what they are in words, and of pictures, how close they come.

    errors: for every picture its path and PSNR in dB by the encoder, and after optimization where there was one.
    """

    latents: Tensor
    what: str
    errors: list[dict[str, str | float]] = field(default_factory=list)


@dataclass(frozen=True)
class Walk:
    """Where a walk's files go, checked before anything is drawn."""

    strip: Path
    animation: Path


class _Played:
    """Frames uint8 [N, C, S, S] in the order in which an animation shows them, enlarged when they are asked for."""

    def __init__(self, frames: Tensor, settings: InterpolateSettings) -> None:
        self.frames, self.scale = frames, settings.scale
        self.order = [*range(len(frames))]
        if settings.loop:
            self.order.pop()  # it is the first once more
        elif settings.back:
            self.order += range(len(frames) - 2, 0, -1)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Tensor]:
        return (enlarge(self.frames[place], self.scale) for place in self.order)


def keys_of_seeds(model: Model, seeds: Sequence[int], truncation: float) -> Keys:
    """Lead by the faces of seeds."""
    return Keys(model.latents(seeds, truncation), f"seeds {', '.join(map(str, seeds[:8]))}")


def keys_of_latents(model: Model, path: Path, rows: Sequence[int] | None, emit: Emit) -> Keys:
    """Lead by rows of a file of vaegan encode, all where none are given. Raises VaeganError where it does not fit."""
    latents = read_latents(path, model, emit)
    if rows is None:
        return Keys(latents, f"latents of {path}")
    if max(rows) >= len(latents):
        raise UsageError(f"--rows: there is no row {max(rows)}, {path} holds rows 0 to {len(latents) - 1}")
    return Keys(latents[list(rows)], f"latents of {path}, rows {', '.join(map(str, rows[:8]))}")


def keys_of_pictures(model: Model, paths: Sequence[Path], steps: int, emit: Emit) -> Keys:
    """Lead by pictures, squared as the model's set was, encoded, then moved closer by `steps` steps of optimization.

    Without an encoder optimization starts from the average face. How close each comes is told. Raises VaeganError for
    what is no picture, and where there is neither an encoder nor optimization.
    """
    settings = preprocess_settings_for(model.weights)
    read = []
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give --from, --to and --via one picture each")
        names, squares = next(islice(read_pictures([path], settings, ignore), 1))
        if len(names) > 1:
            raise UsageError(f"{path} holds several pictures: give --from, --to and --via one picture each")
        read.append(squares)
    pictures = torch.cat(read)
    if model.encoder is None and steps:
        emit(Note(f"{model.weights.path} holds no encoder: optimizing from the average face"))
        latents = torch.zeros(len(pictures), model.latent_dim)
    else:
        latents = model.encode(pictures)
    before = quality(model, pictures, latents).tolist()
    errors: list[dict[str, str | float]] = [
        {"picture": str(path), "psnr": round(value, 2)} for path, value in zip(paths, before, strict=True)
    ]
    if steps:
        latents = invert(model, pictures, latents, steps, emit)
        for error, value in zip(errors, quality(model, pictures, latents).tolist(), strict=True):
            error["psnr_optimized"] = round(value, 2)
    for error in errors:
        after = f", {error['psnr_optimized']:.1f} dB after {steps} steps of optimization" if steps else ""
        emit(Note(f"{error['picture']}: decoded again, PSNR {error['psnr']:.1f} dB{after}"))
    return Keys(latents, f"pictures {', '.join(path.name for path in paths[:8])}", errors)


def check_walk(model: Model, keys: int, settings: InterpolateSettings, out: Path, force: bool) -> Walk:
    """Say where a walk by so many keys goes. Raises VaeganError where it may not, or is too long; costs nothing."""
    base, ending = place_of(out, settings.format)
    strip, animation = base.with_name(base.name + ".png"), base.with_name(base.name + ending)
    count = (keys if settings.loop else keys - 1) * (settings.frames - 1) + 1
    if count > MAX_FRAMES:
        raise UsageError(f"{count} frames are too many (at most {MAX_FRAMES}): lower --frames")
    config = model.weights.config
    if count * config.channels * config.size**2 > MAX_BYTES:
        raise UsageError(f"{count} frames of {config.size}x{config.size} pixels are too many: lower --frames")
    for path in (strip, animation):
        refuse_directory(path)
    side, shown = config.size * settings.scale, 2 * count if settings.back and not settings.loop else count
    check_animation(animation, shown, side, side, settings.fps)
    refuse_foreign([strip, animation], force)
    return Walk(strip, animation)


def write_walk(model: Model, keys: Keys, settings: InterpolateSettings, files: Walk, emit: Emit) -> None:
    """Write the walk as a strip, one row a leg, and as an animation, there and back or round and round.

    The faces of the keys are on the strip as the model decodes them, to the bit. See `check_walk`.
    """
    path = settings.chosen_path or default_path(model.weights.config.prior)
    latents = walk(keys.latents, settings.frames, path, settings.easing, settings.loop)
    parts = []
    for part in torch.split(latents, BATCH):
        parts.append(model.decode(part))
        emit(Counted("Drawing", sum(map(len, parts)), len(latents)))
    frames = torch.cat(parts)
    note = note_of(model, f"walk between {keys.what}")
    save_png(_strip(frames, settings.frames), files.strip, note)
    emit(Wrote("strip", files.strip))
    save_animation(_Played(frames, settings), files.animation, settings.fps, note)
    emit(Wrote("animation", files.animation))


def _strip(frames: Tensor, each: int) -> Tensor:
    """Some of the frames as a sheet, one row for each leg of `each` frames, both of its ends included."""
    columns = torch.linspace(0, each - 1, min(STRIP, each)).round().long()
    rows = [frames[start + columns] for start in range(0, len(frames) - 1, each - 1)]
    return grid(torch.cat(rows), columns=len(columns))
