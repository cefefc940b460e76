"""The train / val split, which depends on the content of an image and not on its position."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

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
    return VAL if _key_hash(key) < val_fraction * 2**64 else TRAIN


def _key_hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"split/{key}".encode("utf-8", "surrogateescape")).digest()[:8])


def is_near_fraction(num_val: int, num_images: int, val_fraction: float) -> bool:
    """Return whether the size of a val split is near the requested one.

    Args:
        num_val: number of images in the val split.
        num_images: number of all images.
        val_fraction: the requested fraction, from 0 to 1.

    Returns:
        whether the size is within half of the requested one, and at most half of the images.
    """
    target = max(1, round(val_fraction * num_images))
    return abs(num_val - target) <= target / 2 and num_val <= num_images / 2


def make_split_function(iter_keys: Callable[[], Iterable[str]], val_fraction: float) -> Callable[[str], int]:
    """Return a function from a key to its split.

    Hashes decide while the val split is near the requested size, so a new image does not move the others. Where groups
    are few or unequal, whole groups are chosen so that it is as near as possible. A single group is always in TRAIN.

    Args:
        iter_keys: Returns the key of every image; those of one group are equal. It may be called twice.
        val_fraction: Requested fraction of images in VAL, 0 to 0.5.

    Returns:
        the function.
    """
    num_images = num_val = 0
    for key in iter_keys():
        num_images += 1
        num_val += hash_split(key, val_fraction) == VAL
    if val_fraction == 0 or is_near_fraction(num_val, num_images, val_fraction):
        return lambda key: hash_split(key, val_fraction)
    val_keys = choose_val_groups(Counter(iter_keys()), val_fraction)
    return lambda key: VAL if key in val_keys else TRAIN


def choose_val_groups(group_sizes: Mapping[str, int], val_fraction: float) -> set[str]:
    """Choose groups whose images together are near `val_fraction` of all, and at most half.

    Groups are tried in the order of their hashes, so that others can join without moving many.

    Args:
        group_sizes: number of images by key of the group.
        val_fraction: the requested fraction, from 0 to 1.

    Returns:
        keys of the groups; none if there is one group.
    """
    num_images = sum(group_sizes.values())
    target, num_val, val_keys = max(1, round(val_fraction * num_images)), 0, set()
    ordered_keys = sorted(group_sizes, key=_key_hash)
    for key in ordered_keys:
        if num_val + group_sizes[key] <= min(target, num_images / 2):
            num_val += group_sizes[key]
            val_keys.add(key)

    # a larger group may come nearer than none
    others = [key for key in ordered_keys if key not in val_keys and num_val + group_sizes[key] <= num_images / 2]
    nearest = min(others, key=lambda key: abs(num_val + group_sizes[key] - target), default=None)
    if nearest is not None and (not val_keys or num_val + group_sizes[nearest] - target < target - num_val):
        val_keys.add(nearest)
    return val_keys


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
