"""Pictures of any kind become a prepared set of squares of one size: the public call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaegan.config.model_config import IMAGE_SIZES
from vaegan.config.options import build_settings
from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.decoding import parse_color
from vaegan.data.preprocess.pipeline import PreprocessRequest, run_pipeline
from vaegan.data.preprocess.splits import compile_group_pattern
from vaegan.data.preprocess.writer import PreprocessSummary
from vaegan.errors import UsageError
from vaegan.events import EventHandler, ignore_event
from vaegan.utils.files import check_has_file_name


def default_output_dir(sources: Sequence[Path], size: int) -> Path:
    """data/<name>-<size>, named after the first source."""
    name = sources[0].resolve().name if sources[0].is_dir() else sources[0].resolve().name.split(".")[0]
    return Path("data") / f"{name or 'faces'}-{size}"


def validate_options(options: dict[str, Any]) -> PreprocessSettings:
    """Settings from options. Raises UsageError for what cannot be."""
    settings = build_settings(PreprocessSettings, options)
    if settings.size not in IMAGE_SIZES:
        raise UsageError(f"--size {settings.size}: expected one of {', '.join(map(str, IMAGE_SIZES))}")
    compile_group_pattern(settings.group_by)
    try:
        parse_color(settings.background)
    except ValueError:
        raise UsageError(f"--background {settings.background}: expected a colour such as white or '#ffeecc'") from None
    for name, value, other in (("crop_position", "center", "crop"), ("pad_mode", "edge", "pad")):
        if getattr(settings, name) != value and settings.fit != other:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} {getattr(settings, name)} goes with --fit {other}, not with --fit {settings.fit}")
    if settings.ray_address is not None and settings.pool != "ray":
        raise UsageError(f"--ray-address {settings.ray_address} goes with --pool ray: add it")
    return settings


def preprocess_with_summary(
    sources: Sequence[Path],
    out: Path | None,
    force: bool,
    dry_run: bool,
    on_event: EventHandler,
    options: dict[str, Any],
) -> tuple[Path, PreprocessSummary]:
    """Prepare; return where the set is (or, on a dry run, would be) and what it holds. See `prepare`."""
    settings = validate_options(options)
    if not sources:
        raise UsageError("no SRC: give a folder of pictures")
    place = out if out is not None else default_output_dir(sources, settings.size)
    check_has_file_name(place)
    return place, run_pipeline(PreprocessRequest(list(sources), place, settings, force, dry_run), on_event)


def prepare(
    sources: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    force: bool = False,
    dry_run: bool = False,
    on_event: EventHandler = ignore_event,
    **options: Any,
) -> Path:
    """Prepare every picture under `sources` and return the set's directory.

    sources: folders (searched recursively), pictures, .zip and .tar archives; out: where the set goes
    (data/<name>-<size>). A set of ours with the same options is brought up to date: it becomes what its sources hold
    now. dry_run: only report what would become of every file; options: those of PrepareSettings. Stopped at any
    instant, the same call goes on. Raises VaeganError when nothing is readable, the disk refuses, or `out` holds
    something else.
    """
    places = [Path(source) for source in ([sources] if isinstance(sources, (str, Path)) else sources)]
    return preprocess_with_summary(places, None if out is None else Path(out), force, dry_run, on_event, options)[0]
