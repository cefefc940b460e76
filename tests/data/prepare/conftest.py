"""One file through the worker's code, in this process."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vaegan.data.prepare.items import Place, Task
from vaegan.data.prepare.squaring import from_planes
from vaegan.data.prepare.work import prepare_all
from vaegan.settings import PrepareSettings


@pytest.fixture
def work():
    """work(path, **options) -> the outcome of one file."""

    def do(path: Path, place: Place | None = None, **options):
        settings = PrepareSettings(**{"size": 32, **options})
        return prepare_all([Task(7, place or Place(str(path)), path.suffix)], settings)[0]

    return do


@pytest.fixture
def squared(work):
    """squared(path, **options) -> the square as a picture; fails where the file is skipped."""

    def do(path: Path, **options) -> Image.Image:
        outcome = work(path, **options)
        assert outcome.reason == "", (outcome.reason, outcome.detail)
        channels = 1 if options.get("grayscale") else 3
        return from_planes(outcome.squares[0].pixels, channels, options.get("size", 32))

    return do


@pytest.fixture
def manifest():
    """manifest(set) -> its lines by path."""

    def read(path: Path) -> dict[str, dict]:
        return {line["path"]: line for line in map(json.loads, (path / "manifest.jsonl").read_text().splitlines())}

    return read
