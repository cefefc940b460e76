"""The page about the HTTP interface names the endpoints that there are, and what its script does works."""

import json
import re
from pathlib import Path

import pytest
from starlette.routing import Route

PAGE = Path(__file__).parents[2] / "docs" / "explorer-http.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="no source tree")


def test_all_endpoints_are_on_the_page(client):
    documented = set(re.findall(r"`(GET|POST) (/api/[a-z0-9.]+)", PAGE.read_text()))
    routes = {
        (method, route.path)
        for route in client.app.routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in route.methods - {"HEAD"}
    }
    assert documented == routes


def test_a_seed_becomes_a_png(client):
    latent = client.get("/api/seed?seed=7").json()["latent"]
    response = client.post("/api/png", content=json.dumps({"latent": latent}))
    assert response.status_code == 200 and response.content.startswith(b"\x89PNG")
