"""Text for messages."""

from __future__ import annotations


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 file", "2,000 files"; `plural` is for nouns that do not just add an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
