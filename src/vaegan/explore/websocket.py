"""The WebSocket: latents come in, images and strips go out. Only the newest latent counts.

Every binary message is `MESSAGE_HEADER` and data, little-endian.

request  (FACE_MESSAGE or STRIPS_MESSAGE, decoder index, class number, request number), d float32: a latent
face     (FACE_MESSAGE, 0, number of decoders, request number), RGBA: one image per decoder
strip    (STRIPS_MESSAGE, latent dimension, number of images, request number), RGBA: one row of images

A strips request is answered by one strip per slider. A face also answers all face requests before its own: outdated
requests are not drawn. An invalid message is answered by the JSON text {"error": message}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable

import torch
from starlette.websockets import WebSocket, WebSocketDisconnect
from torch import Tensor

from vaegan.explore.session import STRIP_FRAMES, ExploreSession, sanitize_latents, to_rgba_bytes

MESSAGE_HEADER = struct.Struct("<BBHI")
FACE_MESSAGE, STRIPS_MESSAGE = 1, 2
IDLE_SECONDS = 0.1
"""The user is idle after this time without a new face. Then strips are drawn without pauses."""
STRIP_PAUSE_FACTOR = 20
"""During interaction, strips take at most one part in STRIP_PAUSE_FACTOR of the time."""
MAX_INVALID_MESSAGES = 20
"""The socket is closed after this many invalid messages."""


class FaceSocket:
    """The connection to one page."""

    def __init__(
        self, session: ExploreSession, run_on_draw_thread: Callable[..., Awaitable[bytes]], websocket: WebSocket
    ) -> None:
        self.session, self.run_on_draw_thread, self.websocket = session, run_on_draw_thread, websocket
        self.pending_face: tuple[int, int, Tensor] | None = None  # request number, class, latent
        # request number, decoder, class, dim, latent
        self.pending_strips: deque[tuple[int, int, int, int, Tensor]] = deque()
        self.has_pending = asyncio.Event()
        self.last_face_time = 0.0
        self.next_strip_time = 0.0

    async def run(self) -> None:
        """Serve until the page disconnects."""
        await self.websocket.accept()
        tasks = [asyncio.create_task(self._draw_loop()), asyncio.create_task(self._receive_loop())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                    await task

    async def _receive_loop(self) -> None:
        num_invalid = 0
        while num_invalid < MAX_INVALID_MESSAGES:
            message = await self.websocket.receive()
            if message["type"] != "websocket.receive":
                return
            error = self._queue_request(message.get("bytes") or b"")
            if error:
                num_invalid += 1
                await self.websocket.send_text(json.dumps({"error": error}))
        await self.websocket.close(1008)

    def _queue_request(self, message: bytes) -> str:
        """Queue a request; return an error message, or "" if the request is valid."""
        latent_dim = self.session.model.latent_dim
        if len(message) != MESSAGE_HEADER.size + 4 * latent_dim:
            return f"expected {MESSAGE_HEADER.size} bytes and {latent_dim} floats, got {len(message)} bytes"
        kind, decoder_index, class_number, number = MESSAGE_HEADER.unpack_from(message)
        if kind not in (FACE_MESSAGE, STRIPS_MESSAGE) or decoder_index >= len(self.session.models):
            return f"no message of kind {kind} for decoder {decoder_index}"
        if class_number >= max(1, len(self.session.model.classes)):
            return f"there is no class {class_number}"
        latent = sanitize_latents(torch.frombuffer(bytearray(message[MESSAGE_HEADER.size :]), dtype=torch.float32))
        if kind == FACE_MESSAGE:
            self.pending_face = number, class_number, latent
        else:
            dims = range(self.session.num_slider_dims)
            self.pending_strips = deque((number, decoder_index, class_number, dim, latent) for dim in dims)
        self.has_pending.set()
        return ""

    async def _draw_loop(self) -> None:
        # One strip at a time, so that a face never waits for more than one strip.
        while True:
            await self.has_pending.wait()
            strip_time = min(self.last_face_time + IDLE_SECONDS, self.next_strip_time)
            if self.pending_face is not None:
                await self._send_face(*self.pending_face)
            elif not self.pending_strips:
                self.has_pending.clear()
            elif time.monotonic() < strip_time:
                await self._wait_for_request(strip_time - time.monotonic())
            else:
                await self._send_strip(*self.pending_strips.popleft())

    async def _send_face(self, number: int, class_number: int, latent: Tensor) -> None:
        self.pending_face = None
        pixels = await self.run_on_draw_thread(self._render_face, latent, class_number)
        await self.websocket.send_bytes(MESSAGE_HEADER.pack(FACE_MESSAGE, 0, len(self.session.models), number) + pixels)
        self.last_face_time = time.monotonic()

    async def _send_strip(self, number: int, decoder_index: int, class_number: int, dim: int, latent: Tensor) -> None:
        start_time = time.monotonic()
        pixels = await self.run_on_draw_thread(self.session.render_strip, latent, dim, decoder_index, class_number)
        self.next_strip_time = start_time + STRIP_PAUSE_FACTOR * (time.monotonic() - start_time)
        await self.websocket.send_bytes(MESSAGE_HEADER.pack(STRIPS_MESSAGE, dim, STRIP_FRAMES, number) + pixels)

    async def _wait_for_request(self, seconds: float) -> None:
        """Wait for a new request, but not longer than until the next strip."""
        self.has_pending.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.has_pending.wait(), seconds)
        self.has_pending.set()

    def _render_face(self, latent: Tensor, class_number: int) -> bytes:
        decoders = range(len(self.session.models))
        images = (self.session.decode_fast(latent[None], index, class_number) for index in decoders)
        return b"".join(map(to_rgba_bytes, images))
