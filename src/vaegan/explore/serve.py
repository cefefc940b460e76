"""Listen on this machine, run the server, and open the page in a browser."""

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
EXPLORE_INSTALL_HINT = "pip install 'vaegan[explore]'"


def require_explore_packages() -> None:
    """Check that the packages of the extra `explore` are installed.

    Raises:
        VaeganError: if one is missing.
    """
    try:
        for name in EXPLORE_PACKAGES:
            import_module(name)
    except ImportError as error:
        needs = "vaegan explore needs starlette, uvicorn and websockets"
        raise VaeganError(f"{needs} ({error_text(error)}): {EXPLORE_INSTALL_HINT}") from None


def open_listening_socket(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine.

    Args:
        port: number of the port; None takes the first free one from 8765 on.

    Returns:
        the socket.

    Raises:
        VaeganError: `port` cannot be used, or no port is free.
    """
    last_port = DEFAULT_PORT + NUM_PORTS_TRIED - 1
    candidates = [port] if port is not None else range(DEFAULT_PORT, last_port + 1)
    for candidate in candidates:
        listening_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name == "posix":  # on Windows this option would allow a second server on the same port
            listening_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening_socket.bind((HOST, candidate))
            listening_socket.listen(64)
        except (OSError, OverflowError) as error:
            listening_socket.close()
            cause = error_text(error)
        else:
            return listening_socket
    if port is not None:
        raise VaeganError(f"--port {port} cannot be used ({cause}): choose another port, or omit --port")
    raise VaeganError(f"no port from {DEFAULT_PORT} to {last_port} is free ({cause}): choose one with --port")


def open_browser(url: str) -> None:
    """Open the page in a browser if there is a display.

    Args:
        url: address of the page.
    """
    needs_display = os.name == "posix" and sys.platform != "darwin"
    if not needs_display or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        # In a thread, because some browsers block the caller.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def run_server(app: object, listening_socket: socket.socket) -> None:
    """Serve an application until a signal arrives; uvicorn raises the signal again after it has stopped.

    Args:
        app: ASGI application.
        listening_socket: from `open_listening_socket`.
    """
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
