"""Interpolate between faces given as seeds, latents or images, and write a strip and an animation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from vaegan.config.tool_settings import InterpolateSettings
from vaegan.data.image_files import read_images
from vaegan.errors import UsageError
from vaegan.events import EventHandler, FileWritten, Note, ignore_event
from vaegan.inference.class_choice import choose_classes, invert_by_class
from vaegan.inference.edit import attribute_keyframes
from vaegan.inference.invert import decode_psnr, encode_or_center
from vaegan.inference.model import Model
from vaegan.inference.networks import INFERENCE_BATCH_SIZE
from vaegan.inference.reconstruct import read_classes, read_latents
from vaegan.inference.sample import check_not_directory, concat_batches, provenance_note
from vaegan.models.interpolation import default_method, interpolate_path
from vaegan.run_lookup import preprocess_settings_for
from vaegan.utils.animation import MAX_ANIMATION_BYTES, check_animation, save_animation, split_animation_path
from vaegan.utils.files import check_writable, note_replaced
from vaegan.utils.images import check_overwrite, enlarge, make_grid, save_png

MAX_INTERPOLATION_FRAMES = 10_000
MAX_STRIP_COLUMNS = 10
MAX_LISTED_NAMES = 8


@dataclass(frozen=True)
class Keyframes:
    """The faces between which to interpolate.

    Attributes:
        latents: float32 [K, d].
        description: their sources, for the note in the files.
        reconstruction_errors: of images, the path, the PSNR in dB of the encoder's latent ("psnr"), and the PSNR after
            inversion ("psnr_inverted").
        method: the interpolation that suits these keyframes; None for that of the prior.
        class_weights: float [K, num_classes]; None for an unconditional model.
    """

    latents: Tensor
    description: str
    reconstruction_errors: list[dict[str, str | float]] = field(default_factory=list)
    method: str | None = None
    class_weights: Tensor | None = None


class _PlaybackFrames:
    """Frames, uint8 [N, C, S, S], in the order of the animation; each is enlarged when it is needed."""

    def __init__(self, frames: Tensor, settings: InterpolateSettings) -> None:
        self.frames, self.scale = frames, settings.scale
        self.order = [*range(len(frames))]
        if settings.loop:
            self.order.pop()  # equal to the first frame
        elif settings.ping_pong:
            self.order += range(len(frames) - 2, 0, -1)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Tensor]:
        return (enlarge(self.frames[index], self.scale) for index in self.order)


def _class_per_keyframe(classes: Sequence[str] | None, count: int) -> Sequence[str] | None:
    """Return the class of each keyframe, if classes were given: one for all, or one for each. Raises UsageError."""
    if not classes:
        return None
    if len(classes) not in (1, count):
        raise UsageError(f"--class is given {len(classes)} times for {count} faces: give it once, or once for each")
    return [*classes] * (count // len(classes))


def _describe_classes(classes: Sequence[str] | None) -> str:
    return f", classes {_join(classes)}" if classes else ""


def keyframes_from_seeds(
    model: Model, seeds: Sequence[int], truncation: float, classes: Sequence[str] | None = None, reencode: int = 0
) -> Keyframes:
    """Sample the latents of seeds as keyframes.

    Args:
        model: the model.
        seeds: one per keyframe.
        truncation: as in `Model.latents_from_seeds`.
        classes: of a conditional model, a class for all or one for each; by default those of `classes_from_seeds`.
        reencode: as in `Model.latents_from_seeds`.

    Returns:
        the keyframes.

    Raises:
        UsageError: if there is no such class, or their number is not that of the seeds.
        VaeganError: if `reencode` is not 0 and the model has no encoder.
    """
    classes = _class_per_keyframe(classes, len(seeds)) or model.classes_from_seeds(seeds)
    weights = model.class_weights(classes, len(seeds))
    latents = model.latents_from_seeds(seeds, truncation, weights, reencode)
    return Keyframes(latents, f"seeds {_join(seeds)}{_describe_classes(classes)}", class_weights=weights)


def keyframes_from_latents(
    model: Model, path: Path, rows: Sequence[int] | None, emit: EventHandler, classes: Sequence[str] | None = None
) -> Keyframes:
    """Read rows of a file of latents as keyframes.

    Args:
        model: the model that will decode them.
        path: file of `vaegan encode`, or any .safetensors file with a tensor "latents".
        rows: rows to take, from 0; None means all.
        emit: receives a warning for latents of another model.
        classes: of a conditional model, a class for all or one for each; by default those in the file.

    Returns:
        the keyframes.

    Raises:
        UsageError: if a row or class does not exist.
        VaeganError: if the file cannot be read, or its latents do not fit the model.
    """
    latents = read_latents(path, model, emit)
    if rows is not None and max(rows) >= len(latents):
        raise UsageError(f"--rows: there is no row {max(rows)}, {path} holds rows 0 to {len(latents) - 1}")
    row_list = list(range(len(latents)) if rows is None else rows)
    description = f"latents of {path}" if rows is None else f"latents of {path}, rows {_join(rows)}"
    names = _class_per_keyframe(classes, len(row_list))
    if names is None and (file_names := read_classes(path, model, len(latents))) is not None:
        names = [file_names[row] for row in row_list]
    weights = model.class_weights(names, len(row_list))
    return Keyframes(latents[row_list], f"{description}{_describe_classes(names)}", class_weights=weights)


def keyframes_from_images(
    model: Model, paths: Sequence[Path], invert_steps: int, emit: EventHandler, classes: Sequence[str] | None = None
) -> Keyframes:
    """Encode images as keyframes, and optimize their latents by GAN inversion.

    Images are cropped and resized like the model's dataset. Without an encoder, the inversion starts from latent 0.

    Args:
        model: the model.
        paths: image files.
        invert_steps: steps of the optimization; 0 skips it.
        emit: receives progress, and a note with the PSNR of each image.
        classes: of a conditional model, a class for all or one for each; by default the one that reconstructs each
            image best.

    Returns:
        the keyframes.

    Raises:
        VaeganError: if an image cannot be read, or the model has no encoder and `invert_steps` is 0.
    """
    images = _read_single_images(model, paths, emit)
    latents = encode_or_center(model, images, invert_steps, emit)
    names = _class_per_keyframe(classes, len(images)) or choose_classes(model, images, latents, None)
    weights = model.class_weights(names, len(images))
    errors: list[dict[str, str | float]] = [
        {"image": str(path), "psnr": round(value, 2)}
        for path, value in zip(paths, decode_psnr(model, images, latents, weights).tolist(), strict=True)
    ]
    if invert_steps:
        latents = invert_by_class(model, images, latents, names, invert_steps, emit)
        for error, value in zip(errors, decode_psnr(model, images, latents, weights).tolist(), strict=True):
            error["psnr_inverted"] = round(value, 2)
    for error in errors:
        inverted = f", {error['psnr_inverted']:.1f} dB after {invert_steps} steps of inversion" if invert_steps else ""
        emit(Note(f"{error['image']}: PSNR of the reconstruction {error['psnr']:.1f} dB{inverted}"))
    description = f"images {_join([path.name for path in paths])}{_describe_classes(names)}"
    return Keyframes(latents, description, errors, class_weights=weights)


def keyframes_of_attribute(
    model: Model,
    attribute: str,
    seed: int,
    image: Path | None,
    settings: InterpolateSettings,
    emit: EventHandler,
    classes: Sequence[str] | None = None,
) -> Keyframes:
    """Return a face with an attribute off and on as keyframes.

    Args:
        model: the model.
        attribute: name of an attribute, or NAME=VALUE for one of its values.
        seed: seed of the face.
        image: image of the face, instead of the seed.
        settings: options of the interpolation.
        emit: receives progress and warnings.
        classes: of a conditional model, the class of the face.

    Returns:
        two keyframes, to be interpolated on a straight line.

    Raises:
        UsageError: if there is no such attribute or value.
        VaeganError: if the model has no attributes, or the image cannot be read.
    """
    face = (
        keyframes_from_seeds(model, [seed], settings.truncation, classes, settings.reencode)
        if image is None
        else keyframes_from_images(model, [image], settings.invert_steps, emit, classes)
    )
    latents, description = attribute_keyframes(model.attributes, attribute, face.latents)
    weights = None if face.class_weights is None else face.class_weights.repeat(2, 1)
    return Keyframes(latents, f"{face.description}, {description}", face.reconstruction_errors, "lerp", weights)


def _read_single_images(model: Model, paths: Sequence[Path], emit: EventHandler) -> Tensor:
    settings = preprocess_settings_for(model.info, emit)
    images = []
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give --from, --to and --via one image each")
        names, batch = next(islice(read_images([path], settings, ignore_event), 1))
        if len(names) > 1:
            raise UsageError(f"{path} holds several images: give --from, --to and --via one image each")
        images.append(batch)
    return torch.cat(images)


def _join(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:MAX_LISTED_NAMES]))


def check_interpolation(
    model: Model, num_keyframes: int, settings: InterpolateSettings, out: Path, force: bool
) -> dict[str, Path]:
    """Check that an interpolation may be written.

    Args:
        model: the model.
        num_keyframes: number of faces.
        settings: options of the interpolation.
        out: path of the animation, with or without its suffix.
        force: allow to replace files.

    Returns:
        the paths of the "strip" and the "animation".

    Raises:
        UsageError: if there are too many frames, or `out` names another format.
        VaeganError: if a file exists and `force` is not given.
    """
    base, suffix = split_animation_path(out, settings.format)
    strip, animation = base.with_name(base.name + ".png"), base.with_name(base.name + suffix)
    num_segments = num_keyframes if settings.loop else num_keyframes - 1
    num_frames = num_segments * (settings.frames - 1) + 1
    if num_frames > MAX_INTERPOLATION_FRAMES:
        raise UsageError(f"{num_frames} frames are too many (at most {MAX_INTERPOLATION_FRAMES}): lower --frames")
    config = model.info.config
    if num_frames * config.channels * config.size**2 > MAX_ANIMATION_BYTES:
        raise UsageError(f"{num_frames} frames of {config.size}x{config.size} pixels are too many: lower --frames")
    for path in (strip, animation):
        check_not_directory(path)
    side = config.size * settings.scale
    num_played = 2 * num_frames if settings.ping_pong and not settings.loop else num_frames
    check_animation(animation, num_played, side, side, settings.fps)
    check_overwrite([strip, animation], force)
    check_writable(strip)
    return {"strip": strip, "animation": animation}


def save_interpolation(
    model: Model, keyframes: Keyframes, settings: InterpolateSettings, paths: dict[str, Path], emit: EventHandler
) -> None:
    """Decode the path through the keyframes, and write a strip with one row per segment, and an animation.

    Keyframes are decoded exactly, without interpolation.

    Args:
        model: the model.
        keyframes: the faces to pass through.
        settings: options of the interpolation.
        paths: those of `check_interpolation`.
        emit: receives progress and a FileWritten for each file.

    Raises:
        VaeganError: if a file cannot be written.
    """
    note_replaced(paths.values(), emit)
    method = settings.method or keyframes.method or default_method(model.info.config.prior)
    weights = torch.zeros(len(keyframes.latents), 0) if keyframes.class_weights is None else keyframes.class_weights
    latents, class_weights = (
        interpolate_path(values, settings.frames, name, settings.easing, settings.loop)
        for values, name in ((keyframes.latents, method), (weights, "lerp"))
    )
    batches = map(model.decode, *(torch.split(rows, INFERENCE_BATCH_SIZE) for rows in (latents, class_weights)))
    frames = concat_batches(batches, len(latents), emit)
    note = provenance_note(model, f"interpolation between {keyframes.description}")
    save_png(_make_strip(frames, settings.frames), paths["strip"], note)
    emit(FileWritten("strip", paths["strip"]))
    save_animation(_PlaybackFrames(frames, settings), paths["animation"], settings.fps, note)
    emit(FileWritten("animation", paths["animation"]))


def _make_strip(frames: Tensor, frames_per_segment: int) -> Tensor:
    """Arrange evenly spaced frames in a grid with one row per segment, both of its keyframes included."""
    columns = torch.linspace(0, frames_per_segment - 1, min(MAX_STRIP_COLUMNS, frames_per_segment)).round().long()
    rows = [frames[start + columns] for start in range(0, len(frames) - 1, frames_per_segment - 1)]
    return make_grid(torch.cat(rows), columns=len(columns))
