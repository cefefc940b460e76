"""Measure how well attributes can be edited and asked for, by a classifier of images that knows nothing of latents.

    python -m benchmarks.attributes runs/gan data/faces-64 --columns glasses beard hat
    python -m benchmarks.attributes runs/gan data/faces-64 --columns glasses --judge-data data/other-faces-64

The classifier is trained on the labels of --judge-data, by default the dataset of the run itself; faces that the demo
draws with another seed make a better one. For each attribute it prints, over validation images that lack it: how often
the edited image has it (success), how often the classifier's reading of another column changes (others), and the
distance of the features of the edited image, as a fraction of the mean distance of two faces (moved). Beside ours stand
the same step along the difference of the two means, and the shortest step without the covariance of the latents. For
`sample --where`: the share that has the attribute, and the coverage within the real images that have it, as a fraction
of the coverage of unconditional samples.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.judges import MIN_PER_CLASS, extract, load_classifier, save_classifier, train_classifier
from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.data.labels import YES, LabelColumn
from vaegan.errors import VaeganError
from vaegan.inference.attribute_fitting import fit_attributes
from vaegan.inference.attributes import Attribute, AttributeSet
from vaegan.inference.conditional_sampling import parse_conditions, sample_where
from vaegan.inference.edit import edit_latents, edit_until_visible, parse_change
from vaegan.inference.model import Model, load
from vaegan.metrics.prdc import prdc
from vaegan.utils.images import to_float

MAX_FACES = 256
WHERE_SAMPLES = 256
MAX_TRAIN_LATENTS = 4000
METHODS = ("ours", "one step", "hold all", "mean difference", "no covariance")


class Reader:
    """A classifier of images that reads the columns of labels."""

    def __init__(self, dataset: PreparedDataset, columns: Sequence[str], seed: int, path: Path | None = None) -> None:
        labels = dataset.load_labels()
        self.columns = {column.name: index for index, column in enumerate(labels.columns) if column.name in columns}
        self.kinds = {column.name: column for column in labels.columns}
        train, val = dataset.load()
        texts = {name: label_texts(self.kinds[name], labels.train[:, index]) for name, index in self.columns.items()}
        if path is not None and path.is_file():
            self.network = load_classifier(path, dataset.channels)
        else:
            self.network = train_classifier(train, texts, seed)
            if path is not None:
                save_classifier(path, self.network)
        self.values = {name: sorted(self._frequent(texts[name])) for name in texts}
        self.accuracy = {}
        read = self.read(val)
        for name, values in read.items():
            real = label_texts(self.kinds[name], labels.val[:, self.columns[name]])
            self.accuracy[name] = sum(a == b for a, b in zip(values, real, strict=True)) / max(1, len(real))

    @staticmethod
    def _frequent(texts: list[str]) -> set[str]:
        return {text for text in set(texts) if texts.count(text) >= MIN_PER_CLASS}

    @torch.no_grad()
    def read(self, images: Tensor) -> dict[str, list[str]]:
        """Return the value of each column for images uint8 [N, C, S, S]."""
        parts = [self.network(to_float(batch)) for batch in torch.split(images, 128)]
        return {
            name: [values[index] for index in torch.cat([part[name] for part in parts]).argmax(1).tolist()]
            for name, values in self.values.items()
        }


def has_attribute(attribute: Attribute, values: Sequence[str]) -> Tensor:
    """Return whether each value of the attribute's column means that it is on: bool [N]."""
    if attribute.value == YES:
        return torch.tensor([value != attribute.opposite for value in values])
    return torch.tensor([value == attribute.value for value in values])


def label_texts(column: LabelColumn, numbers: Tensor) -> list[str]:
    """Return the value that each number [N] of a column stands for; "" for a missing label."""
    return ["" if math.isnan(number) else column.values[int(number)] for number in numbers.tolist()]


class LabeledFaces:
    """The images of a dataset, the values of its labels, and the latents of some training images."""

    def __init__(self, model: Model, dataset: PreparedDataset) -> None:
        self.train, self.val = dataset.load()
        labels = dataset.load_labels()
        text_columns = [(index, column) for index, column in enumerate(labels.columns) if column.values]
        self.train_texts = {column.name: label_texts(column, labels.train[:, index]) for index, column in text_columns}
        self.val_texts = {column.name: label_texts(column, labels.val[:, index]) for index, column in text_columns}
        self.train_latents = model.encode(self.train[:MAX_TRAIN_LATENTS])


