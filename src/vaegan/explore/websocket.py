"""The socket: latents come in, faces and strips go out; only the newest latent counts.

A message is 8 bytes and floats, little-endian. In: kind (1 a face, 2 strips), decoder, count (0), number, then the d
floats of a latent. Out: kind, 0 or the axis of a strip, count of faces in it, number of the request, then RGBA: a face
by every decoder, one below the other, or a strip. Anything else is answered with a JSON text {"error": ...}.

A face answers for all that were asked for before it: what is no longer wanted is not drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from collections import deque
from concurrent.futures import Executor

import torch
from starlette.websockets import WebSocket, WebSocketDisconnect

from vaegan.explore.session import STRIP_FRAMES, ExploreSession, sanitize_latents, to_rgba_bytes

MESSAGE_HEADER = struct.Struct("<BBHI")
FACE_MESSAGE, STRIPS_MESSAGE = 1, 2
IDLE_SECONDS, STRIP_PAUSE_FACTOR = 0.1, 20
"""Seconds without a face after which nothing moves; until then, strips take one part in so many of the time."""
MAX_INVALID_MESSAGES = 20
"""Messages that are none of ours before a socket is closed."""


class FaceSocket:
    """One page's socket."""

    def __init__(self, session: ExploreSession, draw_executor: Executor, websocket: WebSocket) -> None:
        """Draw with `studio`, on the one thread of `executor`."""
        self.session, self.draw_executor, self.websocket = session, draw_executor, websocket
        self.pending_face: tuple[int, torch.Tensor] | None = None
        self.pending_strips: deque[tuple[int, int, int, torch.Tensor]] = deque()
        self.has_pending = asyncio.Event()

    async def run(self) -> None:
        """Serve until the page is gone."""
        await self.websocket.accept()
        drawing = asyncio.create_task(self._draw_loop())
        reading = asyncio.create_task(self._receive_loop())
        try:
            await asyncio.wait((drawing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (drawing, reading):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                    await task

    async def _receive_loop(self) -> None:
        complaints = 0
        while complaints < MAX_INVALID_MESSAGES:
            message = await self.websocket.receive()
            if message["type"] != "websocket.receive":
                return
            wrong = self._queue_request(message.get("bytes") or b"")
            if wrong:
                complaints += 1
                await self.websocket.send_text(json.dumps({"error": wrong}))
        await self.websocket.close(1008)

    def _queue_request(self, message: bytes) -> str:
        """Take a message down; returns what is wrong with it, if anything."""
        length = self.session.model.latent_dim
        if len(message) != MESSAGE_HEADER.size + 4 * length:
            return f"expected {MESSAGE_HEADER.size} bytes and {length} floats, got {len(message)} bytes"
        kind, decoder, _, number = MESSAGE_HEADER.unpack_from(message)
        if kind not in (FACE_MESSAGE, STRIPS_MESSAGE) or decoder >= len(self.session.models):
            return f"no message of kind {kind} for decoder {decoder}"
        latent = sanitize_latents(torch.frombuffer(bytearray(message[MESSAGE_HEADER.size :]), dtype=torch.float32))
        if kind == FACE_MESSAGE:
            self.pending_face = number, latent
        else:
            self.pending_strips = deque((number, decoder, axis, latent) for axis in range(self.session.num_slider_dims))
        self.has_pending.set()
        return ""

    async def _draw_loop(self) -> None:
        loop, moved, due = asyncio.get_running_loop(), 0.0, 0.0
        while True:
            await self.has_pending.wait()
            if self.pending_face is not None:
                (number, latent), self.pending_face = self.pending_face, None
                content = await loop.run_in_executor(self.draw_executor, self._render_face, latent)
                await self.websocket.send_bytes(
                    MESSAGE_HEADER.pack(FACE_MESSAGE, 0, len(self.session.models), number) + content
                )
                moved = time.monotonic()
            elif self.pending_strips and (rest := min(moved + IDLE_SECONDS, due) - time.monotonic()) > 0:
                self.has_pending.clear()  # something moves: faces first
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.has_pending.wait(), rest)
                self.has_pending.set()
            elif self.pending_strips:  # one at a time: a face never waits for more
                began = time.monotonic()
                number, decoder, axis, latent = self.pending_strips.popleft()
                content = await loop.run_in_executor(
                    self.draw_executor, self.session.render_strip, latent, axis, decoder
                )
                due = began + STRIP_PAUSE_FACTOR * (time.monotonic() - began)
                await self.websocket.send_bytes(
                    MESSAGE_HEADER.pack(STRIPS_MESSAGE, axis, STRIP_FRAMES, number) + content
                )
            else:
                self.has_pending.clear()

    def _render_face(self, latent: torch.Tensor) -> bytes:
        return b"".join(
            to_rgba_bytes(self.session.decode_fast(latent[None], decoder))
            for decoder in range(len(self.session.models))
        )
