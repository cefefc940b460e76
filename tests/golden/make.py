"""Make the golden files of a format version: `python tests/golden/make.py tests/golden/format-2`, once per version.

They are never made again: whatever vaegan becomes, it must open what this version wrote.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from vaegan.cli import main
from vaegan.config.model_config import PRESETS, Preset
from vaegan.demo.faces import write_faces

TRAINING = ["--steps", "2", "--batch-size", "3", "--device", "cpu", "--precision", "fp32", "--log-every", "1"]


def run(*arguments: str) -> None:
    """Run a command line that must succeed."""
    assert main([*arguments, "-q"]) == 0, arguments


def without_place(path: Path, *names: str) -> None:
    """Write JSON again, the paths in it relative to the folder that holds all."""
    said = json.loads(path.read_text())
    for name in names:
        said[name]["path"] = Path(said[name]["path"]).relative_to(Path.cwd()).as_posix()
    if "source" in said:
        said["source"] = ["faces"]
    path.write_text(json.dumps(said, indent=2) + "\n")


def make(place: Path) -> None:
    """Draw, prepare, train and sample into the empty folder `place`."""
    place.mkdir(parents=True)
    os.chdir(place)
    PRESETS["tiny"] = Preset(4, 2, 9, 9)
    with tempfile.TemporaryDirectory() as faces:
        write_faces(Path(faces), 4, 0)
        run("preprocess", faces, "--out", "set", "--size", "32", "--val-fraction", "0.25")
    run(
        "train-vae",
        "set",
        "--run",
        "vae",
        "--preset",
        "tiny",
        "--keep-checkpoints",
        "1",
        "--sample-every",
        "9",
        *TRAINING,
    )
    gan = [
        "--from-vae",
        "vae",
        "--run",
        "gan",
        "--d-warmup-steps",
        "1",
        "--gp-interval",
        "1",
        "--keep-checkpoints",
        "1",
    ]
    run("train-gan", "set", *gan, "--sample-every", "9", *TRAINING)
    for kind in ("vae", "gan"):
        run("sample", kind, "-n", "4", "--out", f"{kind}.png", "--device", "cpu")
    without_place(Path("set/set.json"))
    without_place(Path("vae/config.json"), "data")
    without_place(Path("gan/config.json"), "data", "from_vae")
    for preview in Path().glob("*/previews/*.png"):
        preview.unlink()
    Path("set/preview.png").unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