def edit_by(
    method: str, model: Model, attributes: AttributeSet, attribute: Attribute, latents: Tensor, means: Tensor
) -> Tensor:
    """Turn an attribute on, by our edit or by a baseline that reaches the same score."""
    change = parse_change(attributes, attribute.name, "yes" if attribute.value == YES else attribute.value)
    if method == "ours":
        return edit_until_visible(model, attributes, latents, [change])
    if method == "one step":
        return edit_latents(attributes, latents, [change])
    if method == "hold all":
        return edit_until_visible(model, attributes, latents, [change], hold=["all"])
    step = attribute.weight if method == "no covariance" else means
    change_of_score = (attribute.on_score - attribute.scores(latents)).clamp_min(0)
    return (latents.double() + change_of_score[:, None] * step / (step @ attribute.weight)).float()


def measure_edits(
    model: Model, reader: Reader, attributes: AttributeSet, attribute: Attribute, faces: LabeledFaces
) -> dict[str, dict[str, float]]:
    """Edit validation images that lack an attribute, with each method."""
    images = faces.val[~has_attribute(attribute, faces.val_texts[attribute.name])][:MAX_FACES]
    latents = model.encode(images)
    plain = model.decode(latents)
    read_plain, features = reader.read(plain), extract(reader.network, plain)[0]
    far = float(torch.pdist(features).mean())
    latents_of_faces = faces.train_latents
    has = has_attribute(attribute, faces.train_texts[attribute.name])[: len(latents_of_faces)]
    means = (latents_of_faces[has].mean(0) - latents_of_faces[~has].mean(0)).double()
    result = {}
    for method in METHODS:
        edited = model.decode(edit_by(method, model, attributes, attribute, latents, means))
        read = reader.read(edited)
        others = [
            sum(a != b for a, b in zip(read[name], read_plain[name], strict=True)) / len(edited)
            for name in read
            if name != attribute.name
        ]
        moved = (extract(reader.network, edited)[0] - features).norm(dim=1).mean()
        result[method] = {
            "success": float(has_attribute(attribute, read[attribute.name]).float().mean()),
            "others": sum(others) / max(1, len(others)),
            "moved": float(moved) / far,
        }
    return result


def measure_where(
    model: Model, reader: Reader, attributes: AttributeSet, attribute: Attribute, faces: LabeledFaces, seed: int
) -> dict[str, float]:
    """Sample with an attribute; compare the coverage of real images that have it with that of all samples."""
    train = faces.train
    real = train[has_attribute(attribute, faces.train_texts[attribute.name])][:WHERE_SAMPLES]
    value = "yes" if attribute.value == YES else attribute.value
    try:
        samples = sample_where(model, parse_conditions(attributes, {attribute.name: value}), len(real), seed)
    except VaeganError:  # too few of many seeds have it
        return dict.fromkeys(("attained", "coverage", "draws", "count"), math.nan)
    images = model.decode(samples.latents)
    read = reader.read(images)[attribute.name]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    plain, plain_real = model.sample(len(real), seed), train[order[: len(real)]]

    def coverage(a: Tensor, b: Tensor) -> float:
        return float(prdc(extract(reader.network, a)[0], extract(reader.network, b)[0]).coverage)

    return {
        "attained": float(has_attribute(attribute, read).float().mean()),
        "coverage": coverage(real, images) / coverage(plain_real, plain),
        "draws": samples.num_draws / len(samples.seeds),
        "count": len(real),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--columns", nargs="+", required=True, help="columns of labels to edit")
    parser.add_argument("--others", nargs="*", default=[], help="more columns that the classifier reads")
    parser.add_argument("--judge-data", type=Path, help="dataset with the same labels to train the classifier on")
    parser.add_argument("--network", type=Path, help="file that keeps the classifier")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dataset, model = open_dataset(args.data), load(args.run)
    columns = [*args.columns, *args.others]
    reader = Reader(open_dataset(args.judge_data or args.data), columns, args.seed, args.network)
    print("accuracy of the classifier:", {name: round(value, 3) for name, value in reader.accuracy.items()})
    attributes = fit_attributes(model, dataset, lambda event: None, args.seed)
    faces, rows = LabeledFaces(model, dataset), []
    for attribute in attributes.attributes:
        if attribute.name not in args.columns or attribute.name not in reader.values:
            continue
        if attribute.value != YES and attribute.value not in reader.values[attribute.name]:
            continue
        if attribute.reason:
            print(f"{attribute.title}: not offered: {attribute.reason}")
            continue
        edits = measure_edits(model, reader, attributes, attribute, faces)
        where = measure_where(model, reader, attributes, attribute, faces, args.seed)
        rows.append({"attribute": attribute.title, "auc": attribute.quality, "edits": edits, "where": where})
        parts = [f"{name} {e['success']:.2f} {e['others']:.3f} {e['moved']:.2f}" for name, e in edits.items()]
        asked = f"where {where['attained']:.2f} coverage {where['coverage']:.2f} draws {where['draws']:.1f}"
        print(f"{attribute.title:<22} AUC {attribute.quality:.3f} | {' | '.join(parts)} | {asked}", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
