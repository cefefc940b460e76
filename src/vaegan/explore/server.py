"""The HTTP server of the explorer: the files of the page, its JSON API, and the WebSocket.

GET /api/about          what is shown, as JSON (see `ExploreSession.describe`)
GET /api/map.latents    latents of the latent map, float32 [N, d], little-endian
GET /api/map.jpg        thumbnails of the latent map
GET /api/seed           ?seed=7&truncation=1&class=0 -> {"latent": [...]}
POST /api/encode        ?steps=0&class=0, image file -> {"latent": [...], "psnr": dB, "class": 0, "image": data URL}
POST /api/png           {"latent": [...], "decoder": 0, "class": 0} -> PNG
POST /api/gif, /api/mp4 {"latents": [[...], ...], "decoder": 0, "class": 0, "loop": true} -> animation
POST /api/latents       {"latents": [[...], ...], "class": 0} -> safetensors
POST /api/attributes    {"name": "smile", "more": [[...], ...], "less": [[...], ...]} -> a new slider, as in /api/about
WebSocket /live         images during interaction (see `websocket`)

An error is answered with {"error": one line}.
"""

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
from vaegan.explore.attribute_sliders import MAX_MARKED_FACES
from vaegan.explore.origin_check import OriginCheck
from vaegan.explore.request_body import BodyReader, BodyRefused
from vaegan.explore.session import ExploreSession
from vaegan.explore.websocket import FaceSocket
from vaegan.report.html_page import THEME_CSS

PAGE_DIR = Path(__file__).parent / "page"
CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript"}
PAGE_FILES = sorted(path.name for path in PAGE_DIR.iterdir() if path.suffix in CONTENT_TYPES)
ANIMATION_CONTENT_TYPES = {"gif": "image/gif", "mp4": "video/mp4"}
OCTET_STREAM = "application/octet-stream"
MAX_UPLOAD_BYTES = 32 * 2**20
MAX_JSON_BYTES = 8 * 2**20
MAX_TRUNCATION = 2.0

Endpoint = Callable[[Request], Awaitable[Response]]


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("expected JSON") from None
    if not isinstance(value, dict):
        raise UsageError("expected a JSON object")
    return value


def _parse_number(value: object, default: float) -> float:
    """Return a finite number, or the default if `value` is not one."""
    try:
        number = float(str(value))
    except ValueError:
        return default
    return number if abs(number) < 1e12 else default


