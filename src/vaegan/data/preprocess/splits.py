"""Which pictures are held out: decided by what a picture is, never by its place in the order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from vaegan.data.dataset import TRAIN, VAL
from vaegan.errors import UsageError, error_text


def hash_split(key: str, val_fraction: float) -> int:
    """TRAIN or HELD_OUT from a hash of `key`: the same key is always on the same side."""
    number = int.from_bytes(hashlib.sha256(f"split/{key}".encode("utf-8", "surrogateescape")).digest()[:8])
    return VAL if number < val_fraction * 2**64 else TRAIN


def make_split_function(keys: Iterable[str], val_fraction: float) -> Callable[[str], int]:
    """Return what tells the side of each of `keys`.

    Where the hash puts all keys on one side, the smallest is held out; a lone one never.
    """
    found: set[int] = set()
    least = most = None
    for key in keys:
        found.add(hash_split(key, val_fraction))
        least = key if least is None or key < least else least
        most = key if most is None or key > most else most
    if val_fraction > 0 and len(found) == 1:
        chosen = least if least != most else None
        return lambda key: VAL if key == chosen else TRAIN
    return lambda key: hash_split(key, val_fraction)


def assign_splits(keys: Sequence[str], val_fraction: float) -> list[int]:
    """Return the side of each of `keys`; see `sides`."""
    return list(map(make_split_function(keys, val_fraction), keys))


def compile_group_pattern(group_by: str | None) -> re.Pattern[str] | None:
    """Compile --group-by. Raises UsageError when it is no regular expression."""
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: not a regular expression ({error_text(error)})") from error


def split_key(name: str, sha256: str, pattern: re.Pattern[str] | None) -> str:
    """What decides a picture's side: the text that the pattern finds in its name, else its content."""
    match = pattern.search(name) if pattern is not None else None
    return sha256 if match is None else "".join(match.groups(default="")) or match.group()
