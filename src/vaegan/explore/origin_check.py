"""Accept only requests of the page that this server delivered, on this machine.

Two attacks are possible on a server that listens on 127.0.0.1. A page of another site can send requests to it; the
browser then names that site in the header Origin. A host name that resolves to 127.0.0.1 (DNS rebinding) can make such
a page look like ours; that name is then in the header Host.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_HOSTNAMES = ("127.0.0.1", "localhost")
SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none';"
        b" frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class OriginCheck:
    """ASGI middleware that answers 403 to requests with a foreign Host or Origin header."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        ports = [f":{port}"] if port != 80 else [":80", ""]
        self.allowed_hosts = {hostname + suffix for hostname in LOCAL_HOSTNAMES for suffix in ports}

    def is_allowed(self, scope: Scope) -> bool:
        """Return whether a request comes from our page or from a program that is not a browser.

        Args:
            scope: the request.

        Returns:
            whether it does.
        """
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self.allowed_hosts:
            return False
        if scope["type"] == "websocket" and not origins:  # browsers always send it
            return False
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        return all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass allowed requests on to the app, and add security headers to its responses."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not self.is_allowed(scope):
            await self._refuse(scope, receive, send)
        else:
            await self.app(scope, receive, _with_security_headers(send))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the server turns this into a 403
        else:
            response = PlainTextResponse("vaegan explore accepts only requests of its own page.\n", 403)
            await response(scope, receive, send)


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *SECURITY_HEADERS]
        await send(message)

    return send_with_headers
