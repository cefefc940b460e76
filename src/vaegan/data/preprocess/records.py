"""The records that travel between the main process and its workers: file locations, tasks and results."""

from __future__ import annotations

import json
import os
from dataclasses import astuple, dataclass, field

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the upright original."""

_ENCODING_ERRORS = "surrogateescape" if os.name == "posix" else "surrogatepass"


def encode_name(name: str) -> bytes:
    """Encode a file name, which may hold bytes that are not UTF-8, to be stored and sorted.

    Args:
        name: file name.

    Returns:
        its bytes.
    """
    return name.encode("utf-8", _ENCODING_ERRORS)


def decode_name(name: bytes) -> str:
    """Undo `encode_name`.

    Args:
        name: from `encode_name`.

    Returns:
        the file name.
    """
    return name.decode("utf-8", _ENCODING_ERRORS)


@dataclass(frozen=True)
class FileLocation:
    """Where the bytes of an image are: a whole file, a byte range of one, or a member of a zip."""

    path: str  # absolute path of the file or archive
    offset: int = 0  # start of the byte range, or of the zip member's local header
    stored_length: int = -1  # number of bytes in the range; -1 for a whole file
    zip_method: int = -1  # compression method (0 stored, 8 deflate, 12 bzip2); -1 outside a zip
    uncompressed_size: int = 0  # of a zip member
    crc32: int = 0  # of a zip member's decompressed bytes

    def to_json(self) -> str:
        """Return the fields as a JSON array, ASCII only.

        Returns:
            the text.
        """
        return json.dumps(astuple(self))

    @classmethod
    def from_json(cls, text: str) -> FileLocation:
        """Undo `to_json`.

        Args:
            text: from `to_json`.

        Returns:
            the location.
        """
        return cls(*json.loads(text))


@dataclass(frozen=True)
class SourceFile:
    """One file of the sources."""

    name: str
    location: FileLocation
    stamp: str  # size and modification time, which differ when the bytes do
    reason: str = ""  # why the file is skipped without being read; empty otherwise
    detail: str = ""


@dataclass(frozen=True)
class Task:
    """One file to prepare."""

    file_id: int
    location: FileLocation
    suffix: str = ""  # the file name's suffix in lower case
    first_frame: int = 0  # frame to start from, for an animation that takes more than one task
    thumbnail_height: int = 0  # if not 0, only make a thumbnail of this height, for the preview
    gray_bits: int = 0  # bit depth of gray values without a range in the file's tags; 0 = what each image needs


@dataclass(frozen=True)
class PreparedImage:
    """One prepared image."""

    frame: int
    original_size: tuple[int, int]  # width and height in pixels of the upright original
    box: Box
    crc32: int  # of `pixels`
    perceptual_hash: bytes
    pixels: bytes  # uint8 [C, S, S]; for a thumbnail, uint8 [H, W, 3] with `original_size` its own size
    gray_tag_bits: int = 0  # of 16-bit or 32-bit gray values, see `GrayDepth`
    gray_needed_bits: int = 0
    gray_crc32: int | None = None  # of one of three equal channels; None for color, and if --grayscale decides


@dataclass(frozen=True)
class TaskResult:
    """The result of one task: prepared images, or the reason why the file is skipped."""

    file_id: int
    sha256: str = ""
    stamp: str = ""
    reason: str = ""
    detail: str = ""
    next_frame: int = 0  # frame to continue from when an animation has too many frames for one result, else 0
    images: list[PreparedImage] = field(default_factory=list)
