"""Sheets and strips of edited images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from vaegan.config.tool_settings import EditSettings
from vaegan.events import EventHandler, FileWritten, Note
from vaegan.inference.attributes import AttributeSet
from vaegan.inference.class_choice import choose_classes, invert_by_class, map_by_class
from vaegan.inference.edit import Change, edit_until_visible, held_attributes
from vaegan.inference.invert import encode_or_center
from vaegan.inference.model import Model
from vaegan.inference.reconstruct import read_first_images
from vaegan.inference.sample import check_grid_path, check_grid_size, provenance_note
from vaegan.metrics.image_quality import psnr
from vaegan.utils.files import note_replaced
from vaegan.utils.images import enlarge, make_grid, save_png, to_float

STRIP_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)


def edit_sheet_paths(model: Model, out: Path, count: int, scale: int, force: bool) -> dict[str, Path]:
    """Return the paths of the sheet and of the strips, after a check that they can be written.

    Args:
        model: the model.
        out: path of the sheet, a PNG.
        count: largest number of images.
        scale: whole number by which the images are enlarged.
        force: allow to replace files.

    Returns:
        the paths of "edits" and "strengths".

    Raises:
        VaeganError: if one of them exists, is no PNG, or would be too large.
    """
    strengths = out.with_name(f"{out.stem}-strengths{out.suffix}")
    for path, columns in ((out, 3), (strengths, len(STRIP_STRENGTHS))):
        check_grid_size(columns * count, model.info.config.size, scale)
        check_grid_path(path, force)
    return {"edits": out, "strengths": strengths}


def edit_files(
    model: Model,
    attributes: AttributeSet,
    sources: Sequence[Path],
    changes: Sequence[Change],
    hold: Sequence[str],
    settings: EditSettings,
    paths: Mapping[str, Path],
    emit: EventHandler,
    class_: str | None = None,
) -> list[dict[str, object]]:
    """Edit the first `settings.n` images of files, folders or datasets, and write a sheet and strips.

    The sheet has a row of original, reconstruction and edited image for each image. The strips show each image with
    STRIP_STRENGTHS times the change.

    Args:
        model: a model with an encoder.
        attributes: its attributes.
        sources: image files, folders, archives or datasets.
        changes: what to change.
        hold: names of columns whose scores shall not change, or "all".
        settings: options of the edit.
        paths: as from `edit_sheet_paths`.
        emit: receives notes, progress and written files.
        class_: class of the images; None for the one that reconstructs each image best.

    Returns:
        for each image its name, its class where there are classes, the PSNR of its reconstruction in dB, and the
            readings of each changed attribute in the reconstruction and in the edited image: probabilities, or
            predicted numbers.
    """
    if hold and not held_attributes(attributes, hold, changes):
        emit(Note("--hold all holds nothing: every attribute of the model is changed"))
    names, images = read_first_images(model, sources, settings.n, emit)
    latents = encode_or_center(model, images, settings.invert_steps, emit)
    classes = choose_classes(model, images, latents, class_)
    latents = invert_by_class(model, images, latents, classes, settings.invert_steps, emit)
    full = map_by_class(
        model,
        classes,
        len(latents),
        lambda part, rows: edit_until_visible(part, attributes, latents[rows], changes, hold),
    )
    edited, *strips = (torch.lerp(latents, full, settings.strength * strength) for strength in (1.0, *STRIP_STRENGTHS))
    weights = model.class_weights(classes, len(latents))
    decoded, result = model.decode(latents, weights), model.decode(edited, weights)

    note_replaced(paths.values(), emit)
    asked = ", ".join(change.text for change in changes)
    note = provenance_note(model, f"images, reconstructions and edits ({asked})")
    sheet = make_grid(torch.stack([images, decoded, result], 1).flatten(0, 1), 3)
    save_png(enlarge(sheet, settings.scale), paths["edits"], note)
    emit(FileWritten("edits", paths["edits"]))
    strip_images = model.decode(torch.stack(strips, 1).flatten(0, 1), weights.repeat_interleave(len(strips), 0))
    save_png(enlarge(make_grid(strip_images, len(strips)), settings.scale), paths["strengths"], note)
    emit(FileWritten("strengths", paths["strengths"]))

    before, after = (latents, edited) if model.encoder is None else (model.encode(decoded), model.encode(result))
    readings = {
        change.attribute.title: [change.attribute.reading(side).tolist() for side in (before, after)]
        for change in changes
    }
    return [
        {
            "image": name,
            **({"class": classes[row]} if classes else {}),
            "psnr": round(value, 2),
            "readings": {title: [round(side[row], 3) for side in sides] for title, sides in readings.items()},
        }
        for row, (name, value) in enumerate(zip(names, psnr(to_float(images), to_float(decoded)).tolist(), strict=True))
    ]
