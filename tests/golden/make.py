"""Make the golden files of a format version: `python tests/golden/make.py tests/golden/format-2`.

Once a version is published, its files stay as they are: later versions must open them.
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
INTERVALS = ["--keep-checkpoints", "1", "--sample-every", "9"]


def run(*arguments: str) -> None:
    """Run a command line that must succeed."""
    assert main([*arguments, "-q"]) == 0, arguments


def make_paths_relative(json_path: Path, *sections: str) -> None:
    """Make the paths in sections of a JSON file relative to the working directory."""
    content = json.loads(json_path.read_text())
    for name in sections:
        content[name]["path"] = Path(content[name]["path"]).relative_to(Path.cwd()).as_posix()
    if "sources" in content:
        content["sources"] = ["faces"]
    json_path.write_text(json.dumps(content, indent=2) + "\n")


def make(out_dir: Path) -> None:
    """Draw faces, then preprocess, train and sample in the empty directory `out_dir`."""
    out_dir.mkdir(parents=True)
    os.chdir(out_dir)
    PRESETS["tiny"] = Preset(4, 2, 2, 0, 9, 9)
    with tempfile.TemporaryDirectory() as faces:
        write_faces(Path(faces), 4, 0)
        run("preprocess", faces, "--out", "set", "--size", "32", "--val-fraction", "0.25")
    run("train-vae", "set", "--run", "vae", "--preset", "tiny", *INTERVALS, *TRAINING)
    gan_options = ["--from-vae", "vae", "--d-warmup-steps", "1", "--gp-interval", "1"]
    run("train-gan", "set", "--run", "gan", *gan_options, *INTERVALS, *TRAINING)
    for kind in ("vae", "gan"):
        run("sample", kind, "-n", "4", "--out", f"{kind}.png", "--device", "cpu")
    make_paths_relative(Path("set/set.json"))
    make_paths_relative(Path("vae/config.json"), "data")
    make_paths_relative(Path("gan/config.json"), "data", "from_vae")
    for regenerated in [*Path().glob("*/previews/*.png"), *Path().glob("*/report.html")]:
        regenerated.unlink()
    Path("set/preview.png").unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
