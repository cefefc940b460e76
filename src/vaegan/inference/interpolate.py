"""Walks through latent space: what they lead by (seeds, latents, real pictures), and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.settings import InterpolateSettings
from vaegan.data.image_files import read_images
from vaegan.errors import UsageError
from vaegan.events import EventHandler, FileWritten, Note, TaskProgress, ignore_event
from vaegan.inference.invert import decode_psnr, invert
from vaegan.inference.model import INFERENCE_BATCH_SIZE, Model
from vaegan.inference.reconstruct import read_latents
from vaegan.inference.sample import check_not_directory, provenance_note
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.run_lookup import preprocess_settings_for
from vaegan.utils.animation import MAX_ANIMATION_BYTES, check_animation, save_animation, split_animation_path
from vaegan.utils.images import check_overwrite, enlarge, make_grid, save_png

MAX_INTERPOLATION_FRAMES = 10_000
MAX_STRIP_COLUMNS = 10


@dataclass(frozen=True)
class Keyframes:
    """What a walk leads by: latents float32 [k, d], what they are in words, and of pictures, how close they come.

    errors: for every picture its path and PSNR in dB by the encoder, and after optimization where there was one.
    """

    latents: Tensor
    description: str
    reconstruction_errors: list[dict[str, str | float]] = field(default_factory=list)


@dataclass(frozen=True)
class InterpolationPaths:
    """Where a walk's files go, checked before anything is drawn."""

    strip: Path
    animation: Path


class _PlaybackFrames:
    """Frames uint8 [N, C, S, S] in the order in which an animation shows them, enlarged when they are asked for."""

    def __init__(self, frames: Tensor, settings: InterpolateSettings) -> None:
        self.frames, self.scale = frames, settings.scale
        self.order = [*range(len(frames))]
        if settings.loop:
            self.order.pop()  # it is the first once more
        elif settings.ping_pong:
            self.order += range(len(frames) - 2, 0, -1)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Tensor]:
        return (enlarge(self.frames[place], self.scale) for place in self.order)


def keyframes_from_seeds(model: Model, seeds: Sequence[int], truncation: float) -> Keyframes:
    """Lead by the faces of seeds."""
    return Keyframes(model.latents_from_seeds(seeds, truncation), f"seeds {', '.join(map(str, seeds[:8]))}")


def keyframes_from_latents(model: Model, path: Path, rows: Sequence[int] | None, emit: EventHandler) -> Keyframes:
    """Lead by rows of a file of vaegan encode, all where none are given. Raises VaeganError where it does not fit."""
    latents = read_latents(path, model, emit)
    if rows is None:
        return Keyframes(latents, f"latents of {path}")
    if max(rows) >= len(latents):
        raise UsageError(f"--rows: there is no row {max(rows)}, {path} holds rows 0 to {len(latents) - 1}")
    return Keyframes(latents[list(rows)], f"latents of {path}, rows {', '.join(map(str, rows[:8]))}")


def keyframes_from_images(model: Model, paths: Sequence[Path], invert_steps: int, emit: EventHandler) -> Keyframes:
    """Lead by pictures, squared as the model's set was, encoded, then moved closer by `steps` steps of optimization.

    Without an encoder optimization starts from the average face. How close each comes is told. Raises VaeganError for
    what is no picture, and where there is neither an encoder nor optimization.
    """
    settings = preprocess_settings_for(model.info)
    read = []
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give --from, --to and --via one picture each")
        names, squares = next(islice(read_images([path], settings, ignore_event), 1))
        if len(names) > 1:
            raise UsageError(f"{path} holds several pictures: give --from, --to and --via one picture each")
        read.append(squares)
    pictures = torch.cat(read)
    if model.encoder is None and invert_steps:
        emit(Note(f"{model.info.path} holds no encoder: optimizing from the average face"))
        latents = torch.zeros(len(pictures), model.latent_dim)
    else:
        latents = model.encode(pictures)
    before = decode_psnr(model, pictures, latents).tolist()
    errors: list[dict[str, str | float]] = [
        {"picture": str(path), "psnr": round(value, 2)} for path, value in zip(paths, before, strict=True)
    ]
    if invert_steps:
        latents = invert(model, pictures, latents, invert_steps, emit)
        for error, value in zip(errors, decode_psnr(model, pictures, latents).tolist(), strict=True):
            error["psnr_optimized"] = round(value, 2)
    for error in errors:
        after = f", {error['psnr_optimized']:.1f} dB after {invert_steps} steps of optimization" if invert_steps else ""
        emit(Note(f"{error['picture']}: decoded again, PSNR {error['psnr']:.1f} dB{after}"))
    return Keyframes(latents, f"pictures {', '.join(path.name for path in paths[:8])}", errors)


def check_interpolation(
    model: Model, num_keyframes: int, settings: InterpolateSettings, out: Path, force: bool
) -> InterpolationPaths:
    """Say where a walk by so many keys goes. Raises VaeganError where it may not, or is too long; costs nothing."""
    base, ending = split_animation_path(out, settings.format)
    strip, animation = base.with_name(base.name + ".png"), base.with_name(base.name + ending)
    count = (num_keyframes if settings.loop else num_keyframes - 1) * (settings.frames - 1) + 1
    if count > MAX_INTERPOLATION_FRAMES:
        raise UsageError(f"{count} frames are too many (at most {MAX_INTERPOLATION_FRAMES}): lower --frames")
    config = model.info.config
    if count * config.channels * config.size**2 > MAX_ANIMATION_BYTES:
        raise UsageError(f"{count} frames of {config.size}x{config.size} pixels are too many: lower --frames")
    for path in (strip, animation):
        check_not_directory(path)
    side, shown = config.size * settings.scale, 2 * count if settings.ping_pong and not settings.loop else count
    check_animation(animation, shown, side, side, settings.fps)
    check_overwrite([strip, animation], force)
    return InterpolationPaths(strip, animation)


def save_interpolation(
    model: Model, keyframes: Keyframes, settings: InterpolateSettings, paths: InterpolationPaths, emit: EventHandler
) -> None:
    """Write the walk as a strip, one row a leg, and as an animation, there and back or round and round.

    The faces of the keys are on the strip as the model decodes them, to the bit. See `check_walk`.
    """
    path = settings.method or default_method(model.info.config.prior)
    latents = interpolate_path(keyframes.latents, settings.frames, path, settings.easing, settings.loop)
    parts = []
    for part in torch.split(latents, INFERENCE_BATCH_SIZE):
        parts.append(model.decode(part))
        emit(TaskProgress("Drawing", sum(map(len, parts)), len(latents)))
    frames = torch.cat(parts)
    note = provenance_note(model, f"walk between {keyframes.description}")
    save_png(_make_strip(frames, settings.frames), paths.strip, note)
    emit(FileWritten("strip", paths.strip))
    save_animation(_PlaybackFrames(frames, settings), paths.animation, settings.fps, note)
    emit(FileWritten("animation", paths.animation))


def _make_strip(frames: Tensor, frames_per_leg: int) -> Tensor:
    """Some of the frames as a sheet, one row for each leg of `each` frames, both of its ends included."""
    columns = torch.linspace(0, frames_per_leg - 1, min(MAX_STRIP_COLUMNS, frames_per_leg)).round().long()
    rows = [frames[start + columns] for start in range(0, len(frames) - 1, frames_per_leg - 1)]
    return make_grid(torch.cat(rows), columns=len(columns))
