"""Measure whether samples of a class show it, by a classifier of real images, and how near they are to real ones.

    python -m benchmarks.conditional data/photos-64 folder runs/conditional runs/unconditional
    python -m benchmarks.conditional data/faces-64 hat runs/gan --judge-data data/other-faces-64

The classifier is trained on the labels of --judge-data, by default the dataset itself. For each class of a conditional
run it prints in which share of the samples the classifier finds the class (agree), in which share of the samples of
`--class NAME --where LABEL=NAME` it does (where; only after `vaegan attributes`), in which share of the real validation
images it does (real), and the KID x 1000 of both kinds of samples against the validation images of the class
(kid_where, kid), with the standard error of the latter, beside that of training images of the class. The last line of
each run is the mean over the classes. An unconditional run has one line: its KID against all validation images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.attributes import Reader, label_texts
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.evaluation.evaluate import Evaluator
from vaegan.evaluation.per_class import evaluate_classes
from vaegan.events import ignore_event
from vaegan.inference.attribute_files import attributes_path
from vaegan.inference.model import Model, load

SAMPLES_PER_CLASS = 200
FIRST_SEED = 100_000
COLUMNS = ("agree", "where", "real", "kid_where", "kid", "kid_stderr", "kid_real", "train", "val")


def real_agreement(reader: Reader, dataset: PreparedDataset, label: str) -> dict[str, float]:
    """Return the share of the validation images of each class in which the classifier finds it."""
    labels = dataset.load_labels()
    index = next(number for number, column in enumerate(labels.columns) if column.name == label)
    names = label_texts(labels.columns[index], labels.val[:, index])
    read = reader.read(dataset.load()[1])[label]
    pairs = [(name, name == found) for name, found in zip(names, read, strict=True) if name]
    return {name: _mean([hit for other, hit in pairs if other == name]) for name, _ in pairs}


class CheckedModel:
    """A conditional model whose samples of a class are those that show it, as `sample --where` draws them."""

    def __init__(self, model: Model, label: str) -> None:
        self.info, self.classes = model.info, model.classes
        self._model, self._label = model, label

    def sample(self, n: int, seed: int, class_: str) -> Tensor:
        return self._model.sample(n, seed, where={self._label: class_}, class_=class_)


def measure_classes(
    model: Model, evaluator: Evaluator, reader: Reader, label: str, real: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Return a row of COLUMNS for each class of a conditional model."""
    results = evaluate_classes(
        model, evaluator.dataset, evaluator.reference, evaluator.num_images, FIRST_SEED, ignore_event
    )
    checked_kids = {}
    if attributes_path(model.info.path).is_file():
        checked = cast(Model, CheckedModel(model, label))
        checked_results = evaluate_classes(
            checked, evaluator.dataset, evaluator.reference, evaluator.num_images, FIRST_SEED, ignore_event
        )
        checked_kids = {result.name: result.kid for result in checked_results}
    rows = {}
    for result in results:
        known = result.name in reader.values[label]  # the classifier leaves rare classes out
        agreement = _agreement(model, reader, label, result.name) if known else None
        where = {label: result.name}
        rows[result.name] = {
            "agree": agreement,
            "where": _agreement(model, reader, label, result.name, where) if known and checked_kids else None,
            "real": real.get(result.name) if known else None,
            "kid_where": _scaled(checked_kids.get(result.name)),
            "kid": _scaled(result.kid),
            "kid_stderr": _scaled(result.kid_stderr),
            "kid_real": _scaled(result.real_kid),
            "train": result.num_train,
            "val": result.num_val,
        }
    columns = {column: [row[column] for row in rows.values() if row[column] is not None] for column in COLUMNS}
    return rows | {"mean": {column: _mean(values) for column, values in columns.items()}}


def _agreement(
    model: Model, reader: Reader, label: str, name: str, where: Mapping[str, str] | None = None
) -> float | None:
    """Return the share of the samples of a class in which the classifier finds it."""
    samples = model.sample(SAMPLES_PER_CLASS, FIRST_SEED, where=where, class_=name)
    return _mean([found == name for found in reader.read(samples)[label]])


def _scaled(value: float | None) -> float | None:
    return None if value is None else 1000 * value


def _mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values else None


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="dataset of 64x64 pixels with labels")
    parser.add_argument("label", help="label whose values are the classes")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--judge-data", type=Path, help="dataset that the classifier is trained on")
    parser.add_argument("--network", type=Path, help="file that keeps the classifier")
    parser.add_argument("-n", type=int, default=2000, help="samples of all classes together")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    dataset = open_dataset(args.data)
    reader = Reader(open_dataset(args.judge_data or args.data), [args.label], args.seed, args.network)
    print(f"the classifier finds the class of {reader.accuracy[args.label]:.1%} of the validation images")
    real = real_agreement(reader, dataset, args.label)
    evaluator = Evaluator(dataset, EvaluateSettings(n=args.n), torch.device("cpu"), None, ignore_event)
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for run in args.runs:
        model = load(run, "cpu")
        if model.classes:
            table[str(run)] = measure_classes(model, evaluator, reader, args.label, real)
        else:
            metrics = evaluator.compute_metrics(evaluator.generate_samples(model))
            values = {"kid": _scaled(metrics["kid_mean"]), "kid_stderr": _scaled(metrics["kid_mean_stderr"])}
            values["kid_real"] = _scaled(evaluator.real_metrics()["kid_mean"])
            table[str(run)] = {"all": dict.fromkeys(COLUMNS) | values}
        print(f"\n{run}\n{'class':<20}", *(f"{column:>10}" for column in COLUMNS))
        for name, row in table[str(run)].items():
            print(
                f"{name:<20}", *(f"{'-' if row[c] is None else format(row[c], '.3g'):>10}" for c in COLUMNS), flush=True
            )
    print(json.dumps(table))


if __name__ == "__main__":
    main()
