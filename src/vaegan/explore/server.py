"""The small server behind the page: its files, the map, and a few requests of JSON or bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from vaegan.errors import UsageError, VaeganError, reason
from vaegan.explore.origin_check import Guard
from vaegan.explore.session import Studio, tamed
from vaegan.explore.websocket import Live
from vaegan.report.html_page import TOKENS

HERE = Path(__file__).parent / "page"
FILES = {"/": "index.html"} | {
    f"/{name}": name for name in ("explore.css", "explore.js", "latents.js", "live.js", "map.js")
}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
WALKS = {"gif": "image/gif", "mp4": "video/mp4"}
MAX_UPLOAD = 32 * 2**20
MAX_JSON = 8 * 2**20

Answer = Callable[[Request], Awaitable[Response]]


class TooLarge(VaeganError):
    """A request's body is longer than it may be."""


async def _body(request: Request, most: int) -> bytes:
    """The body of at most `most` bytes; no more of it is ever held."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise TooLarge(f"larger than the {most // 2**20} MiB that can be taken")
        parts.append(part)
    return b"".join(parts)


async def _asked(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(await _body(request, MAX_JSON))
    except (ValueError, RecursionError):
        raise UsageError("expected JSON") from None
    if not isinstance(value, dict):
        raise UsageError("expected a JSON object")
    return value


def _number(value: object, default: float) -> float:
    """A finite number that someone asked for, or the default."""
    try:
        found = float(str(value))
    except ValueError:
        return default
    return found if abs(found) < 1e12 else default


def _telling(answer: Answer) -> Answer:
    """Turn what goes wrong into an answer of one line, and go on."""

    async def told(request: Request) -> Response:
        try:
            return await answer(request)
        except TooLarge as error:
            return JSONResponse({"error": str(error)}, 413)
        except VaeganError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            return JSONResponse({"error": f"{type(error).__name__}: {reason(error)[:200]}"}, 500)

    return told


class Server:
    """Answers for one studio."""

    def __init__(self, studio: Studio) -> None:
        """All that draws runs on one thread of its own, so that the server always listens."""
        self.studio = studio
        self.drawing = ThreadPoolExecutor(1, "vaegan-drawing")
        self.files = {name: (HERE / file).read_bytes() for name, file in FILES.items()}
        self.files["/tokens.css"] = TOKENS.encode()

    async def _work(self, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.drawing, work, *given)

    def _decoder(self, value: object) -> int:
        return min(max(int(_number(value, 0)), 0), len(self.studio.models) - 1)

    async def file(self, request: Request) -> Response:
        """The page and its parts."""
        kind = KINDS[Path(FILES.get(request.url.path, "tokens.css")).suffix]
        return Response(self.files[request.url.path], media_type=kind)

    async def about(self, request: Request) -> Response:
        """What is open here."""
        return JSONResponse(self.studio.about())

    async def latents_of_map(self, request: Request) -> Response:
        """float32 [N, d] of the faces on the map."""
        return Response(bytes(self.studio.atlas.latents.contiguous().flatten().numpy()), media_type=BYTES)

    async def sprite(self, request: Request) -> Response:
        """Their thumbnails."""
        return Response(self.studio.atlas.sprite, media_type="image/jpeg")

    async def seed(self, request: Request) -> Response:
        """A seed's latent."""
        asked = request.query_params
        seed, truncation = _number(asked.get("seed"), 0), _number(asked.get("truncation"), 1)
        return JSONResponse({"latent": self.studio.seed(int(seed), min(max(truncation, 0.0), 2.0))})

    async def encode(self, request: Request) -> Response:
        """The latent of an uploaded picture."""
        steps = int(_number(request.query_params.get("steps"), 0))
        content = await _body(request, MAX_UPLOAD)
        return JSONResponse(await self._work(self.studio.encode, content, max(0, steps)))

    async def png(self, request: Request) -> Response:
        """A face to keep."""
        asked = await _asked(request)
        latent = self.studio.read_latents([asked.get("latent")], 1)[0]
        content = await self._work(self.studio.png, latent, self._decoder(asked.get("decoder")))
        return Response(content, media_type="image/png")

    async def walk(self, request: Request) -> Response:
        """A walk to keep, as the kind of file that the address ends in."""
        asked = await _asked(request)
        keys = self.studio.read_latents(asked.get("latents"))
        if len(keys) < 2:
            raise UsageError("a walk needs two faces or more")
        decoder, loop = self._decoder(asked.get("decoder")), asked.get("loop") is True
        kind = Path(request.url.path).name
        content = await self._work(self.studio.walk, keys, decoder, loop, f".{kind}")
        return Response(content, media_type=WALKS[kind])

    async def latents(self, request: Request) -> Response:
        """Latents to keep."""
        keys = self.studio.read_latents((await _asked(request)).get("latents"))
        return Response(self.studio.latents(tamed(keys)), media_type=BYTES)

    async def live(self, socket: WebSocket) -> None:
        """Faces while something moves."""
        await Live(self.studio, self.drawing, socket).talk()


BYTES = "application/octet-stream"


def make_app(studio: Studio, port: int) -> Starlette:
    """The page's server, for requests to 127.0.0.1 and `port`."""
    server = Server(studio)
    asks = {"/about": server.about, "/map.latents": server.latents_of_map, "/map.jpg": server.sprite}
    asks |= {"/seed": server.seed}
    gives = {"/encode": server.encode, "/png": server.png, "/latents": server.latents}
    gives |= {f"/{kind}": server.walk for kind in WALKS}
    routes: list[Any] = [Route(path, server.file) for path in server.files]
    routes += [Route(f"/api{path}", _telling(answer)) for path, answer in asks.items()]
    routes += [Route(f"/api{path}", _telling(answer), methods=["POST"]) for path, answer in gives.items()]
    routes.append(WebSocketRoute("/live", server.live))
    return Starlette(routes=routes, middleware=[Middleware(Guard, port=port)])
