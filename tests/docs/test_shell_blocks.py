"""The shell and Python blocks of the pages run, in the order of the page, on a few small images and short trainings."""

import csv
import re
import shutil
from pathlib import Path
from statistics import median

import pytest
import torch
from pages import README, ROOT, fenced_blocks, shell_commands
from PIL import Image, ImageStat

import vaegan
from vaegan.cli import main
from vaegan.demo.faces import write_faces
from vaegan.explore import serve
from vaegan.losses.gan import AdversarialLoss

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the source tree is not here")

NUM_FACES = 100
LENGTHS = ("--minutes", "--images", "--steps")
SHORT_TRAINING = ["--steps", "2", "--batch-size", "4"]
SHORTER = {
    "preprocess": ["--size", "32"],
    "train-vae": [*SHORT_TRAINING, "--preset", "tiny", "--evaluate-every", "0"],
    "train-gan": SHORT_TRAINING,
    "evaluate": ["-n", "16"],
    "compare": ["-n", "16"],
    "explore": ["--no-browser"],
}
OTHER_PROGRAMS = {
    "source",
    "pip",
    "python",
    "python3",
    ".venv/bin/pip",
    ".venv/bin/vaegan",
    ".venv/bin/python",
    "torchrun",
}


@pytest.fixture(scope="session")
def face_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented") / "faces"
    write_faces(folder, NUM_FACES, seed=4)
    return folder


def write_labels(path, image_files):
    """Write labels that follow from colors, which even the encoder of a short training tells."""
    colors = [ImageStat.Stat(Image.open(file).convert("RGB")).mean for file in image_files]
    contrasts = [(red, blue - red, green - blue) for red, green, blue in colors]
    red_median, blue_median, green_median = map(median, zip(*contrasts, strict=True))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "glasses", "beard", "hat", "turn"])
        for image, (red, blue, green) in zip(image_files, contrasts, strict=True):
            glasses, beard = "round" if red > red_median else "none", "full" if blue > blue_median else "none"
            hat = "cap" if green > green_median else "none"
            writer.writerow([image.name, glasses, beard, hat, round(red / 100, 2)])


@pytest.fixture
def images(here, face_files):
    """The images that the pages name."""
    shutil.copytree(face_files, "faces")
    Path("new-faces").mkdir()
    for name in ("new-faces/anna.jpg", "new-faces/ben.jpg", "mum.jpg", "cat.png", "dad.png"):
        Image.open("faces/face-00001.png").save(name)
    write_labels(Path("labels.csv"), sorted(Path("faces").glob("*.png")))
    shutil.make_archive("more", "zip", "faces")
    shutil.make_archive("scans", "gztar", "faces")


def shortened(command, *arguments):
    """Return a command line that does the same for a short time."""
    words = [command, *arguments]
    if command in ("train-vae", "train-gan"):
        for name in LENGTHS:
            if name in words:
                position = words.index(name)
                del words[position : position + 2]
    if command == "preprocess" and "--out" not in words:
        words += ["--out", "data/faces-64"]  # the pages name the default size
    return words + SHORTER.get(command, [])


def run_commands(page):
    """Run the vaegan commands of a page and return how many there were."""
    count = 0
    for program, *arguments in shell_commands(page.read_text()):
        if program == "vaegan":
            command_line = shortened(*arguments)
            assert main([*command_line, "-q"]) == 0, f"vaegan {' '.join(command_line)}"
            count += 1
        else:
            assert program in OTHER_PROGRAMS
    return count


def test_the_commands_of_the_readme_run(images):
    assert run_commands(README) >= 5
    assert Path("samples/gan-seeds-0-63.png").is_file()


@pytest.mark.slow
def test_the_commands_of_the_guide_run(images, monkeypatch):
    monkeypatch.setattr(serve, "run_server", lambda app, listening_socket: None)
    assert run_commands(ROOT / "docs" / "guide.md") >= 32


def test_the_commands_about_datasets_run(images):
    assert run_commands(ROOT / "docs" / "datasets.md") >= 7
    assert Path("data/labeled-64/labels.safetensors").is_file()


@pytest.mark.parametrize("page", ["README.md", pytest.param("docs/api.md", marks=pytest.mark.slow)])
def test_the_python_blocks_run(page, images):
    blocks = fenced_blocks((ROOT / page).read_text(), "python")
    assert blocks
    code = re.sub(r"minutes=\d+", "steps=2, batch_size=4, evaluate_every=0", "\n".join(blocks))
    code = code.replace('"data/faces-64")', '"data/faces-64", size=32)')
    namespace = {}
    exec(code, namespace)
    assert isinstance(namespace["model"], vaegan.inference.model.Model)
    assert namespace["images"].shape == (64, 3, 32, 32)


def test_the_example_of_a_loss_is_a_loss():
    (block,) = fenced_blocks((ROOT / "docs" / "architecture.md").read_text(), "python")
    losses = eval("{" + block + "}", {"AdversarialLoss": AdversarialLoss})
    loss = losses["least-squares"]
    real, fake = torch.tensor([2.0, 1.0]), torch.tensor([0.0, 1.0])
    assert loss.discriminator_loss(real, fake).item() == pytest.approx(1.0)
    assert loss.generator_loss(real, fake).item() == pytest.approx(0.5)
