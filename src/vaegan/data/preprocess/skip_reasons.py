"""Why a file is not in the set: the short list of reasons that manifest.jsonl and the summary use."""

from __future__ import annotations

METADATA_FILE = "metadata"
EMPTY_FILE = "empty file"
NOT_AN_IMAGE = "not a picture"
BROKEN_IMAGE = "broken picture"
UNREADABLE = "cannot be read"
CHANGED_WHILE_READ = "changed while being read"
TOO_LARGE = "too large"
TOO_SMALL = "too small"
ASPECT_TOO_LARGE = "too long"
UNSAFE_NAME = "unsafe name"
BROKEN_ARCHIVE = "broken archive"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near duplicate"

SKIP_REASONS = {
    METADATA_FILE: "a text or table that lies beside the pictures",
    EMPTY_FILE: "no bytes",
    NOT_AN_IMAGE: "no format that can be read",
    BROKEN_IMAGE: "cut short or damaged",
    UNREADABLE: "the system or the archive refuses",
    CHANGED_WHILE_READ: "its bytes changed at every try",
    TOO_LARGE: "more than --max-pixels, or a file beyond 1 GiB",
    TOO_SMALL: "its shorter side is below --min-side",
    ASPECT_TOO_LARGE: "its sides differ by more than --max-aspect",
    UNSAFE_NAME: "a name in an archive that leads out of it",
    BROKEN_ARCHIVE: "an archive that is damaged or cut short",
    DUPLICATE: "the same bytes as another file",
    NEAR_DUPLICATE: "looks the same as another picture",
}
"""Every reason, and what it means in a few words."""

RETRYABLE_REASONS = frozenset({UNREADABLE, CHANGED_WHILE_READ, UNSAFE_NAME, BROKEN_ARCHIVE})
"""Reasons that do not follow from a file's bytes alone, so that the same bytes are tried again."""
