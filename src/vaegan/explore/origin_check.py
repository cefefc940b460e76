"""Who may talk to the server: the page that it served itself, from this machine, and nobody else.

A page of another site can make a browser send requests to 127.0.0.1, and a name that resolves to 127.0.0.1 (DNS
rebinding) makes that page look like ours. The first shows in the header Origin, the second in Host.
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
    """Refuse requests and sockets whose Host or Origin is not this server's; keep answers out of other pages."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        """Serve `app` to those who name this machine and `port`."""
        self.app = app
        ports = [f":{port}"] if port != 80 else [":80", ""]
        self.allowed_hosts = {name + ending for name in LOCAL_HOSTNAMES for ending in ports}

    def is_allowed(self, scope: Scope) -> bool:
        """Say whether a request comes from our own page, or from a program that is no browser."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self.allowed_hosts:
            return False
        if scope["type"] == "websocket" and not origins:  # browsers always say
            return False
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        return all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is welcome."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif not self.is_allowed(scope):
            await self._refuse(scope, receive, send)
        else:
            await self.app(scope, receive, _with_security_headers(send))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: answered with 403
        else:
            refusal = PlainTextResponse("vaegan explore talks only to its own page on this machine.\n", 403)
            await refusal(scope, receive, send)


def _with_security_headers(send: Send) -> Send:
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *SECURITY_HEADERS]
        await send(message)

    return marked
