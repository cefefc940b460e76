"""Which pictures are held out: decided by what a picture is, never by its place in the order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from vaegan.data.dataset import HELD_OUT, TRAIN
from vaegan.errors import UsageError, reason


def split_of(key: str, share: float) -> int:
    """TRAIN or HELD_OUT from a hash of `key`: the same key is always on the same side."""
    number = int.from_bytes(hashlib.sha256(f"split/{key}".encode("utf-8", "surrogateescape")).digest()[:8])
    return HELD_OUT if number < share * 2**64 else TRAIN


def sides(keys: Iterable[str], share: float) -> Callable[[str], int]:
    """Return what tells the side of each of `keys`.

    Where the hash puts all keys on one side, the smallest is held out; a lone one never.
    """
    found: set[int] = set()
    least = most = None
    for key in keys:
        found.add(split_of(key, share))
        least = key if least is None or key < least else least
        most = key if most is None or key > most else most
    if share > 0 and len(found) == 1:
        chosen = least if least != most else None
        return lambda key: HELD_OUT if key == chosen else TRAIN
    return lambda key: split_of(key, share)


def assign_splits(keys: Sequence[str], share: float) -> list[int]:
    """Return the side of each of `keys`; see `sides`."""
    return list(map(sides(keys, share), keys))


def group_pattern(group_by: str | None) -> re.Pattern[str] | None:
    """Compile --group-by. Raises UsageError when it is no regular expression."""
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: not a regular expression ({reason(error)})") from error


def key_of(name: str, sha: str, pattern: re.Pattern[str] | None) -> str:
    """What decides a picture's side: the text that the pattern finds in its name, else its content."""
    match = pattern.search(name) if pattern is not None else None
    return sha if match is None else "".join(match.groups(default="")) or match.group()
