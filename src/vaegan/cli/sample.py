"""vaegan sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaegan.cli.checkpoint_args import class_slug, load_model, parse_seeds, seeds_slug, settings_slug, weights_slug
from vaegan.cli.console import event_reporter, print_results
from vaegan.cli.params import (
    Best,
    ClassName,
    Device,
    Force,
    JsonFlag,
    OptionalCheckpointArg,
    Out,
    Quiet,
    Separate,
    dataset_option,
    with_settings,
)
from vaegan.config.options import require_at_most_one
from vaegan.config.tool_settings import SAMPLES_PER_PICK, SampleSettings
from vaegan.errors import UsageError
from vaegan.events import EventHandler, Note

if TYPE_CHECKING:  # torch takes long to import
    from vaegan.inference.model import Model


@with_settings(SampleSettings)
def sample(
    ckpt: OptionalCheckpointArg = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="SEEDS", help="Seeds instead of -n and --seed: 0-63 or 3,17,20-25.")
    ] = None,
    data: Annotated[
        Path | None, dataset_option("With --pick: dataset of the real images.", "the one that it was trained on")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="NAME=VALUE",
            help="Only faces with this attribute: yes, no, a value, or a range such as 20..30; may be repeated.",
        ),
    ] = None,
    class_: ClassName = None,
    separate: Separate = False,
    out: Out = None,
    best: Best = False,
    device: Device = "auto",
    force: Force = False,
    as_json: JsonFlag = False,
    quiet: Quiet = False,
    *,
    settings: SampleSettings,
    options: dict[str, Any],
) -> None:
    """Draw new faces into an image grid, or into one file per image.

    Examples:
        vaegan sample -n 64
        vaegan sample runs/gan --seeds 3,17,20-25 --separate
        vaegan sample --pick 64 --of 512    # those most like real faces
        vaegan sample --reencode 1          # calmer, and fewer broken faces
        vaegan sample --where glasses=yes   # after vaegan attributes
        vaegan sample --class smile -n 64   # of a model with classes
    """
    for pair in (("seeds", "n"), ("seeds", "seed"), ("pick", "n"), ("seeds", "of")):
        require_at_most_one({"seeds": seeds, **options}, pair)
    if settings.of is not None and settings.pick is None:
        raise UsageError(f"--of {settings.of} goes with --pick: give the number of images to pick")
    if data is not None and settings.pick is None:
        raise UsageError(f"--data {data} goes with --pick: give the number of images to pick")
    if where and seeds is not None:
        raise UsageError("--where and --seeds contradict each other: give --seed, the first seed to try")
    with event_reporter(quiet) as emit:
        model = load_model(ckpt, device, emit, best)
        from vaegan.inference.class_weights import class_hint
        from vaegan.inference.model import check_reencode
        from vaegan.inference.sample import check_images_path, save_samples

        if class_ is not None:
            model = model.for_class(class_)
        elif model.classes and (where or settings.pick is not None):
            raise UsageError(f"--{'where' if where else 'pick'} chooses among faces of one class: {class_hint(model)}")
        check_reencode(model, settings.reencode)
        num_rows = max(1, len(model.classes))
        seed_list = parse_seeds(seeds) if seeds is not None else _consecutive_seeds(settings, num_rows, emit)
        if where or settings.pick is not None:  # choosing takes long
            probe = out or Path("samples") / ("chosen" if separate else "chosen.png")
            count = settings.pick or len(seed_list)
            check_images_path(model, probe, [""] * count, settings.scale, separate, force)
        if where:
            seed_list = _seeds_where(model, where, seed_list, settings, emit)
        if settings.pick is not None:
            seed_list = _pick_seeds(model, data, seed_list, settings, emit)
        name = f"{weights_slug(model.info.path)}{class_slug(class_)}-seeds-{seeds_slug(seed_list)}"
        name += settings_slug(settings, ("truncation", "reencode", "scale"))
        out_path = out or Path("samples") / (name if separate else f"{name}.png")
        save_samples(model, seed_list, settings, out_path, emit, separate, force)
    picked = {"seeds": seed_list} if where or settings.pick is not None else {}
    print_results({"samples": out_path}, as_json, num_images=num_rows * len(seed_list), **picked)


def _consecutive_seeds(settings: SampleSettings, num_rows: int, emit: EventHandler) -> list[int]:
    """Return the seeds of -n images, or of the images to pick from; of -n images in rows, those of one row."""
    count = max(1, settings.n // num_rows)
    if settings.pick is not None:
        count = SAMPLES_PER_PICK * settings.pick if settings.of is None else settings.of
    elif count * num_rows != settings.n:
        reason = f"each seed gives one of each of the {num_rows} classes"
        emit(Note(f"{count * num_rows} images instead of {settings.n}: {reason}"))
    return list(range(settings.seed, settings.seed + count))


def _seeds_where(
    model: Model, where: list[str], seeds: list[int], settings: SampleSettings, emit: EventHandler
) -> list[int]:
    """Return as many seeds whose faces have the attributes."""
    from vaegan.inference.conditional_sampling import parse_conditions, sample_where
    from vaegan.inference.edit import parse_assignments

    conditions = parse_conditions(model.attributes, parse_assignments(where, "--where"))
    found = sample_where(model, conditions, len(seeds), settings.seed, settings.truncation, emit, settings.reencode)
    emit(Note(f"{len(found.seeds)} faces with {', '.join(where)} among {found.num_draws:,} seeds"))
    return found.seeds


def _pick_seeds(
    model: Model, data: Path | None, seeds: list[int], settings: SampleSettings, emit: EventHandler
) -> list[int]:
    from vaegan.evaluation.pick import pick_seeds
    from vaegan.run_lookup import dataset_for

    assert settings.pick is not None
    dataset = dataset_for(model.info, data, emit)
    picked = pick_seeds(model, dataset, seeds, settings.pick, settings.truncation, emit, settings.reencode)
    emit(
        Note(
            f"Picked the {len(picked)} samples of {len(seeds)} that are most like real images: compare samples of"
            " different models without --pick"
        )
    )
    return picked
