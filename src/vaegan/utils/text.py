"""Text for messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


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


def join_text(items: Iterable[str], max_length: int = 500, separator: str = ", ") -> str:
    """Join texts to a list that is cut between two of them: "glasses, hat and 3 more".

    Args:
        items: the texts.
        max_length: number of characters of the texts that are shown; the first one is always shown.
        separator: text between two of them.

    Returns:
        the list; "" without texts.
    """
    texts = list(items)
    count = len(texts)
    while count > 1 and len(separator.join(texts[:count])) > max_length:
        count -= 1
    return join_first(texts, count, separator)


def join_first(texts: Sequence[str], count: int, separator: str = ", ") -> str:
    """Join the first texts to a list, and count the rest: "glasses, hat and 3 more".

    Args:
        texts: the texts.
        count: number of texts to show.
        separator: text between two of them.

    Returns:
        the list; "" without texts.
    """
    rest = f" and {len(texts) - count:,} more" if count < len(texts) else ""
    return separator.join(texts[:count]) + rest


def join_names(names: Iterable[str]) -> str:
    """Join names to a text that `split_names` reads.

    Args:
        names: the names.

    Returns:
        the names, separated by commas; a name with a comma is in quotes, as in a CSV file.
    """
    text = io.StringIO()
    csv.writer(text).writerow(names)
    return text.getvalue().removesuffix("\r\n")


def split_names(text: str) -> list[str]:
    """Split a text of names.

    Args:
        text: names separated by commas; a name with a comma is in quotes.

    Returns:
        the names, without spaces around them; at least one, which may be empty.
    """
    try:
        names = next(csv.reader([text], skipinitialspace=True))
    except csv.Error:  # such as a line break outside of quotes
        names = text.split(",")
    return [name.strip() for name in names or [""]]
