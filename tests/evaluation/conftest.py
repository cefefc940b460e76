"""Drawn faces that say what hair they wear, and the judge of their set."""

import csv
import json
from dataclasses import dataclass

import pytest
import torch

from vaegan.cli import main
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.demo.faces import ATTRIBUTES_FILENAME, write_faces
from vaegan.evaluation.evaluate import Evaluator
from vaegan.events import ignore_event

FACES = 600


@dataclass
class Judged:
    """A set of drawn faces, its judge, and the hair of every training picture."""

    judge: Evaluator
    hair: list[str]


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "faces"
    write_faces(folder, FACES, seed=3)
    out = folder.parent / "faces-64"
    arguments = ["preprocess", str(folder), "--out", str(out), "--val-fraction", "0.4", "-q"]
    assert main(arguments) == 0
    return folder, out


@pytest.fixture(scope="session")
def judged(faces):
    folder, out = faces
    judge = Evaluator(open_dataset(out), EvaluateSettings(n=256), torch.device("cpu"), None, ignore_event)
    judge.reference.max_patches = 4096
    with (folder / ATTRIBUTES_FILENAME).open(encoding="utf-8", newline="") as file:
        table = {row["file"]: row for row in csv.DictReader(file)}
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    train = sorted((line["row"], line["path"]) for line in lines if line.get("split") == "train")
    return Judged(judge, [table[path.rpartition("/")[2]]["hair"] for _, path in train])
