"""Reasons for leaving a file out of the dataset, as manifest.jsonl and the summary name them."""

from __future__ import annotations

METADATA_FILE = "metadata"
EMPTY_FILE = "empty file"
NOT_AN_IMAGE = "not an image"
BROKEN_IMAGE = "broken image"
NEEDS_HEIC = "needs vaegan[heic]"
GENERATED = "made by vaegan"
UNREADABLE = "cannot be read"
CHANGED_WHILE_READ = "changed while being read"
TOO_LARGE = "too large"
TOO_SMALL = "too small"
ASPECT_TOO_LARGE = "aspect ratio too large"
UNSAFE_NAME = "unsafe name"
BROKEN_ARCHIVE = "broken archive"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near duplicate"

SKIP_REASONS = {
    METADATA_FILE: "a text or table beside the images",
    EMPTY_FILE: "the file has no bytes",
    NOT_AN_IMAGE: "no image format that can be read",
    BROKEN_IMAGE: "the image is cut short or damaged",
    NEEDS_HEIC: "a HEIC image: pip install 'vaegan[heic]'",
    GENERATED: "a sample, preview or grid; --include-generated takes it",
    UNREADABLE: "the system or the archive refuses, or decoding takes too long",
    CHANGED_WHILE_READ: "its bytes changed at every attempt",
    TOO_LARGE: "more than --max-pixels, 1 GiB in a file, 256 MiB in a member of an archive, or a bomb",
    TOO_SMALL: "its shorter side is below --min-side",
    ASPECT_TOO_LARGE: "its aspect ratio exceeds --max-aspect",
    UNSAFE_NAME: "its name in the archive leads out of the archive",
    BROKEN_ARCHIVE: "the archive is damaged or cut short",
    DUPLICATE: "the same bytes as another file",
    NEAR_DUPLICATE: "looks the same as another image",
}
"""Every reason, and what it means in a few words."""

RETRYABLE_REASONS = frozenset({NEEDS_HEIC, UNREADABLE, CHANGED_WHILE_READ, UNSAFE_NAME, BROKEN_ARCHIVE})
"""Reasons that do not follow from a file's bytes alone: an interrupted preprocessing tries these files again."""


class SkipFile(Exception):
    """Raised for a file that cannot be part of the dataset; `reason` is a key of SKIP_REASONS."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