def _with_json_errors(endpoint: Endpoint) -> Endpoint:
    """Answer exceptions of `endpoint` with a status code and {"error": message}."""

    async def endpoint_with_errors(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BodyRefused as error:
            # The connection is closed, as the server would else read and discard the rest, which may never end.
            return JSONResponse({"error": str(error)}, error.status_code, {"connection": "close"})
        except VaeganError as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # a bug must not stop the server
            return JSONResponse({"error": f"{type(error).__name__}: {error_text(error)[:200]}"}, 500)

    return endpoint_with_errors


class ExploreServer:
    """The endpoints. `make_app` gives each its path."""

    def __init__(self, session: ExploreSession) -> None:
        """Serve one session. Images are drawn on one separate thread, so that the server stays responsive."""
        self.session = session
        self.bodies = BodyReader()
        self.draw_executor = ThreadPoolExecutor(1, "vaegan-drawing")
        self.files = {"/": (PAGE_DIR / "index.html").read_bytes(), "/tokens.css": THEME_CSS.encode()}
        self.files |= {f"/{name}": (PAGE_DIR / name).read_bytes() for name in PAGE_FILES}

    async def _run_on_draw_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.draw_executor, function, *args)

    async def _read_json(self, request: Request) -> dict[str, Any]:
        async with self.bodies.read(request, MAX_JSON_BYTES) as body:
            return _parse_json(body)

    def _parse_decoder_index(self, value: object) -> int:
        return min(max(int(_parse_number(value, 0)), 0), len(self.session.models) - 1)

    def _parse_class_number(self, value: object) -> int:
        return min(max(int(_parse_number(value, 0)), 0), max(0, len(self.session.model.classes) - 1))

    async def get_page_file(self, request: Request) -> Response:
        """Return a file of the page.

        Args:
            request: the request.

        Returns:
            the file.
        """
        content_type = CONTENT_TYPES.get(Path(request.url.path).suffix, "text/html")
        return Response(self.files[request.url.path], media_type=content_type)

    async def get_info(self, request: Request) -> Response:
        """Return what the page shows before the first image.

        Args:
            request: the request.

        Returns:
            JSON.
        """
        return JSONResponse(self.session.describe())

    async def get_map_latents(self, request: Request) -> Response:
        """Return the latents of the map.

        Args:
            request: the request.

        Returns:
            float32 [N, d], as bytes.
        """
        return Response(bytes(self.session.latent_map.latents.contiguous().flatten().numpy()), media_type=OCTET_STREAM)

    async def get_map_sprite_sheet(self, request: Request) -> Response:
        """Return the thumbnails of the map.

        Args:
            request: the request.

        Returns:
            JPEG.
        """
        return Response(self.session.latent_map.sprite_sheet, media_type="image/jpeg")

    async def get_seed_latent(self, request: Request) -> Response:
        """Return the latent of a seed.

        Args:
            request: its query gives seed, truncation and the number of the class.

        Returns:
            JSON.
        """
        query = request.query_params
        seed, truncation = int(_parse_number(query.get("seed"), 0)), _parse_number(query.get("truncation"), 1)
        truncation, class_number = (
            min(max(truncation, 0.0), MAX_TRUNCATION),
            self._parse_class_number(query.get("class")),
        )
        return JSONResponse({"latent": self.session.seed_latent(seed, truncation, class_number)})

    async def encode_image(self, request: Request) -> Response:
        """Encode an image that the user dropped on the page.

        Args:
            request: its body is the image file, its query gives the steps of the inversion and the number of the class.

        Returns:
            JSON.
        """
        steps = max(0, int(_parse_number(request.query_params.get("steps"), 0)))
        class_number = self._parse_class_number(request.query_params.get("class"))
        async with self.bodies.read(request, MAX_UPLOAD_BYTES) as file_bytes:
            encoded = await self._run_on_draw_thread(self.session.encode_image_file, file_bytes, steps, class_number)
        return JSONResponse(encoded)

    async def render_png(self, request: Request) -> Response:
        """Draw the image of a latent, enlarged.

        Args:
            request: the request; its body is a JSON object with "latent", "decoder" and "class".

        Returns:
            a PNG.

        Raises:
            VaeganError: if the body is not as expected.
        """
        body = await self._read_json(request)
        latent = self.session.parse_latents([body.get("latent")], 1)[0]
        decoder_index = self._parse_decoder_index(body.get("decoder"))
        class_number = self._parse_class_number(body.get("class"))
        png = await self._run_on_draw_thread(self.session.render_png, latent, decoder_index, class_number)
        return Response(png, media_type="image/png")

    async def render_interpolation(self, request: Request) -> Response:
        """Draw an animation along a path of keyframes.

        Args:
            request: the request; its body is a JSON object with "latents", "decoder", "class" and "loop". The last part
                of its path is the kind of the animation.

        Returns:
            the animation.

        Raises:
            UsageError: if there are fewer than two keyframes.
            VaeganError: if the body is not as expected.
        """
        body = await self._read_json(request)
        keyframes = self.session.parse_latents(body.get("latents"))
        if len(keyframes) < 2:
            raise UsageError("an interpolation needs two or more keyframes")
        decoder_index, loop = self._parse_decoder_index(body.get("decoder")), body.get("loop") is True
        kind, class_number = Path(request.url.path).name, self._parse_class_number(body.get("class"))
        render = self.session.render_interpolation
        animation = await self._run_on_draw_thread(render, keyframes, decoder_index, loop, f".{kind}", class_number)
        return Response(animation, media_type=ANIMATION_CONTENT_TYPES[kind])

    async def export_latents(self, request: Request) -> Response:
        """Pack latents into a file for `vaegan decode`.

        Args:
            request: the request; its body is a JSON object with "latents" and "class".

        Returns:
            the file.

        Raises:
            VaeganError: if the body is not as expected.
        """
        body = await self._read_json(request)
        latents, class_number = (
            self.session.parse_latents(body.get("latents")),
            self._parse_class_number(body.get("class")),
        )
        return Response(self.session.pack_latents(latents, class_number), media_type=OCTET_STREAM)

    async def make_attribute(self, request: Request) -> Response:
        """Make an attribute from faces that the user marked.

        Args:
            request: its JSON body gives the name, and the latents of faces with more and with less of it.

        Returns:
            JSON of the new slider.
        """
        body = await self._read_json(request)
        more, less = (self.session.parse_latents(body.get(side), MAX_MARKED_FACES) for side in ("more", "less"))
        mark = self.session.sliders.mark
        return JSONResponse(await self._run_on_draw_thread(mark, body.get("name"), more, less))

    async def accept_websocket(self, websocket: WebSocket) -> None:
        """Serve the live images of a page.

        Args:
            websocket: the connection.
        """
        await FaceSocket(self.session, self._run_on_draw_thread, websocket).run()


def make_app(session: ExploreSession, port: int) -> Starlette:
    """Return the ASGI application of the explorer.

    Args:
        session: models and map.
        port: port of 127.0.0.1 that it will listen on.

    Returns:
        the application.
    """
    server = ExploreServer(session)
    get = {
        "about": server.get_info,
        "map.latents": server.get_map_latents,
        "map.jpg": server.get_map_sprite_sheet,
        "seed": server.get_seed_latent,
    }
    post = {
        "encode": server.encode_image,
        "png": server.render_png,
        "latents": server.export_latents,
        "attributes": server.make_attribute,
        **dict.fromkeys(ANIMATION_CONTENT_TYPES, server.render_interpolation),
    }
    routes: list[Any] = [Route(path, server.get_page_file) for path in server.files]
    for method, endpoints in (("GET", get), ("POST", post)):
        routes += [Route(f"/api/{name}", _with_json_errors(f), methods=[method]) for name, f in endpoints.items()]
    routes.append(WebSocketRoute("/live", server.accept_websocket))
    return Starlette(routes=routes, middleware=[Middleware(OriginCheck, port=port)])
