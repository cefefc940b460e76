"""Fixtures for single files, which are processed in this process, and for whole preparations."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from preprocess_helpers import OPTIONS, read_files, save_faces

from vaegan.config.tool_settings import PreprocessSettings
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.demo.faces import draw_face, random_face


@pytest.fixture
def process_file():
    """process_file(path, **options) -> the result for one file."""

    def run(path: Path, location: FileLocation | None = None, **options):
        settings = PreprocessSettings(**{"size": 32, **options})
        return run_tasks([Task(7, location or FileLocation(str(path)), path.suffix)], settings)[0]

    return run


@pytest.fixture
def prepare_image(process_file):
    """prepare_image(path, **options) -> the prepared image; fails if the file is skipped."""

    def run(path: Path, **options) -> Image.Image:
        result = process_file(path, **options)
        assert result.reason == "", (result.reason, result.detail)
        channels = 1 if options.get("grayscale") else 3
        return from_chw_bytes(result.images[0].pixels, channels, options.get("size", 32))

    return run


@pytest.fixture
def manifest():
    """manifest(dataset_path) -> the entries of manifest.jsonl by path."""

    def read(path: Path) -> dict[str, dict]:
        return {entry["path"]: entry for entry in map(json.loads, (path / "manifest.jsonl").read_text().splitlines())}

    return read


@pytest.fixture(scope="module")
def mixed_sources(tmp_path_factory):
    """A folder of images, archives, duplicates and an animation, and of files that are not images."""
    folder = tmp_path_factory.mktemp("mixed") / "sources"
    save_faces(folder / "faces", range(60))
    save_faces(folder / "packed", range(60, 90), (64, 96))
    with zipfile.ZipFile(folder / "some.zip", "w") as archive, tarfile.open(folder / "more.tar.gz", "w:gz") as tar:
        for path in sorted((folder / "packed").iterdir()):
            (archive.write if int(path.stem[-1]) % 2 else tar.add)(path, path.name)
        archive.writestr("../up.png", b"x")
    shutil.rmtree(folder / "packed")
    shutil.copy(folder / "faces" / "face-003.png", folder / "again.png")
    draw_face(random_face(2, 5)).resize((72, 64)).save(folder / "again.jpg", quality=90)
    frames = [draw_face(random_face(2, index)).resize((50, 50)).quantize(64) for index in range(90, 96)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "cut.png").write_bytes((folder / "faces" / "face-001.png").read_bytes()[:900])
    (folder / "text.jpg").write_text("not an image")
    (folder / "names.csv").write_text("a,b\n")
    return folder


@pytest.fixture(scope="module")
def expected_files(mixed_sources, tmp_path_factory):
    """The files of a dataset that was prepared from `mixed_sources` without an interruption."""
    return read_files(prepare([mixed_sources], tmp_path_factory.mktemp("expected") / "set", **OPTIONS))
