"""The train / val split, which depends on the content of an image and not on its position."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable

from vaegan.data.dataset import TRAIN, VAL
from vaegan.errors import UsageError, error_text


def hash_split(key: str, val_fraction: float) -> int:
    """Return the split of a key from its hash: the same key is always in the same split.

    Args:
        key: any text.
        val_fraction: fraction of keys in VAL.

    Returns:
        TRAIN or VAL.
    """
    number = int.from_bytes(hashlib.sha256(f"split/{key}".encode("utf-8", "surrogateescape")).digest()[:8])
    return VAL if number < val_fraction * 2**64 else TRAIN


def make_split_function(keys: Iterable[str], val_fraction: float) -> Callable[[str], int]:
    """Return a function from a key to its split.

    If the hash puts all keys into one split, only the smallest key is in VAL; a single key is always in TRAIN.

    Args:
        keys: all keys.
        val_fraction: fraction of keys in VAL.

    Returns:
        the function.
    """
    splits: set[int] = set()
    smallest = largest = None
    for key in keys:
        splits.add(hash_split(key, val_fraction))
        smallest = key if smallest is None else min(key, smallest)
        largest = key if largest is None else max(key, largest)
    if val_fraction > 0 and len(splits) == 1:
        val_key = smallest if smallest != largest else None
        return lambda key: VAL if key == val_key else TRAIN
    return lambda key: hash_split(key, val_fraction)


def compile_group_pattern(group_by: str | None) -> re.Pattern[str] | None:
    """Compile --group-by.

    Args:
        group_by: regular expression, or None.

    Returns:
        the compiled pattern, or None.

    Raises:
        UsageError: if it is not a regular expression.
    """
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {group_by}: not a regular expression ({error_text(error)})") from error


def split_key(name: str, sha256: str, pattern: re.Pattern[str] | None) -> str:
    """Return the key that decides an image's split: what matches in its name, else its SHA-256.

    If the pattern has capturing groups, only their text counts.

    Args:
        name: path of the image in its source.
        sha256: hash of its bytes.
        pattern: from `compile_group_pattern`.

    Returns:
        the key.
    """
    match = pattern.search(name) if pattern is not None else None
    return sha256 if match is None else "".join(match.groups(default="")) or match.group()
