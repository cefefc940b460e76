"""Judge samples by networks that no training of vaegan has touched: classifiers trained on the labels of a dataset.

    python -m benchmarks.judges data/photos --labels folder runs/a runs/b
    python -m benchmarks.judges data/faces-64 --labels faces/attributes.csv runs/a
    python -m benchmarks.judges data/comic --labels '^([a-z]+)-' runs/a

A small convolutional classifier learns the labels. Its last hidden layer tells content, the statistics of its first two
layers tell texture. For each run it prints the Frechet distance and coverage of 2,048 samples in both, and beside them
those of as many other real images ("real"). Flatness and band powers of the samples follow.

"fd" is the distance in features of unit variance. In a classifier of few labels most features share one direction. Then
"fd" tells little but how many samples are near to each label, and chance moves it a lot. "white" is the distance in
whitened features, in which all directions count alike. With --repeats every value is the mean over several sets of
samples, and the largest deviation from it in "fd" and "white" follows.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vaegan.data.dataset import PreparedDataset, open_dataset
from vaegan.inference.model import load
from vaegan.metrics.distances import frechet_distance, kid
from vaegan.metrics.prdc import prdc
from vaegan.metrics.texture import BAND_NAMES, band_powers, local_deviation
from vaegan.utils.images import to_float

WIDTHS = (32, 64, 128, 128)
CONTENT_DIM = 64
EPOCHS = 12
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
MAX_CLASSES = 40
MIN_PER_CLASS = 30
SEED_START = 100_000
MIN_RELATIVE_VARIANCE = 1e-3
"""Directions of features with a smaller fraction of the largest variance are left out of whitened features."""


def read_labels(names: list[str], source: str) -> dict[str, list[str]]:
    """Return the label of every image by attribute: of its folder, of a CSV's rows, or of a regular expression."""
    if source == "folder":
        return {"folder": [Path(name).parent.name for name in names]}
    if not source.endswith(".csv"):
        pattern = re.compile(source)
        matches = [pattern.search(Path(name).name) for name in names]
        return {"name": [match[1] if match else "" for match in matches]}
    with Path(source).open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    columns = [column for column in next(iter(rows.values())) if column != "file"]
    return {column: [rows[Path(name).name][column] for name in names] for column in columns}


