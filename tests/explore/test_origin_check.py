"""The server accepts only requests of its own page."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from vaegan.explore.server import make_app

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
WEBSOCKET_URL = f"ws://127.0.0.1:{PORT}/live"


@pytest.fixture
def bare_client(session):
    return TestClient(make_app(session, PORT), base_url=HOME)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765"])
def test_requests_of_this_machine_are_accepted(bare_client, host):
    for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
        assert bare_client.get("/api/about", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8765"},
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:8766"},
        {"host": "127.0.0.1.evil.example:8765"},
        {"host": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:8766"},
        {"origin": "https://127.0.0.1:8765"},
        {"origin": "http://localhost:8765"},  # another hostname than in Host
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_requests_are_rejected(bare_client, headers):
    for path in ("/", "/explore.js", "/api/about", "/api/map.latents", "/nowhere"):
        assert bare_client.get(path, headers=headers).status_code == 403
    assert bare_client.post("/api/png", headers=headers, json={}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        bare_client.websocket_connect(WEBSOCKET_URL, headers={"origin": HOME} | headers),
    ):
        pass


def test_a_websocket_without_an_origin_is_rejected(bare_client):
    with (
        pytest.raises(WebSocketDisconnect),
        bare_client.websocket_connect(WEBSOCKET_URL, headers={"host": f"127.0.0.1:{PORT}"}),
    ):
        pass


def test_responses_cannot_be_used_by_other_pages(client):
    for path in ("/", "/api/about", "/api/map.jpg", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin" and "access-control-allow-origin" not in headers
