"""Check that the evaluation metrics rank degraded images correctly, and measure how long evaluations take.

python -m benchmarks.evaluation DATA [--classes REGEX] [--run RUN] [--train-images 60k]

Training images are degraded in several ways, with three seeds each, and every expected order of metric values is
checked. The first group of REGEX is an image's class in its path; with it, dropped classes are tested as well. RUN is
evaluated and timed. --train-images trains short runs and prints the fraction of time that evaluations take in them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import degradations
from benchmarks.machine import describe_machine
from vaegan.config.options import parse_count
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import FEATURES_FILE, open_dataset
from vaegan.evaluation.evaluate import Evaluator, evaluate
from vaegan.events import ignore_event
from vaegan.training.loop import TrainLoop
from vaegan.training.train import train_gan, train_vae

SEEDS = (0, 1, 2)
SHOWN_METRICS = (
    "frechet_mean",
    "frechet_fine",
    "frechet_coarse",
    "frechet_learned",
    "kid_mean",
    "kid_learned",
    "coverage",
    "sliced_wasserstein",
    "ndb_over_k",
    "memorized_fraction",
)
EXPECTED_ORDERS = (
    ("real", "noise", "blur"),
    ("real", "checkerboard"),
    ("real", "contrast"),
    ("real", "hue"),
    ("real", "dropped classes", "one image"),
)
RANKING_METRICS = ("frechet_mean", "kid_mean", "frechet_learned")

Results = dict[str, list[dict[str, float | None]]]
"""The metrics of each set of images, one dictionary per seed."""


def read_classes(data: Path, pattern: str) -> list[str]:
    """Return the class of every training image, in the order of the dataset."""
    lines = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    train = sorted((line["row"], line["path"]) for line in lines if line.get("split") == "train")
    matches = [re.search(pattern, path) for _, path in train]
    return [match.group(1) if match else "" for match in matches]


def make_image_sets(train: Tensor, classes: list[str] | None, n: int, seed: int) -> dict[str, Tensor]:
    """Return `n` random training images, and degraded versions of them, by name."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    real = train[order[:n]]
    image_sets = {
        "real": real,
        "noise": degradations.add_noise(real, seed),
        "blur": degradations.blur(real),
        "checkerboard": degradations.add_checkerboard(real),
        "contrast": degradations.increase_contrast(real),
        "hue": degradations.rotate_hue(real),
        "one image": real[:1].expand_as(real),
    }
    if classes is not None:
        labels = [classes[row] for row in order.tolist()]
        image_sets["dropped classes"] = degradations.drop_classes(train[order], labels, n, seed)
    return image_sets


def print_metrics(results: Results) -> None:
    """Print mean and standard deviation of every metric."""
    print(f"{'':15s}", *(f"{name:>20s}" for name in SHOWN_METRICS))
    for name, seed_metrics in results.items():
        cells = []
        for metric in SHOWN_METRICS:
            values = [value for metrics in seed_metrics if (value := metrics[metric]) is not None]
            cells.append(f"{statistics.mean(values):12.4f} ±{statistics.pstdev(values):.4f}" if values else "-")
        print(f"{name:15s}", *(f"{cell:>20s}" for cell in cells))


def print_orders(results: Results) -> None:
    """Print on how many seeds each metric ranks the image sets as expected."""
    for names in EXPECTED_ORDERS:
        if any(name not in results for name in names):
            continue
        for metric in RANKING_METRICS:
            num_correct = 0
            for index in range(len(SEEDS)):
                values = [results[name][index][metric] or 0.0 for name in names]
                num_correct += values == sorted(values) and len(set(values)) == len(values)
            print(f"{' < '.join(names):36s} by {metric:18s} on {num_correct} of {len(SEEDS)} seeds")


def check_metrics(data: Path, class_pattern: str | None, n: int) -> None:
    """Compute the metrics of all image sets and print how they rank."""
    dataset = open_dataset(data)
    reference = Evaluator(dataset, EvaluateSettings(n=n), torch.device("cpu"), None, ignore_event).reference
    train, _ = dataset.load()
    classes = read_classes(data, class_pattern) if class_pattern else None
    results: Results = {}
    for seed in SEEDS:
        for name, images in make_image_sets(train, classes, n, seed).items():
            metrics = reference.compute_metrics(reference.extract_features(images))
            results.setdefault(name, []).append(metrics)
    print(f"\n{data.name}: {n} images against {len(reference.val.images)} validation images, seeds {SEEDS}")
    print_metrics(results)
    print_orders(results)
    copies = reference.compute_metrics(reference.extract_features(reference.train_images[:256]))
    real = reference.compute_metrics(reference.real_baseline)
    print("memorized fraction of training images:", copies["memorized_fraction"])
    print("memorized fraction of the real baseline:", real["memorized_fraction"])


def time_evaluation(run: Path, data: Path, n: int) -> None:
    """Time `evaluate` without and with cached features."""
    (data / FEATURES_FILE).unlink(missing_ok=True)
    for description in ("training the features first", "features cached", "features cached"):
        start_time = time.perf_counter()
        evaluate(run, data, n=n)
        print(f"evaluate -n {n}, {description}: {time.perf_counter() - start_time:.1f} s")


def time_training_evaluations(data: Path, images: str) -> None:
    """Train VAEs and GANs with the default intervals, and print the fraction of time that evaluations take."""
    durations: list[float] = []
    original_evaluate = TrainLoop._evaluate

    def timed_evaluate(self: TrainLoop) -> None:
        start_time = time.perf_counter()
        original_evaluate(self)
        durations.append(time.perf_counter() - start_time)

    TrainLoop._evaluate = timed_evaluate  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as temp_dir:
        for preset in ("tiny", "small"):
            for kind, train in (("vae", train_vae), ("gan", train_gan)):
                durations.clear()
                start_time = time.perf_counter()
                train(data, Path(temp_dir) / f"{kind}-{preset}", preset=preset, images=parse_count(images))
                total = time.perf_counter() - start_time
                fraction = sum(durations) / total
                print(
                    f"{kind} {preset}, {images} images: {len(durations)} evaluations, {fraction:.1%} of {total:.0f} s"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared dataset")
    parser.add_argument("--classes", metavar="REGEX", help="its first group is an image's class in its path")
    parser.add_argument("--run", type=Path, help="run to evaluate and time")
    parser.add_argument("--train-images", metavar="COUNT", help="length of the short training runs, such as 60k")
    parser.add_argument("-n", type=int, default=2000, help="number of images to evaluate")
    args = parser.parse_args()
    print(describe_machine())
    if args.run is not None:
        time_evaluation(args.run, args.data, args.n)
    if args.train_images is not None:
        time_training_evaluations(args.data, args.train_images)
    check_metrics(args.data, args.classes, min(args.n, 3 * open_dataset(args.data).counts["train"] // 4))


if __name__ == "__main__":
    main()
