"""Drawn faces that say what hair they wear, and the judge of their set."""

import csv
import json
from dataclasses import dataclass

import pytest
import torch

from vaegan.cli import main
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import open_set
from vaegan.demo.faces import ATTRIBUTES, draw_faces
from vaegan.evaluation.evaluate import Judge
from vaegan.events import ignore

FACES = 600


@dataclass
class Judged:
    """A set of drawn faces, its judge, and the hair of every training picture."""

    judge: Judge
    hair: list[str]


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "faces"
    draw_faces(folder, FACES, seed=3)
    out = folder.parent / "faces-64"
    arguments = ["preprocess", str(folder), "--out", str(out), "--held-out", "0.4", "-q"]
    assert main(arguments) == 0
    return folder, out


@pytest.fixture(scope="session")
def judged(faces):
    folder, out = faces
    judge = Judge(open_set(out), EvaluateSettings(n=256), torch.device("cpu"), None, ignore)
    judge.reference.patches = 4096
    with (folder / ATTRIBUTES).open(encoding="utf-8", newline="") as file:
        table = {row["file"]: row for row in csv.DictReader(file)}
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    train = sorted((line["row"], line["path"]) for line in lines if line.get("split") == "train")
    return Judged(judge, [table[path.rpartition("/")[2]]["hair"] for _, path in train])
