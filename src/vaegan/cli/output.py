"""Make stdout and stderr take any text, and survive that nobody reads them any more."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator

ERROR_HANDLER = "vaegan-escape"


def _escape_unencodable(error: UnicodeError) -> tuple[bytes, int]:
    r"""Encode what an output's encoding lacks: undecodable bytes of a file name as they are, other characters as \x."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    encoded = b""
    for character in error.object[error.start : error.end]:
        if "\udc80" <= character <= "\udcff":  # how Python represents a byte that is not valid Unicode
            encoded += bytes([ord(character) - 0xDC00])
        else:
            encoded += character.encode("ascii", "backslashreplace")
    return encoded, error.end


codecs.register_error(ERROR_HANDLER, _escape_unencodable)


@contextlib.contextmanager
def printable_output() -> Iterator[None]:
    """Let stdout and stderr escape the characters that their encoding lacks.

    Such an encoding is a code page of Windows, or ASCII without a locale.

    Yields:
        nothing; the streams are as before after the block.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    previous = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=ERROR_HANDLER)
    try:
        yield
    finally:
        for stream, errors in zip(streams, previous, strict=True):
            with contextlib.suppress(OSError, ValueError):  # the reader is gone, or the stream is closed
                stream.reconfigure(errors=errors)


def can_print(text: str) -> bool:
    """Return whether stdout's encoding has all characters of `text`.

    Args:
        text: the text.

    Returns:
        whether it can be printed without escapes.
    """
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def print_line(text: str) -> None:
    """Print a line of a result to stdout, or nothing if its reader, such as head, has closed the pipe.

    Args:
        text: the line, without its end.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # to nowhere from here on, so that the end of Python does not fail on what is buffered
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, sys.stdout.fileno())
            os.close(descriptor)
