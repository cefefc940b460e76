"""The command line. Only this package imports typer and rich."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Annotated

import typer

from vaegan.cli.attributes import attributes
from vaegan.cli.compare import compare
from vaegan.cli.decode import decode
from vaegan.cli.demo import demo
from vaegan.cli.edit import edit
from vaegan.cli.encode import encode
from vaegan.cli.evaluate import evaluate
from vaegan.cli.explore import explore
from vaegan.cli.export import export
from vaegan.cli.info import info
from vaegan.cli.interpolate import interpolate
from vaegan.cli.output import printable_output
from vaegan.cli.preprocess import preprocess
from vaegan.cli.reconstruct import reconstruct
from vaegan.cli.report import report
from vaegan.cli.sample import sample
from vaegan.cli.timelapse import timelapse
from vaegan.cli.train_gan import train_gan
from vaegan.cli.train_vae import train_vae
from vaegan.errors import Interrupted, PeerProcessFailed, VaeganError, disk_hint, error_text, printable
from vaegan.version import __version__

COMMANDS = (
    *(demo, preprocess, train_vae, train_gan, sample, interpolate, attributes, edit, reconstruct, encode, decode),
    *(evaluate, compare, report, explore, export, timelapse, info),
)

app = typer.Typer(
    name="vaegan",
    help="Train a VAE on a folder of face images, train a GAN that starts from its decoder, and sample new faces.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in COMMANDS:
    app.command(command.__name__.replace("_", "-"))(command)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"vaegan {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        argv: arguments without the program's name; by default those of this process.

    Returns:
        the exit code: 0 done, 1 an error that the user can mend, 2 wrong usage, 130 interrupted.
    """
    with printable_output():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    # exception               exit code   printed
    # none                    0
    # VaeganError             1           error: its message
    # UsageError              2           error: its message (typer's own usage errors exit with 2 as well)
    # Interrupted             130         its message
    # MemoryError, CUDA OOM   1           error: out of memory
    # OSError                 1           error: the file's name and the system's message
    # any other               1           error: a bug in vaegan
    # With VAEGAN_DEBUG=1, errors are raised instead, with their traceback.
    try:
        with _raise_on_signal(), _silence_other_ranks():
            app(args=None if argv is None else list(argv), prog_name="vaegan")
    except SystemExit as exit_request:
        code = exit_request.code
        return code if isinstance(code, int) else int(code is not None)
    except (VaeganError, Interrupted) as error:
        if _is_debug():
            raise
        # the process that failed has reported the cause, and the main process the interrupt
        if not (_rank() and isinstance(error, (PeerProcessFailed, Interrupted))):
            _print_error(f"error: {error}" if isinstance(error, VaeganError) else str(error))
        return error.exit_code
    except Exception as error:
        if _is_debug():
            raise
        _print_error(f"error: {_describe_unexpected(error)}")
        return 1
    return 0


def entry() -> None:
    """Run the console script."""
    sys.exit(main())


def _describe_unexpected(error: Exception) -> str:
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return f"out of memory ({error_text(error)[:120]}): try a smaller --batch-size or --preset"
    if isinstance(error, OSError):
        name = f"{printable(error.filename, 300)}: " if error.filename is not None else ""
        return f"{name}{error_text(error)}{disk_hint(error)}"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # of Path.resolve
        return f"{printable(error_text(error), 300)}: a link that leads to itself"
    bug = f"{type(error).__name__}: {error_text(error)[:300]}"
    return f"{bug} (a bug in vaegan; VAEGAN_DEBUG=1 shows the traceback)"


def _is_debug() -> bool:
    return os.environ.get("VAEGAN_DEBUG", "") not in ("", "0")


@contextmanager
def _raise_on_signal() -> Iterator[None]:
    """Raise Interrupted on SIGINT, SIGTERM and SIGHUP. Training replaces this by a stop after the current step."""

    def raise_interrupted(number: int, frame: object) -> None:
        raise Interrupted("interrupted")

    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # a signal that is ignored stays so: nohup ignores SIGHUP to outlive the terminal
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, raise_interrupted) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _rank() -> int:
    """Return the rank of this process among those started by torchrun, or 0 without torchrun."""
    rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
    return int(rank) if rank.isdigit() else 0


@contextmanager
def _silence_other_ranks() -> Iterator[None]:
    """Discard the output of all ranks but 0. Errors are printed by `main`, outside of this context."""
    if not _rank():
        yield
        return
    with open(os.devnull, "w") as devnull, redirect_stdout(devnull), redirect_stderr(devnull):  # noqa: PTH123
        yield


def _print_error(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads stderr any more
        print(f"[rank {_rank()}] {text}" if _rank() else text, file=sys.stderr, flush=True)
