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

from vaegan.errors import UsageError, VaeganError, error_text
from vaegan.explore.origin_check import OriginCheck
from vaegan.explore.session import ExploreSession, sanitize_latents
from vaegan.explore.websocket import FaceSocket
from vaegan.report.html_page import THEME_CSS

PAGE_DIR = Path(__file__).parent / "page"
PAGE_FILES = {"/": "index.html"} | {
    f"/{name}": name for name in ("explore.css", "explore.js", "latents.js", "live.js", "map.js")
}
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
ANIMATION_CONTENT_TYPES = {"gif": "image/gif", "mp4": "video/mp4"}
MAX_UPLOAD_BYTES = 32 * 2**20
MAX_JSON_BYTES = 8 * 2**20

Endpoint = Callable[[Request], Awaitable[Response]]


class RequestTooLarge(VaeganError):
    """A request's body is longer than it may be."""


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The body of at most `most` bytes; no more of it is ever held."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > max_bytes:
            raise RequestTooLarge(f"larger than the {max_bytes // 2**20} MiB that can be taken")
        parts.append(part)
    return b"".join(parts)


async def _read_json(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(await _read_body(request, MAX_JSON_BYTES))
    except (ValueError, RecursionError):
        raise UsageError("expected JSON") from None
    if not isinstance(value, dict):
        raise UsageError("expected a JSON object")
    return value


def _parse_number(value: object, default: float) -> float:
    """A finite number that someone asked for, or the default."""
    try:
        found = float(str(value))
    except ValueError:
        return default
    return found if abs(found) < 1e12 else default


def _with_json_errors(endpoint: Endpoint) -> Endpoint:
    """Turn what goes wrong into an answer of one line, and go on."""

    async def told(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestTooLarge as error:
            return JSONResponse({"error": str(error)}, 413)
        except VaeganError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error_text(error)[:200]}"}, 500)

    return told


class ExploreServer:
    """Answers for one studio."""

    def __init__(self, session: ExploreSession) -> None:
        """All that draws runs on one thread of its own, so that the server always listens."""
        self.session = session
        self.draw_executor = ThreadPoolExecutor(1, "vaegan-drawing")
        self.files = {name: (PAGE_DIR / file).read_bytes() for name, file in PAGE_FILES.items()}
        self.files["/tokens.css"] = THEME_CSS.encode()

    async def _run_on_draw_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.draw_executor, function, *args)

    def _parse_decoder_index(self, value: object) -> int:
        return min(max(int(_parse_number(value, 0)), 0), len(self.session.models) - 1)

    async def get_page_file(self, request: Request) -> Response:
        """The page and its parts."""
        kind = CONTENT_TYPES[Path(PAGE_FILES.get(request.url.path, "tokens.css")).suffix]
        return Response(self.files[request.url.path], media_type=kind)

    async def get_info(self, request: Request) -> Response:
        """What is open here."""
        return JSONResponse(self.session.describe())

    async def get_map_latents(self, request: Request) -> Response:
        """float32 [N, d] of the faces on the map."""
        return Response(bytes(self.session.latent_map.latents.contiguous().flatten().numpy()), media_type=OCTET_STREAM)

    async def get_map_sprite_sheet(self, request: Request) -> Response:
        """Their thumbnails."""
        return Response(self.session.latent_map.sprite_sheet, media_type="image/jpeg")

    async def get_seed_latent(self, request: Request) -> Response:
        """A seed's latent."""
        asked = request.query_params
        seed, truncation = _parse_number(asked.get("seed"), 0), _parse_number(asked.get("truncation"), 1)
        return JSONResponse({"latent": self.session.seed_latent(int(seed), min(max(truncation, 0.0), 2.0))})

    async def encode_image(self, request: Request) -> Response:
        """The latent of an uploaded picture."""
        steps = int(_parse_number(request.query_params.get("steps"), 0))
        content = await _read_body(request, MAX_UPLOAD_BYTES)
        return JSONResponse(await self._run_on_draw_thread(self.session.encode_image_file, content, max(0, steps)))

    async def render_png(self, request: Request) -> Response:
        """A face to keep."""
        asked = await _read_json(request)
        latent = self.session.parse_latents([asked.get("latent")], 1)[0]
        content = await self._run_on_draw_thread(
            self.session.render_png, latent, self._parse_decoder_index(asked.get("decoder"))
        )
        return Response(content, media_type="image/png")

    async def render_interpolation(self, request: Request) -> Response:
        """A walk to keep, as the kind of file that the address ends in."""
        asked = await _read_json(request)
        keys = self.session.parse_latents(asked.get("latents"))
        if len(keys) < 2:
            raise UsageError("a walk needs two faces or more")
        decoder, loop = self._parse_decoder_index(asked.get("decoder")), asked.get("loop") is True
        kind = Path(request.url.path).name
        content = await self._run_on_draw_thread(self.session.render_interpolation, keys, decoder, loop, f".{kind}")
        return Response(content, media_type=ANIMATION_CONTENT_TYPES[kind])

    async def export_latents(self, request: Request) -> Response:
        """Latents to keep."""
        keys = self.session.parse_latents((await _read_json(request)).get("latents"))
        return Response(self.session.pack_latents(sanitize_latents(keys)), media_type=OCTET_STREAM)

    async def accept_websocket(self, websocket: WebSocket) -> None:
        """Faces while something moves."""
        await FaceSocket(self.session, self.draw_executor, websocket).run()


OCTET_STREAM = "application/octet-stream"


def make_app(session: ExploreSession, port: int) -> Starlette:
    """The page's server, for requests to 127.0.0.1 and `port`."""
    server = ExploreServer(session)
    asks = {"/about": server.get_info, "/map.latents": server.get_map_latents, "/map.jpg": server.get_map_sprite_sheet}
    asks |= {"/seed": server.get_seed_latent}
    gives = {"/encode": server.encode_image, "/png": server.render_png, "/latents": server.export_latents}
    gives |= {f"/{kind}": server.render_interpolation for kind in ANIMATION_CONTENT_TYPES}
    routes: list[Any] = [Route(path, server.get_page_file) for path in server.files]
    routes += [Route(f"/api{path}", _with_json_errors(answer)) for path, answer in asks.items()]
    routes += [Route(f"/api{path}", _with_json_errors(answer), methods=["POST"]) for path, answer in gives.items()]
    routes.append(WebSocketRoute("/live", server.accept_websocket))
    return Starlette(routes=routes, middleware=[Middleware(OriginCheck, port=port)])
