"""Listening on this machine only, and opening the page."""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from importlib import import_module

from vaegan.errors import VaeganError, error_text

HOST = "127.0.0.1"
DEFAULT_PORT = 8765
NUM_PORTS_TRIED = 20
MAX_MESSAGE_BYTES = 2**17
SHUTDOWN_SECONDS = 1
EXPLORE_PACKAGES = ("starlette", "uvicorn", "websockets")
EXPLORE_INSTALL_HINT = "vaegan explore needs starlette, uvicorn and websockets: pip install 'vaegan[explore]'"


def require_explore_packages() -> None:
    """Raise VaeganError, naming the extra, unless all that the server needs is there."""
    try:
        for name in EXPLORE_PACKAGES:
            import_module(name)
    except ImportError as error:
        raise VaeganError(f"{EXPLORE_INSTALL_HINT} ({error_text(error)})") from None


def open_listening_socket(port: int | None) -> socket.socket:
    """Listen on `port`, or on 8765 or one of those that follow it. Raises VaeganError where none is free."""
    tried = [port] if port is not None else list(range(DEFAULT_PORT, DEFAULT_PORT + NUM_PORTS_TRIED))
    for candidate in tried:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would share a port that is in use
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, candidate))
            found.listen(64)
        except (OSError, OverflowError) as error:
            found.close()
            cause = error_text(error)
        else:
            return found
    if port is not None:
        raise VaeganError(f"--port {port} cannot be used ({cause}): choose another, or leave it out")
    raise VaeganError(
        f"no port from {DEFAULT_PORT} to {DEFAULT_PORT + NUM_PORTS_TRIED - 1} is free ({cause}): choose one with --port"
    )


def open_browser(url: str) -> None:
    """Open the page where there is a display; without one the address was told anyway."""
    display = os.name != "posix" or sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if display:  # beside the server: some browsers keep the caller waiting
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def run_server(app: object, listening_socket: socket.socket) -> None:
    """Answer on a socket that listens, until a signal comes; it is then given on."""
    import uvicorn

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="error",
        access_log=False,
        lifespan="off",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
        date_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening_socket])
