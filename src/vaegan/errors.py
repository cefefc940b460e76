"""Errors with one-line messages for the user: the value, what was expected, and what to do next."""

import errno


class VaeganError(Exception):
    """An error that the user can fix. The CLI prints its one-line message and exits with `exit_code`."""

    exit_code = 1


class UsageError(VaeganError):
    """An invalid option or argument."""

    exit_code = 2


class PeerProcessFailed(VaeganError):
    """Another process of the same training failed, so this one stops too. The other one reports the cause."""


class Interrupted(BaseException):
    """A signal arrived, and the state has been saved.

    Not an `Exception`, so that handlers of broken files or full disks do not catch it.
    """

    exit_code = 130


def error_text(error: BaseException) -> str:
    """Return the shortest readable text of an operating system's or library's error, on one line.

    Args:
        error: any exception.

    Returns:
        one line.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def disk_hint(error: OSError) -> str:
    """Return what to do about a full disk, for the end of a message.

    Args:
        error: what happened.

    Returns:
        the hint after a colon; "" for other errors.
    """
    is_full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
    return ": free disk space, then run the same command again" if is_full else ""


def printable(value: object, max_length: int = 80) -> str:
    """Return a value from a file or a command line as one line of printable text.

    Args:
        value: anything.
        max_length: characters to keep.

    Returns:
        the text; what is cut off is shown by "...".
    """
    text = " ".join(str(value)[: 10 * max_length].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."
