"""One file through the worker's code, in this process, and a folder of every kind of them."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from preparing import OPTIONS, contents, save_faces

from vaegan.config.settings import PreprocessSettings
from vaegan.data.preprocess.image_ops import from_chw_bytes
from vaegan.data.preprocess.preprocess import prepare
from vaegan.data.preprocess.records import FileLocation, Task
from vaegan.data.preprocess.tasks import run_tasks
from vaegan.demo.faces import draw_face, random_face


@pytest.fixture
def work():
    """work(path, **options) -> the outcome of one file."""

    def do(path: Path, place: FileLocation | None = None, **options):
        settings = PreprocessSettings(**{"size": 32, **options})
        return run_tasks([Task(7, place or FileLocation(str(path)), path.suffix)], settings)[0]

    return do


@pytest.fixture
def squared(work):
    """squared(path, **options) -> the square as a picture; fails where the file is skipped."""

    def do(path: Path, **options) -> Image.Image:
        outcome = work(path, **options)
        assert outcome.reason == "", (outcome.reason, outcome.detail)
        channels = 1 if options.get("grayscale") else 3
        return from_chw_bytes(outcome.images[0].pixels, channels, options.get("size", 32))

    return do


@pytest.fixture
def manifest():
    """manifest(set) -> its lines by path."""

    def read(path: Path) -> dict[str, dict]:
        return {line["path"]: line for line in map(json.loads, (path / "manifest.jsonl").read_text().splitlines())}

    return read


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Pictures in folders and archives, duplicates, an animation, and files that are none."""
    folder = tmp_path_factory.mktemp("zoo") / "zoo"
    save_faces(folder / "faces", range(60))
    save_faces(folder / "packed", range(60, 90), (64, 96))
    with zipfile.ZipFile(folder / "some.zip", "w") as archive, tarfile.open(folder / "more.tar.gz", "w:gz") as tar:
        for path in sorted((folder / "packed").iterdir()):
            (archive.write if int(path.stem[-1]) % 2 else tar.add)(path, path.name)
        archive.writestr("../up.png", b"x")
    shutil.rmtree(folder / "packed")
    shutil.copy(folder / "faces" / "face-003.png", folder / "again.png")
    draw_face(random_face(2, 5)).resize((72, 64)).save(folder / "again.jpg", quality=90)
    frames = [draw_face(random_face(2, number)).resize((50, 50)).quantize(64) for number in range(90, 96)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "cut.png").write_bytes((folder / "faces" / "face-001.png").read_bytes()[:900])
    (folder / "text.jpg").write_text("no picture")
    (folder / "names.csv").write_text("a,b\n")
    return folder


@pytest.fixture(scope="module")
def calm(zoo, tmp_path_factory):
    """An undisturbed run."""
    return contents(prepare([zoo], tmp_path_factory.mktemp("calm") / "set", **OPTIONS))
