"""Arguments that commands share: the checkpoint and lists of seeds, and file names made of them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, Note
from vaegan.progress.text import format_duration
from vaegan.utils.files import real_path

if TYPE_CHECKING:
    from vaegan.inference.model import Model

MAX_SEEDS = 1_000_000
MAX_SEEDS_IN_NAME = 6
MAX_SOURCES_IN_NAME, MAX_SOURCES_BYTES, MAX_CLASS_BYTES = 4, 80, 40


def resolve_checkpoint(path: Path | None, emit: EventHandler, best: bool = False) -> Path:
    """Return the checkpoint that the user means, or the best weights of that run.

    Without a path it is the newest GAN run under runs/, or the newest VAE run; a note names it.

    Args:
        path: what the user named; None takes the newest GAN run under runs/, or the newest VAE run.
        emit: receives a note about a run that was chosen.
        best: take the weights with the best KID.

    Returns:
        run, checkpoint or weights file.

    Raises:
        VaeganError: if there is no run, or it has no best weights.
    """
    from vaegan.run_dir import best_weights_of

    checkpoint = path or _latest_run(emit)
    return best_weights_of(checkpoint) if best else checkpoint


def load_model(path: Path | None, device: str, emit: EventHandler, best: bool) -> Model:
    """Load the model that the user means; see `resolve_checkpoint`.

    Args:
        path: as in `resolve_checkpoint`.
        device: value of --device.
        emit: receives a note about a run that was chosen.
        best: as in `resolve_checkpoint`.

    Returns:
        the model.

    Raises:
        VaeganError: if it cannot be read.
    """
    from vaegan.inference.model import load

    return load(resolve_checkpoint(path, emit, best), device)


def _latest_run(emit: EventHandler) -> Path:
    from vaegan.run_dir import RunDir, latest_run

    run = latest_run(Path("runs"), ("gan", "vae"))
    if run is None:
        raise VaeganError("no trained run under runs/: train one with vaegan train-vae, or give a checkpoint")
    age = format_duration(max(0.0, time.time() - RunDir(run).weights_path.stat().st_mtime))
    emit(Note(f"Using {run}, trained {age} ago"))
    return run


def weights_slug(weights: Path) -> str:
    """Return a name of a weights file for use in file names.

    Args:
        weights: the file.

    Returns:
        "gan", "gan-best", "gan-step-0001000" or its own name.
    """
    from vaegan.run_dir import weights_name  # torch takes long to import

    return weights_name(weights)


def settings_slug(settings: object, names: Sequence[str]) -> str:
    """Return the settings that are not at their defaults, for use in file names.

    Args:
        settings: dataclass of settings, all with defaults.
        names: names of the numeric settings to look at.

    Returns:
        a text such as "-truncation-0.5-invert-steps-50", or "" if all are at their defaults.
    """
    defaults = type(settings)()
    values = {name: getattr(settings, name) for name in names}
    return "".join(
        f"-{name.replace('_', '-')}-{value:g}" for name, value in values.items() if value != getattr(defaults, name)
    )


def class_slug(class_: str | None) -> str:
    """Return the value of --class, for use in file names.

    Args:
        class_: name of a class; None if it was not given.

    Returns:
        a text such as "-class-smile", or "" without a class.
    """
    from vaegan.inference.sample import file_slug

    return "" if class_ is None else f"-class-{shorten_slug(file_slug(class_), MAX_CLASS_BYTES)}"


def shorten_slug(text: str, max_bytes: int) -> str:
    """Return a text for file names that differs for different texts, however long.

    Args:
        text: the text, in characters that file names may have.
        max_bytes: number of bytes in UTF-8 that are kept.

    Returns:
        the text; a long one is cut, with a checksum: "glasses-yes-etc-2901e2a7".
    """
    shown = text.encode()[:max_bytes].decode("utf-8", "ignore")
    return text if shown == text else shown + _checksum_slug(text)


def _checksum_slug(whole: str) -> str:
    """Return what ends a text for file names that does not show the whole."""
    return f"-etc-{zlib.crc32(whole.encode()):08x}"


def sources_slug(sources: Sequence[Path]) -> str:
    """Return a text for file names that differs for different files.

    Args:
        sources: paths of the files.

    Returns:
        "amy", "amy-zoe", or for many or long names the first ones and a checksum: "amy-zoe-etc-2901e2a7".
    """
    names = [real_path(path).stem for path in sources]
    first_names = "-".join(names[:MAX_SOURCES_IN_NAME]).encode("utf-8", "surrogateescape")
    shown = first_names[:MAX_SOURCES_BYTES].decode("utf-8", "ignore")
    if shown == "-".join(names):
        return shown
    return shown + _checksum_slug(repr([str(real_path(path)) for path in sources]))


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """Read a list of seeds.

    Args:
        text: such as "0-63" or "3,17,20-25".
        flag: option that it was given to, for messages.

    Returns:
        the seeds.

    Raises:
        UsageError: if it is no such list.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            start, end = int(first), int(last if dash else first)
        except ValueError:
            raise UsageError(f"{flag} {text}: expected numbers and ranges such as 0-63 or 3,17,20-25") from None
        if end < start or end - start >= MAX_SEEDS or end >= 2**31:
            raise UsageError(
                f"{flag} {text}: {part.strip()} is not a range of at most {MAX_SEEDS:,} numbers under 2^31"
            )
        seeds += range(start, end + 1)
    return seeds


def seeds_slug(seeds: list[int]) -> str:
    """Return a text for use in file names that differs for different lists of seeds.

    Args:
        seeds: the seeds.

    Returns:
        what `parse_seeds` reads, such as "0-63" or "3,17,20-25"; for long lists its beginning and a checksum, such as
        "1,5,2,8,4,9-etc-2901e2a7".
    """
    runs: list[list[int]] = []  # first and last of seeds that follow on each other
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    rest = "" if len(parts) <= MAX_SEEDS_IN_NAME else _checksum_slug(repr(seeds))
    return ",".join(parts[:MAX_SEEDS_IN_NAME]) + rest
