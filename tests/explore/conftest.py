"""A session of tiny runs and a client of its server. Skipped if the extra `explore` is not installed."""

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from vaegan.events import ignore_event
from vaegan.explore.server import make_app
from vaegan.explore.session import open_session

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="session")
def session(gan_run):
    return open_session(gan_run, "gan", "cpu", ignore_event)


@pytest.fixture
def client(session):
    return TestClient(make_app(session, PORT), base_url=HOME, headers={"origin": HOME})
