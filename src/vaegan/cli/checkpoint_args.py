"""Arguments that commands share: the checkpoint and lists of seeds, and file names made of them."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, Note
from vaegan.progress.text import format_duration

if TYPE_CHECKING:
    from vaegan.inference.model import Model

MAX_SEEDS = 1_000_000
MAX_SEEDS_IN_NAME = 6


def resolve_checkpoint(path: Path | None, emit: EventHandler, best: bool = False) -> Path:
    """Return the checkpoint that the user means, or the best weights of that run.

    Without a path it is the newest GAN run under runs/, or the newest VAE run; a note names it.
    """
    from vaegan.run_dir import best_weights_of

    checkpoint = path or _latest_run(emit)
    return best_weights_of(checkpoint) if best else checkpoint


def load_model(path: Path | None, device: str, emit: EventHandler, best: bool) -> Model:
    """Load the model that the user means; see `resolve_checkpoint`."""
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
    """Return a name of a weights file for use in file names: "gan", "gan-best", "gan-step-0001000" or its own."""
    from vaegan.checkpoint import WEIGHTS_FILE
    from vaegan.run_dir import BEST_WEIGHTS_FILE

    parent = weights.parent
    if parent.name.startswith("step-") and parent.parent.name == "checkpoints":
        return f"{parent.parent.parent.resolve().name}-{parent.name}"
    if weights.name == BEST_WEIGHTS_FILE:
        return f"{parent.resolve().name}-best"
    return parent.resolve().name if weights.name == WEIGHTS_FILE else weights.stem


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """Read a list such as "0-63" or "3,17,20-25". Raises UsageError that names `flag`."""
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

    Examples: 0-63 for a range, 3-and-6, 3-17-42, and 1-5-2-8-4-9-etc-2901e2a7 (a checksum) for long lists.
    """
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    if len(seeds) == 2:
        return f"{seeds[0]}-and-{seeds[1]}"
    rest = "" if len(seeds) <= MAX_SEEDS_IN_NAME else f"-etc-{zlib.crc32(repr(seeds).encode()):08x}"
    return "-".join(map(str, seeds[:MAX_SEEDS_IN_NAME])) + rest
