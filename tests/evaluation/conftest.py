"""A dataset of cartoon faces with known hair styles, and its evaluator."""

import csv
import json
from dataclasses import dataclass

import pytest
import torch

from vaegan.cli import main
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.demo.faces import ATTRIBUTES_FILENAME, write_faces
from vaegan.evaluation.evaluate import Evaluator
from vaegan.events import ignore_event

NUM_FACES = 600


@dataclass
class EvaluatedDataset:
    """A dataset's evaluator, and the hair style of every training image."""

    evaluator: Evaluator
    hair_styles: list[str]


@pytest.fixture(scope="session")
def face_dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "faces"
    write_faces(folder, NUM_FACES, seed=3)
    out = folder.parent / "faces-64"
    arguments = ["preprocess", str(folder), "--out", str(out), "--val-fraction", "0.4", "-q"]
    assert main(arguments) == 0
    return folder, out


@pytest.fixture(scope="session")
def evaluated(face_dataset):
    folder, out = face_dataset
    evaluator = Evaluator(open_dataset(out), EvaluateSettings(n=256), torch.device("cpu"), None, ignore_event)
    evaluator.reference.max_patches = 4096
    with (folder / ATTRIBUTES_FILENAME).open(encoding="utf-8", newline="") as file:
        hair_styles = {row["file"]: row["hair"] for row in csv.DictReader(file)}
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    train = sorted((line["row"], line["path"]) for line in lines if line.get("split") == "train")
    return EvaluatedDataset(evaluator, [hair_styles[path.rpartition("/")[2]] for _, path in train])
