"""What travels between the job and its workers: where a picture lies, what to do with it, what became of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the upright picture."""

_ENCODING_ERRORS = "surrogateescape" if os.name == "posix" else "surrogatepass"


def encode_name(name: str) -> bytes:
    """A file's name as bytes, whatever letters or non-letters it holds: what names are sorted by."""
    return name.encode("utf-8", _ENCODING_ERRORS)


def decode_name(name: bytes) -> str:
    """Undo `to_bytes`."""
    return name.decode("utf-8", _ENCODING_ERRORS)


@dataclass(frozen=True)
class FileLocation:
    """Where bytes lie: a whole file (`length` -1), a stretch of one, or a member of a zip.

    path: absolute; offset: of the bytes, or of the member's local header; length: stored bytes; method: the zip's
    compression (0, 8 or 12), -1 outside a zip; size: bytes when decompressed; crc: CRC-32 of those.
    """

    path: str
    offset: int = 0
    stored_length: int = -1
    zip_method: int = -1
    uncompressed_size: int = 0
    crc32: int = 0

    def to_json(self) -> str:
        """The place as JSON text, ASCII only."""
        return json.dumps(
            [self.path, self.offset, self.stored_length, self.zip_method, self.uncompressed_size, self.crc32]
        )

    @classmethod
    def from_json(cls, text: str) -> FileLocation:
        """Undo `dump`."""
        return cls(*json.loads(text))


@dataclass(frozen=True)
class SourceFile:
    """One file as the search saw it. `stamp` changes when its bytes do; a `reason` means that it is not to be read."""

    name: str
    location: FileLocation
    stamp: str
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Task:
    """One file to prepare, from frame `start` on.

    suffix: how the file's name ends, in small letters; expected: SHA-256 of bytes whose squares are already there, so
    that they need no decoding; before: only a small picture of the whole is wanted, to show beside the square.
    """

    file_id: int
    location: FileLocation
    suffix: str = ""
    expected: str = ""
    first_frame: int = 0
    thumbnail_height: int = 0


@dataclass(frozen=True)
class PreparedImage:
    """One prepared picture: uint8 pixels in rows of [S, S, C], and what is known of it."""

    frame: int
    original_size: tuple[int, int]
    box: Box
    crc32: int
    perceptual_hash: bytes
    pixels: bytes


@dataclass(frozen=True)
class TaskResult:
    """What became of one task: squares, or a reason; `same` where the bytes are the expected ones.

    more: the frame to go on from when an animation has too many for one outcome, else 0.
    """

    file_id: int
    sha256: str = ""
    stamp: str = ""
    reason: str = ""
    detail: str = ""
    same: bool = False
    next_frame: int = 0
    images: list[PreparedImage] = field(default_factory=list)
