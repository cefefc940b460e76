"""Text for messages."""

from __future__ import annotations


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 file", "2,000 files".

    Args:
        count: the number.
        noun: the noun in the singular.
        plural: its plural, if that does not just add an s.

    Returns:
        the text.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
