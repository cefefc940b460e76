"""Read the bodies of requests in bounded memory and time, however many come at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from vaegan.errors import VaeganError

MAX_BYTES_IN_FLIGHT = 96 * 2**20
MAX_BODY_SECONDS = 60.0


class BodyRefused(VaeganError):
    """The body of a request is not read to its end.

    It is answered with `status_code`, then the connection is closed.
    """

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code


class BodyReader:
    """Reads the bodies of requests.

    All bodies that are being read or used take at most MAX_BYTES_IN_FLIGHT.
    """

    def __init__(self) -> None:
        self.bytes_in_flight = 0

    @asynccontextmanager
    async def read(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield the whole body; its bytes count as in flight until the block ends.

        Args:
            request: the request.
            max_bytes: longest allowed body in bytes.

        Yields:
            the body.

        Raises:
            BodyRefused: 413 if it is longer than `max_bytes`, at once if its length is announced; 503 if too many
                bodies are in flight; 408 if it has not ended after MAX_BODY_SECONDS.
        """
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit():
            self._check_size(int(announced[:20]), max_bytes)
            self._check_budget(int(announced[:20]))
        parts, length = [], 0
        try:
            async with asyncio.timeout(MAX_BODY_SECONDS):
                async for part in request.stream():
                    self._check_size(length + len(part), max_bytes)
                    self._check_budget(len(part))
                    length += len(part)
                    self.bytes_in_flight += len(part)
                    parts.append(part)
            body = b"".join(parts)
            parts.clear()
            yield body
        except TimeoutError:
            raise BodyRefused(408, f"the request did not end within {MAX_BODY_SECONDS:.0f} seconds") from None
        finally:
            self.bytes_in_flight -= length

    def _check_size(self, length: int, max_bytes: int) -> None:
        if length > max_bytes:
            raise BodyRefused(413, f"the request is larger than the limit of {max_bytes // 2**20} MiB")

    def _check_budget(self, num_bytes: int) -> None:
        if self.bytes_in_flight + num_bytes > MAX_BYTES_IN_FLIGHT:
            raise BodyRefused(503, "too many uploads at once: try again when they are done")
