"""Helpers for tests of a whole preparation."""

from pathlib import Path

from vaegan.demo.faces import draw_face, random_face

OPTIONS = {"size": 32, "frames": "all", "dedupe": "near", "val_fraction": 0.2}
FLAGS = ["--size", "32", "--frames", "all", "--dedupe", "near", "--val-fraction", "0.2", "--workers", "2"]


class Killed(BaseException):
    """Ends a preparation in this process as abruptly as a kill."""


def kill(*args, **kwargs):
    """Replacement for a function during which the preparation is killed."""
    raise Killed


def read_files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def save_faces(folder: Path, indices, size=(72, 64)):
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        draw_face(random_face(2, index)).resize(size).save(folder / f"face-{index:03d}.png")
