"""Bodies of requests: however many, long or slow, the server holds and reads little."""

import asyncio

import pytest

from vaegan.explore import request_body
from vaegan.explore.request_body import BodyReader, BodyRefused
from vaegan.explore.server import MAX_UPLOAD_BYTES

MEBIBYTE = 2**20


class FakeRequest:
    """A request whose body is sent in parts; it counts those that were read."""

    def __init__(self, parts, announced=None):
        self.parts, self.num_read = parts, 0
        self.headers = {} if announced is None else {"content-length": str(announced)}

    async def stream(self):
        for part in self.parts:
            await asyncio.sleep(0)
            self.num_read += 1
            yield part


class NeverEnds(FakeRequest):
    async def stream(self):
        async for part in super().stream():
            yield part
        await asyncio.Event().wait()


def read(bodies, request, max_bytes=MAX_UPLOAD_BYTES):
    async def run():
        async with bodies.read(request, max_bytes) as body:
            return body, bodies.bytes_in_flight

    return asyncio.run(run())


def test_a_body_is_read_and_counted_until_it_was_used():
    bodies = BodyReader()
    assert read(bodies, FakeRequest([b"ab", b"c"], announced=3)) == (b"abc", 3)
    assert bodies.bytes_in_flight == 0


@pytest.mark.parametrize("announced", [MAX_UPLOAD_BYTES + 1, 10**30])
def test_an_announced_length_is_refused_before_anything_is_read(announced):
    bodies, request = BodyReader(), FakeRequest([b"x"], announced)
    with pytest.raises(BodyRefused, match="larger than the limit of 32 MiB") as caught:
        read(bodies, request)
    assert caught.value.status_code == 413 and request.num_read == 0 and bodies.bytes_in_flight == 0


def test_a_body_without_end_is_refused_at_the_limit():
    bodies, request = BodyReader(), FakeRequest(b"x" * MEBIBYTE for _ in range(10**6))
    with pytest.raises(BodyRefused) as caught:
        read(bodies, request)
    assert caught.value.status_code == 413 and request.num_read == 33 and bodies.bytes_in_flight == 0


def test_forty_uploads_that_never_end_hold_no_more_than_the_budget(monkeypatch):
    monkeypatch.setattr(request_body, "MAX_BODY_SECONDS", 2.0)
    bodies, statuses, most = BodyReader(), [], [0]

    async def upload():
        try:
            async with bodies.read(NeverEnds([b"x" * MEBIBYTE] * 31), MAX_UPLOAD_BYTES):
                pytest.fail("it never ends")
        except BodyRefused as error:
            statuses.append(error.status_code)
        most[0] = max(most[0], bodies.bytes_in_flight)

    async def run():
        await asyncio.gather(*(upload() for _ in range(40)))

    asyncio.run(run())
    assert set(statuses) == {408, 503} and statuses.count(408) <= 3
    assert 0 < most[0] <= request_body.MAX_BYTES_IN_FLIGHT and bodies.bytes_in_flight == 0


def test_the_refusal_of_a_body_closes_the_connection(client):
    response = client.post("/api/encode", content=b"\0" * (MAX_UPLOAD_BYTES + 1))
    assert response.status_code == 413 and response.headers["connection"] == "close"
    assert "larger than the limit of 32 MiB" in response.json()["error"]
