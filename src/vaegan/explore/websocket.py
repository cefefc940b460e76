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

from vaegan.explore.session import STOPS, Studio, rgba, tamed

HEAD = struct.Struct("<BBHI")
FACE, STRIPS = 1, 2
MOVING, SHARE = 0.1, 20
"""Seconds without a face after which nothing moves; until then, strips take one part in so many of the time."""
COMPLAINTS = 20
"""Messages that are none of ours before a socket is closed."""


class Live:
    """One page's socket."""

    def __init__(self, studio: Studio, executor: Executor, socket: WebSocket) -> None:
        """Draw with `studio`, on the one thread of `executor`."""
        self.studio, self.executor, self.socket = studio, executor, socket
        self.face: tuple[int, torch.Tensor] | None = None
        self.strips: deque[tuple[int, int, int, torch.Tensor]] = deque()
        self.news = asyncio.Event()

    async def talk(self) -> None:
        """Serve until the page is gone."""
        await self.socket.accept()
        drawing = asyncio.create_task(self._draw())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait((drawing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (drawing, reading):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                    await task

    async def _read(self) -> None:
        complaints = 0
        while complaints < COMPLAINTS:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                return
            wrong = self._take(message.get("bytes") or b"")
            if wrong:
                complaints += 1
                await self.socket.send_text(json.dumps({"error": wrong}))
        await self.socket.close(1008)

    def _take(self, content: bytes) -> str:
        """Take a message down; returns what is wrong with it, if anything."""
        length = self.studio.model.latent_dim
        if len(content) != HEAD.size + 4 * length:
            return f"expected {HEAD.size} bytes and {length} floats, got {len(content)} bytes"
        kind, decoder, _, number = HEAD.unpack_from(content)
        if kind not in (FACE, STRIPS) or decoder >= len(self.studio.models):
            return f"no message of kind {kind} for decoder {decoder}"
        latent = tamed(torch.frombuffer(bytearray(content[HEAD.size :]), dtype=torch.float32))
        if kind == FACE:
            self.face = number, latent
        else:
            self.strips = deque((number, decoder, axis, latent) for axis in range(self.studio.axes))
        self.news.set()
        return ""

    async def _draw(self) -> None:
        loop, moved, due = asyncio.get_running_loop(), 0.0, 0.0
        while True:
            await self.news.wait()
            if self.face is not None:
                (number, latent), self.face = self.face, None
                content = await loop.run_in_executor(self.executor, self._one, latent)
                await self.socket.send_bytes(HEAD.pack(FACE, 0, len(self.studio.models), number) + content)
                moved = time.monotonic()
            elif self.strips and (rest := min(moved + MOVING, due) - time.monotonic()) > 0:
                self.news.clear()  # something moves: faces first
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), rest)
                self.news.set()
            elif self.strips:  # one at a time: a face never waits for more
                began = time.monotonic()
                number, decoder, axis, latent = self.strips.popleft()
                content = await loop.run_in_executor(self.executor, self.studio.strip, latent, axis, decoder)
                due = began + SHARE * (time.monotonic() - began)
                await self.socket.send_bytes(HEAD.pack(STRIPS, axis, STOPS, number) + content)
            else:
                self.news.clear()

    def _one(self, latent: torch.Tensor) -> bytes:
        return b"".join(rgba(self.studio.draw(latent[None], decoder)) for decoder in range(len(self.studio.models)))