class Classifier(nn.Module):
    """Images float [B, C, 64, 64] in [-1, 1] -> logits of several attributes."""

    def __init__(self, channels: int, num_classes: dict[str, int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for width in WIDTHS:
            blocks.append(nn.Sequential(nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(8, width), nn.LeakyReLU(0.1)))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.hidden = nn.Linear(channels * 16, CONTENT_DIM)
        self.heads = nn.ModuleDict({name: nn.Linear(CONTENT_DIM, count) for name, count in num_classes.items()})

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return content [B, CONTENT_DIM] and texture [B, 2 * (32 + 64)]."""
        texture, x = [], images
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < 2:
                texture += [x.mean((2, 3)), x.std((2, 3))]
        return F.leaky_relu(self.hidden(x.flatten(1)), 0.1), torch.cat(texture, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        content, _ = self.features(images)
        return {name: head(content) for name, head in self.heads.items()}


def train_classifier(images: Tensor, labels: dict[str, list[str]], seed: int) -> Classifier:
    """Train on uint8 [N, C, S, S]; attributes without 2 to MAX_CLASSES frequent classes are left out."""
    targets, num_classes = {}, {}
    for name, values in labels.items():
        frequent = sorted({value for value in set(values) if values.count(value) >= MIN_PER_CLASS})
        if 2 <= len(frequent) <= MAX_CLASSES:
            index = {value: i for i, value in enumerate(frequent)}
            targets[name] = torch.tensor([index.get(value, -100) for value in values])
            num_classes[name] = len(frequent)
    torch.manual_seed(seed)
    network = Classifier(images.shape[1], num_classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.01)
    total_steps = EPOCHS * (len(images) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * LEARNING_RATE, total_steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for rows in order[: len(order) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE):
            batch = to_float(images[rows])
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            dy, dx = torch.randint(-4, 5, (2,)).tolist()
            batch = F.pad(batch, (4, 4, 4, 4), mode="replicate")[:, :, 4 + dy : 68 + dy, 4 + dx : 68 + dx]
            logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = torch.stack(
                [F.cross_entropy(logits[name], target[rows]) for name, target in targets.items()]
            ).nansum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def classifier_for(dataset: PreparedDataset, source: str, seed: int, path: Path) -> Classifier:
    """Load the classifier at `path`, or train it and save it there."""
    names, _ = dataset.image_names()
    if path.is_file():
        return load_classifier(path, dataset.channels)
    network = train_classifier(dataset.load()[0], read_labels(names, source), seed)
    save_classifier(path, network)
    return network


def save_classifier(path: Path, network: Classifier) -> None:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)


def load_classifier(path: Path, channels: int) -> Classifier:
    tensors = load_file(path)
    counts = {key.split(".")[1]: len(t) for key, t in tensors.items() if re.fullmatch(r"heads\..*\.bias", key)}
    network = Classifier(channels, counts)
    network.load_state_dict(tensors)
    return network.eval()


@torch.no_grad()
def extract(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    parts = [network.features(to_float(part)) for part in torch.split(images, 128)]
    content, texture = (torch.cat(column) for column in zip(*parts, strict=True))
    return content, texture


def whitening_matrix(features: Tensor) -> Tensor:
    """Return the matrix [d, k] that maps features [N, d] to their k main directions, each of variance 1."""
    variances, directions = torch.linalg.eigh(torch.cov(features.double().T))
    is_kept = variances > MIN_RELATIVE_VARIANCE * variances[-1]
    return (directions[:, is_kept] / variances[is_kept].sqrt()).float()


def judge(network: Classifier, reference: Tensor, images: Tensor) -> dict[str, float]:
    """Compare images with a reference, both uint8 [N, C, S, S]."""
    result = {}
    for space, real, fake in zip(
        ("content", "texture"), extract(network, reference), extract(network, images), strict=True
    ):
        mean, std = real.mean(0), real.std(0).clamp_min(1e-4)
        real, fake = (real - mean) / std, (fake - mean) / std
        whitening = whitening_matrix(real)
        result[f"{space}_fd"] = frechet_distance(fake, real)
        result[f"{space}_white"] = frechet_distance(fake @ whitening, real @ whitening)
        result[f"{space}_kid"] = 1000 * kid(fake, real)[0]
        scores = prdc(real, fake)
        result[f"{space}_coverage"], result[f"{space}_density"] = scores.coverage, scores.density
    deviation, powers, real_powers = local_deviation(images), band_powers(images), band_powers(reference)
    result |= {"luma_10": deviation.luminance[0], "luma_25": deviation.luminance[1], "chroma_50": deviation.chroma[2]}
    for name, power, real_power in zip(BAND_NAMES, powers, real_powers, strict=True):
        result[f"band_{name}"] = power / real_power
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--labels", required=True, help="folder, a CSV file, or a regular expression of file names")
    parser.add_argument("-n", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1, help="sets of samples to judge")
    parser.add_argument("--network", type=Path, help="file that keeps the classifier")
    args = parser.parse_args()
    dataset = open_dataset(args.data)
    network = classifier_for(
        dataset, args.labels, args.seed, args.network or args.data.with_name(f"{args.data.name}-judge.safetensors")
    )
    train, _ = dataset.load()
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(args.seed))
    count = min(args.n, len(train) // 2)
    reference, other = train[order[:count]], train[order[count : 2 * count]]
    rows = {"real": judge(network, reference, other)}
    for run in args.runs:
        model = load(run, "cpu")
        repeats = [
            judge(network, reference, model.sample(count, SEED_START + repeat * count))
            for repeat in range(args.repeats)
        ]
        rows[str(run)] = summarize(repeats)
    columns = list(rows["real"])
    width = max(map(len, rows))
    print(" " * width, *(f"{column.replace('content', 'C').replace('texture', 'T'):>10}" for column in columns))
    for name, row in rows.items():
        deviations = "  ".join(f"{key} {value:.3f}" for key, value in row.items() if key not in columns)
        print(f"{name:<{width}}", *(f"{row[column]:10.3f}" for column in columns), deviations, flush=True)
    print(json.dumps(rows))


def summarize(repeats: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every value, and the largest deviation from the mean of the distances."""
    means = {key: sum(result[key] for result in repeats) / len(repeats) for key in repeats[0]}
    deviations = {
        f"{key}_deviation": max(abs(result[key] - mean) for result in repeats)
        for key, mean in means.items()
        if key.endswith(("_fd", "_white"))
    }
    return means | (deviations if len(repeats) > 1 else {})


if __name__ == "__main__":
    main()
