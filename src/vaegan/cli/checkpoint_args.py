"""Arguments that commands share: the checkpoint that was meant, and lists of seeds."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

from vaegan.cli.console import format_duration
from vaegan.errors import UsageError, VaeganError
from vaegan.events import EventHandler, Note

MAX_SEEDS = 1_000_000


def resolve_checkpoint(path: Path | None, emit: EventHandler, best: bool = False) -> Path:
    """Return `path`, or the newest GAN (else VAE) run under runs/, told; with `best`, its best weights.

    Raises VaeganError where there is none.
    """
    found = path or _latest_run(emit)
    if not best:
        return found
    from vaegan.run_dir import BEST_WEIGHTS_FILE

    if not (found / BEST_WEIGHTS_FILE).is_file():
        raise VaeganError(
            f"--best: {found} holds no {BEST_WEIGHTS_FILE}; give a run that was trained with held-out pictures"
        )
    return found / BEST_WEIGHTS_FILE


def _latest_run(emit: EventHandler) -> Path:
    from vaegan.run_dir import RunDir, latest_run

    found = latest_run(Path("runs"), ("gan", "vae"))
    if found is None:
        raise VaeganError("no trained run under runs/: train one with vaegan train-vae, or name a checkpoint")
    age = format_duration(max(0.0, time.time() - RunDir(found).weights_path.stat().st_mtime))
    emit(Note(f"Using {found}, trained {age} ago"))
    return found


def weights_slug(weights: Path) -> str:
    """Short name of a weights file for file names: run, run-step-0001000, or the file's own."""
    parent = weights.parent
    if parent.name.startswith("step-") and parent.parent.name == "checkpoints":
        return f"{parent.parent.parent.resolve().name}-{parent.name}"
    if weights.name == "best.safetensors":
        return f"{parent.resolve().name}-best"
    return parent.resolve().name if weights.name == "model.safetensors" else weights.stem


def parse_seeds(text: str, flag: str = "--seeds") -> list[int]:
    """Read "0-63" or "3,17,20-25", which `flag` said. Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            start, end = int(first), int(last if dash else first)
        except ValueError:
            raise UsageError(f"{flag} {text}: expected numbers and ranges such as 0-63 or 3,17,20-25") from None
        if end < start or end - start >= MAX_SEEDS or end >= 2**31:
            raise UsageError(f"{flag} {text}: {part.strip()} is no range of at most {MAX_SEEDS:,} numbers under 2^31")
        found += range(start, end + 1)
    return found


def seeds_slug(values: list[int]) -> str:
    """Seeds as part of a file name, another for other seeds: 0-63 for a range, 3-and-6, 3-17-42, 1-5-2-8-4-9-etc-..."""
    if len(values) > 1 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}-{values[-1]}"
    if len(values) == 2:
        return f"{values[0]}-and-{values[1]}"
    rest = "" if len(values) <= 6 else f"-etc-{zlib.crc32(repr(values).encode()):08x}"
    return "-".join(map(str, values[:6])) + rest
