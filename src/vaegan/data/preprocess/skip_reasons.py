"""Why a file is not in the set: the short list of reasons that manifest.jsonl and the summary use."""

from __future__ import annotations

METADATA = "metadata"
EMPTY = "empty file"
NOT_A_PICTURE = "not a picture"
BROKEN = "broken picture"
UNREADABLE = "cannot be read"
CHANGED = "changed while being read"
TOO_LARGE = "too large"
TOO_SMALL = "too small"
TOO_LONG = "too long"
UNSAFE = "unsafe name"
ARCHIVE = "broken archive"
DUPLICATE = "duplicate"
NEAR = "near duplicate"

REASONS = {
    METADATA: "a text or table that lies beside the pictures",
    EMPTY: "no bytes",
    NOT_A_PICTURE: "no format that can be read",
    BROKEN: "cut short or damaged",
    UNREADABLE: "the system or the archive refuses",
    CHANGED: "its bytes changed at every try",
    TOO_LARGE: "more than --max-pixels, or a file beyond 1 GiB",
    TOO_SMALL: "its shorter side is below --min-side",
    TOO_LONG: "its sides differ by more than --max-aspect",
    UNSAFE: "a name in an archive that leads out of it",
    ARCHIVE: "an archive that is damaged or cut short",
    DUPLICATE: "the same bytes as another file",
    NEAR: "looks the same as another picture",
}
"""Every reason, and what it means in a few words."""

WHERE_IT_LIES = frozenset({UNREADABLE, CHANGED, UNSAFE, ARCHIVE})
"""Reasons that do not follow from a file's bytes alone, so that the same bytes are tried again."""
