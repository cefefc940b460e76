"""Run command lines and read what they print, and start other processes."""

import os
import sys

from vaegan.cli import main


def run(capsys, *argv):
    """Run a command line and return its exit code, stdout and stderr."""
    capsys.readouterr()
    status = main([str(argument) for argument in argv])
    out, err = capsys.readouterr()
    return status, out, err


def failing(capsys, *argv, status=1):
    """Run a command line that must fail and return its one line of error."""
    code, out, err = run(capsys, *argv)
    assert (code, out) == (status, ""), err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return line


def child_environment(**variables):
    """Return the environment of a process of Python that imports what this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
