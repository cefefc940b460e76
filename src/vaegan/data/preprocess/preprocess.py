"""The public function `vaegan.prepare`: folders and archives of images become a prepared dataset."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from vaegan.config.model_config import IMAGE_SIZES
from vaegan.config.option_types import PreprocessOptions
from vaegan.config.options import build_settings
from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.dataset_source import MapDataset, image_files_of
from vaegan.data.preprocess.decoding import parse_color
from vaegan.data.preprocess.labels import FOLDER_LABELS, NO_LABELS
from vaegan.data.preprocess.pipeline import PreprocessRequest, run_pipeline
from vaegan.data.preprocess.splits import compile_group_pattern
from vaegan.data.preprocess.summary import PreprocessSummary
from vaegan.errors import UsageError
from vaegan.events import EventHandler
from vaegan.progress.reporter import default_reporter
from vaegan.utils.files import check_has_file_name, check_writable, real_path, require_unicode

MAX_DEFAULT_NAME_BYTES = 150


def default_output_dir(sources: Sequence[Path], size: int) -> Path:
    """Return `data/<name>-<size>`, named after the first source.

    Args:
        sources: the sources, at least one.
        size: side of the images in pixels.

    Returns:
        the path.
    """
    first = real_path(sources[0])
    name = first.name if first.is_dir() else first.name.split(".")[0]
    if len(os.fsencode(name)) > MAX_DEFAULT_NAME_BYTES:  # other names are derived from it
        name = os.fsencode(name)[:MAX_DEFAULT_NAME_BYTES].decode("utf-8", "ignore")
    return Path("data") / f"{name or 'faces'}-{size}"


def validate_options(options: dict[str, Any]) -> PreprocessSettings:
    """Build the settings from options.

    Args:
        options: values by name.

    Returns:
        the settings.

    Raises:
        UsageError: if values are invalid or contradict each other.
    """
    settings = build_settings(PreprocessSettings, options)
    if settings.size not in IMAGE_SIZES:
        raise UsageError(f"--size {settings.size}: expected one of {', '.join(map(str, IMAGE_SIZES))}")
    compile_group_pattern(settings.group_by)
    try:
        parse_color(settings.background)
    except ValueError:
        raise UsageError(f"--background {settings.background}: expected a color such as white or '#ffeecc'") from None
    for name, default, needed_fit in (("crop_position", "center", "crop"), ("pad_mode", "edge", "pad")):
        value = getattr(settings, name)
        if value != default and settings.fit != needed_fit:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} {value} needs --fit {needed_fit}, not --fit {settings.fit}")
    if settings.label_columns is not None and settings.labels in (FOLDER_LABELS, NO_LABELS):
        raise UsageError(f"--label-columns {settings.label_columns} needs a file of labels, not {settings.labels}")
    if settings.ray_address is not None and settings.pool != "ray":
        raise UsageError(f"--ray-address {settings.ray_address} needs --pool ray: add it")
    return settings


def preprocess_with_summary(
    sources: Sequence[Path],
    out: Path | None,
    force: bool,
    dry_run: bool,
    on_event: EventHandler,
    options: dict[str, Any],
) -> tuple[Path, PreprocessSummary]:
    """Prepare a dataset as `prepare` does, and return its summary too.

    Args:
        sources: as in `prepare`.
        out: as in `prepare`.
        force: as in `prepare`.
        dry_run: as in `prepare`.
        on_event: as in `prepare`.
        options: the fields of `PreprocessSettings`, by name.

    Returns:
        the dataset's path, also of a dry run, and its summary.

    Raises:
        UsageError: if an option is invalid or there are no sources.
        VaeganError: as in `prepare`.
    """
    settings = validate_options(options)
    if not sources:
        raise UsageError("no SRC: give a folder of images")
    out = out if out is not None else default_output_dir(sources, settings.size)
    check_has_file_name(out)
    require_unicode(out)
    if not dry_run:
        check_writable(out)
    return out, run_pipeline(PreprocessRequest(list(sources), out, settings, force, dry_run), on_event)


def prepare(
    sources: Sequence[Path | str] | Path | str | MapDataset,
    out: Path | str | None = None,
    *,
    force: bool = False,
    dry_run: bool = False,
    on_event: EventHandler | None = None,
    **options: Unpack[PreprocessOptions],
) -> Path:
    """Prepare a dataset from all images in `sources` and return its directory.

    If `out` is a dataset of the same sources and options, nothing is done unless the source files have changed; then
    it is prepared again. After an interruption, the same call resumes.

    Args:
        sources: Folders (searched recursively), image files, .zip and .tar archives. Also a dataset in Python, such as
            one of `torchvision.datasets`: a length and an index, with images or tuples of an image and a target.
        out: The dataset's directory, `data/<name>-<size>` by default.
        force: Replace a dataset of other sources or options, and discard an unfinished preparation.
        dry_run: Only report how many images would be used and which files would be skipped.
        on_event: Receives progress, notes and warnings. By default they are shown in a terminal and in a notebook, and
            warnings are logged elsewhere; `ignore_event` shows nothing.
        **options: The fields of `PreprocessSettings`.

    Returns:
        The dataset's directory, also for a dry run.

    Raises:
        UsageError: If an option is invalid.
        VaeganError: If no image can be read, `out` holds something else, or it cannot be written.
    """
    out_dir = None if out is None else Path(out)
    with default_reporter(on_event) as emit, contextlib.ExitStack() as stack:
        if isinstance(sources, (str, Path)):
            source_paths = [Path(sources)]
        elif isinstance(sources, MapDataset) and not isinstance(sources, (list, tuple)):
            size = validate_options(dict(options)).size
            out_dir = out_dir or Path("data") / f"{type(sources).__name__.lower()}-{size}"
            source_paths = [stack.enter_context(image_files_of(sources, out_dir, emit))]
        else:
            source_paths = [Path(source) for source in sources]
        path, _ = preprocess_with_summary(source_paths, out_dir, force, dry_run, emit, dict(options))
    return path
