"""What the tests of whole preparations share."""

from pathlib import Path

from vaegan.demo.faces import draw_face, random_face

OPTIONS = {"size": 32, "frames": "all", "dedupe": "near", "val_fraction": 0.2}
FLAGS = ["--size", "32", "--frames", "all", "--dedupe", "near", "--val-fraction", "0.2", "--workers", "2"]


class Stop(BaseException):
    """As sudden as a kill, but in this process."""


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def save_faces(folder: Path, numbers, size=(72, 64)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        draw_face(random_face(2, number)).resize(size).save(folder / f"face-{number:03d}.png")
