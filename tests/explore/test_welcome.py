"""Only the page that the server served may talk to it."""

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from vaegan.explore.server import make_app

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
LIVE = f"ws://127.0.0.1:{PORT}/live"


@pytest.fixture
def bare(studio):
    return TestClient(make_app(studio, PORT), base_url=HOME)


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765"])
def test_this_machine_is_welcome(bare, host):
    for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
        assert bare.get("/api/about", headers=headers).status_code == 200


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
        {"origin": "http://localhost:8765"},  # a page that came as another name
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_everyone_else_is_refused(bare, headers):
    for path in ("/", "/explore.js", "/api/about", "/api/map.latents", "/nowhere"):
        assert bare.get(path, headers=headers).status_code == 403
    assert bare.post("/api/png", headers=headers, json={}).status_code == 403
    with pytest.raises(WebSocketDisconnect), bare.websocket_connect(LIVE, headers={"origin": HOME} | headers):
        pass


def test_a_socket_without_an_origin_is_refused(bare):
    with pytest.raises(WebSocketDisconnect), bare.websocket_connect(LIVE, headers={"host": f"127.0.0.1:{PORT}"}):
        pass


def test_answers_stay_out_of_other_pages(client):
    for path in ("/", "/api/about", "/api/map.jpg", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin" and "access-control-allow-origin" not in headers
