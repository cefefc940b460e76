"""What travels between the job and its workers: where a picture lies, what to do with it, what became of it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels of the upright picture."""

_ESCAPE = "surrogateescape" if os.name == "posix" else "surrogatepass"


def to_bytes(name: str) -> bytes:
    """A file's name as bytes, whatever letters or non-letters it holds: what names are sorted by."""
    return name.encode("utf-8", _ESCAPE)


def to_name(name: bytes) -> str:
    """Undo `to_bytes`."""
    return name.decode("utf-8", _ESCAPE)


@dataclass(frozen=True)
class Place:
    """Where bytes lie: a whole file (`length` -1), a stretch of one, or a member of a zip.

    path: absolute; offset: of the bytes, or of the member's local header; length: stored bytes; method: the zip's
    compression (0, 8 or 12), -1 outside a zip; size: bytes when decompressed; crc: CRC-32 of those.
    """

    path: str
    offset: int = 0
    length: int = -1
    method: int = -1
    size: int = 0
    crc: int = 0

    def dump(self) -> str:
        """The place as JSON text, ASCII only."""
        return json.dumps([self.path, self.offset, self.length, self.method, self.size, self.crc])

    @classmethod
    def parse(cls, text: str) -> Place:
        """Undo `dump`."""
        return cls(*json.loads(text))


@dataclass(frozen=True)
class Found:
    """One file as the search saw it. `stamp` changes when its bytes do; a `reason` means that it is not to be read."""

    name: str
    place: Place
    stamp: str
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Task:
    """One file to prepare, from frame `start` on.

    suffix: how the file's name ends, in small letters; expected: SHA-256 of bytes whose squares are already there, so
    that they need no decoding; before: only a small picture of the whole is wanted, to show beside the square.
    """

    id: int
    place: Place
    suffix: str = ""
    expected: str = ""
    start: int = 0
    before: int = 0


@dataclass(frozen=True)
class Square:
    """One prepared picture: uint8 pixels in rows of [S, S, C], and what is known of it."""

    frame: int
    original: tuple[int, int]
    box: Box
    crc: int
    likeness: bytes
    pixels: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of one task: squares, or a reason; `same` where the bytes are the expected ones.

    more: the frame to go on from when an animation has too many for one outcome, else 0.
    """

    id: int
    sha: str = ""
    stamp: str = ""
    reason: str = ""
    detail: str = ""
    same: bool = False
    more: int = 0
    squares: list[Square] = field(default_factory=list)
