"""The command line: a thin face of the package. typer and rich live only here."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Annotated

import typer

from vaegan.cli.compare import compare
from vaegan.cli.decode import decode
from vaegan.cli.demo import demo
from vaegan.cli.encode import encode
from vaegan.cli.evaluate import evaluate
from vaegan.cli.explore import explore
from vaegan.cli.export import export
from vaegan.cli.info import info
from vaegan.cli.interpolate import interpolate
from vaegan.cli.preprocess import preprocess
from vaegan.cli.reconstruct import reconstruct
from vaegan.cli.report import report
from vaegan.cli.sample import sample
from vaegan.cli.timelapse import timelapse
from vaegan.cli.train_gan import train_gan
from vaegan.cli.train_vae import train_vae
from vaegan.errors import Interrupted, PeerProcessFailed, VaeganError, error_text
from vaegan.version import __version__

COMMANDS = (
    *(demo, preprocess, train_vae, train_gan, sample, interpolate, reconstruct, encode, decode),
    *(evaluate, compare, report, explore, export, timelapse, info),
)

app = typer.Typer(
    name="vaegan",
    help="A folder of faces goes in; a VAE learns it, its decoder becomes a GAN's generator, and new faces come out.",
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


def _is_debug() -> bool:
    return os.environ.get("VAEGAN_DEBUG", "") not in ("", "0")


@contextmanager
def _raise_on_signal() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into Interrupted; training asks for something gentler."""

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted("interrupted")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _silence_other_ranks() -> Iterator[None]:
    """Let only the first of torchrun's processes speak; errors of the others are told by `_say`, with their number."""
    if not _rank():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
        yield


def _rank() -> int:
    """Number of this process among those that torchrun started."""
    rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
    return int(rank) if rank.isdigit() else 0


def _print_error(text: str) -> None:
    print(f"[process {_rank()}] {text}" if _rank() else text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name) and return its exit status.

    0 done, 1 an error that the user can mend, 2 usage, 130 interrupted with the state saved.
    """
    try:
        with _raise_on_signal(), _silence_other_ranks():
            app(args=None if argv is None else list(argv), prog_name="vaegan")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (VaeganError, Interrupted) as error:
        if _is_debug():
            raise
        if not (_rank() and isinstance(error, (PeerProcessFailed, Interrupted))):
            _print_error(f"error: {error}" if isinstance(error, VaeganError) else str(error))
        return error.exit_code
    except BrokenPipeError:
        return 0
    except Exception as error:
        if _is_debug():
            raise
        if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
            _print_error(f"error: out of memory ({error_text(error)[:120]}): try a smaller --batch-size or --preset")
        else:
            _print_error(
                f"error: {type(error).__name__}: {error_text(error)[:300]} (a bug in vaegan; VAEGAN_DEBUG=1 shows where)"
            )
        return 1
    return 0


def entry() -> None:
    """Run the console script."""
    sys.exit(main())
