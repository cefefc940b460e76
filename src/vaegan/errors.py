"""The errors that a user can meet: one line each, naming the value, what was expected, what to do next."""


class VaeganError(Exception):
    """Something the user can mend. The message is one line; the CLI prints it and exits with `exit_code`."""

    exit_code = 1


class UsageError(VaeganError):
    """An option or argument that cannot be meant: exit status 2, as for any misuse of a command line."""

    exit_code = 2


class PeerProcessFailed(VaeganError):
    """Another process of the same training stopped, and this one with it: that one says why."""


class Interrupted(BaseException):
    """A signal arrived and everything worth keeping is saved: exit status 130.

    Not an `Exception`, so that no handler for broken files or full disks swallows it.
    """

    exit_code = 130


def error_text(error: BaseException) -> str:
    """Return the shortest human sentence for an operating-system or library error, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def printable(value: object, max_length: int = 80) -> str:
    """A value of someone's file or command line as part of one line: whole words, printable, at most so long."""
    text = " ".join(str(value)[: 10 * max_length].split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."
