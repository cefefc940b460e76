"""Listening on this machine only, and opening the page."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from importlib import import_module

from vaegan.errors import VaeganError, reason

ADDRESS = "127.0.0.1"
PORT = 8765
TRIES = 20
MAX_MESSAGE = 2**17
GRACE = 1
EXTRA = ("starlette", "uvicorn", "websockets")
HINT = "vaegan explore needs starlette, uvicorn and websockets: pip install 'vaegan[explore]'"


def check_extra() -> None:
    """Raise VaeganError, naming the extra, unless all that the server needs is there."""
    try:
        for name in EXTRA:
            import_module(name)
    except ImportError as error:
        raise VaeganError(f"{HINT} ({reason(error)})") from None


def listen(port: int | None) -> socket.socket:
    """Listen on `port`, or on 8765 or one of those that follow it. Raises VaeganError where none is free."""
    tried = [port] if port is not None else list(range(PORT, PORT + TRIES))
    for candidate in tried:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would share a port that is in use
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((ADDRESS, candidate))
            found.listen(64)
        except (OSError, OverflowError) as error:
            found.close()
            cause = reason(error)
        else:
            return found
    if port is not None:
        raise VaeganError(f"--port {port} cannot be used ({cause}): choose another, or leave it out")
    raise VaeganError(f"no port from {PORT} to {PORT + TRIES - 1} is free ({cause}): choose one with --port")


def open_browser(url: str) -> None:
    """Open the page where there is a display; without one the address was told anyway."""
    display = os.name != "posix" or sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if display:  # beside the server: some browsers keep the caller waiting
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def serve(app: object, found: socket.socket) -> None:
    """Answer on a socket that listens, until a signal comes; it is then given on."""
    import uvicorn

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="error",
        access_log=False,
        lifespan="off",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE,
        server_header=False,
        date_header=False,
    )
    uvicorn.Server(config).run(sockets=[found])
