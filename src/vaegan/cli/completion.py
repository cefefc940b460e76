"""What the shell completes: runs, datasets and the allowed values of options. Imports no torch, to answer quickly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

RUN_PATTERN, DATASET_PATTERN = "*/config.json", "*/set.json"


def complete_run(incomplete: str) -> list[str]:
    """Return the runs under runs/, then the folders that begin with `incomplete`.

    Args:
        incomplete: what was typed so far, or "".

    Returns:
        paths, each once.
    """
    return _complete(incomplete, Path("runs").glob(RUN_PATTERN), suffixes=())


def complete_checkpoint(incomplete: str) -> list[str]:
    """Return the runs under runs/, then the folders and weights files that begin with `incomplete`.

    Args:
        incomplete: what was typed so far, or "".

    Returns:
        paths, each once.
    """
    return _complete(incomplete, Path("runs").glob(RUN_PATTERN), suffixes=(".safetensors",))


def complete_dataset(incomplete: str) -> list[str]:
    """Return the datasets under data/, then the folders that begin with `incomplete`.

    Args:
        incomplete: what was typed so far, or "".

    Returns:
        paths, each once.
    """
    return _complete(incomplete, Path("data").glob(DATASET_PATTERN), suffixes=())


def completer_of(choices: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the allowed values of an option.

    Args:
        choices: the allowed values.

    Returns:
        a function that maps what was typed so far to the values that begin with it.
    """

    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _complete(incomplete: str, markers: Iterable[Path], suffixes: Sequence[str]) -> list[str]:
    """Return the folders of `markers` and the paths on disk that begin with `incomplete`, each once."""
    known = sorted(marker.parent.as_posix() for marker in markers if not marker.parent.name.startswith("."))
    return list(
        dict.fromkeys([*(name for name in known if name.startswith(incomplete)), *_paths(incomplete, suffixes)])
    )


def _paths(incomplete: str, suffixes: Sequence[str]) -> list[str]:
    """Return the folders, and the files with one of `suffixes`, whose path begins with what was typed."""
    folder, slash, prefix = incomplete.rpartition("/")
    parent = Path(folder + slash) if slash else Path()
    try:
        entries = sorted(parent.iterdir()) if incomplete else []
    except OSError:
        return []
    return [
        f"{folder}{slash}{entry.name}"
        for entry in entries
        if entry.name.startswith(prefix)
        and not entry.name.startswith(".")
        and (entry.suffix in suffixes or entry.is_dir())
    ]
