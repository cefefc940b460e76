"""What evaluate's measures see, how long they take, and what the light evaluation costs a training.

python -m benchmarks.evaluation SET [--characters REGEX] [--run RUN] [--train-images 60k]

SET is a prepared set; REGEX's first group is a picture's character in its path, for the row of dropped characters.
Real pictures that training may see are spoiled in eight ways, with three seeds each; every order that the measures
should keep is checked on every seed. RUN, a trained run, is evaluated with 2,000 samples and timed.
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

from benchmarks import spoil
from benchmarks.machine import machine
from vaegan.config.options import parse_count
from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import FEATURES_FILE, open_dataset
from vaegan.evaluation.evaluate import Evaluator, evaluate
from vaegan.events import ignore_event
from vaegan.training import loop, train

SEEDS = (0, 1, 2)
SHOWN = (
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
ORDERS = (
    ("real", "noise", "blur"),
    ("real", "weave"),
    ("real", "contrast"),
    ("real", "hues"),
    ("real", "dropped", "one"),
)
JUDGED_BY = ("frechet_mean", "kid_mean", "frechet_learned")


def characters(data: Path, pattern: str) -> list[str]:
    """The character of every training picture, in the order of the set."""
    lines = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    train = sorted((line["row"], line["path"]) for line in lines if line.get("split") == "train")
    found = [re.search(pattern, path) for _, path in train]
    return [match.group(1) if match else "" for match in found]


def orders(data: Path, pattern: str | None, n: int) -> None:
    judge = Evaluator(open_dataset(data), EvaluateSettings(n=n), torch.device("cpu"), None, ignore_event)
    train, _ = open_dataset(data).load()
    kinds = characters(data, pattern) if pattern else None
    found: dict[str, list[dict[str, float | None]]] = {}
    for seed in SEEDS:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        real = train[order[:n]]
        lots = {
            "real": real,
            "noise": spoil.noise(real, seed),
            "blur": spoil.blur(real),
            "weave": spoil.weave(real),
            "contrast": spoil.contrast(real),
            "hues": spoil.hues(real),
            "one": real[:1].expand_as(real),
        }
        if kinds is not None:
            lots["dropped"] = spoil.dropped(train[order], [kinds[row] for row in order.tolist()], n, seed)
        for name, pictures in lots.items():
            found.setdefault(name, []).append(
                judge.reference.compute_metrics(judge.reference.extract_features(pictures))
            )
    print(f"\n{data.name}: {n} pictures against {len(judge.reference.val.images)} held out, seeds {SEEDS}")
    print(f"{'':10s}", *(f"{name:>20s}" for name in SHOWN))
    for name, runs in found.items():
        cells = []
        for measure in SHOWN:
            values = [run[measure] for run in runs if run[measure] is not None]
            cells.append(f"{statistics.mean(values):12.4f} ±{statistics.pstdev(values):.4f}" if values else "-")
        print(f"{name:10s}", *(f"{cell:>20s}" for cell in cells))
    for names in ORDERS:
        if any(name not in found for name in names):
            continue
        for measure in JUDGED_BY:
            kept = 0
            for index in range(len(SEEDS)):
                values = [found[name][index][measure] or 0.0 for name in names]
                kept += values == sorted(values) and len(set(values)) == len(values)
            print(f"{' < '.join(names):24s} by {measure:18s} kept on {kept} of {len(SEEDS)} seeds")
    reference = judge.reference
    copies = reference.extract_features(reference.train_images[:256])
    print("training pictures called memorised:", reference.compute_metrics(copies)["memorized_fraction"])
    print(
        "held-out pictures called memorised:", reference.compute_metrics(reference.real_baseline)["memorized_fraction"]
    )


def timing(run: Path, data: Path, n: int) -> None:
    kept = data / FEATURES_FILE
    kept.unlink(missing_ok=True)
    for what in ("features learned first", "features kept", "features kept"):
        began = time.perf_counter()
        evaluate(run, data, n=n)
        print(f"evaluate -n {n}, {what}: {time.perf_counter() - began:.1f} s")


def cost(data: Path, images: str) -> None:
    """Train both kinds with light evaluations at their default spacing, and time those."""
    spent: list[float] = []
    look = loop.TrainLoop._evaluate

    def timed(self: loop.TrainLoop, done: int) -> int:
        began = time.perf_counter()
        back = look(self, done)
        spent.append(time.perf_counter() - began)
        return back

    loop.TrainLoop._evaluate = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        runs = Path(place)
        for preset in ("tiny", "small"):
            for kind, trained in (("vae", train.train_vae), ("gan", train.train_gan)):
                spent.clear()
                began = time.perf_counter()
                trained(data, runs / f"{kind}-{preset}", preset=preset, images=parse_count(images))
                whole = time.perf_counter() - began
                share = sum(spent) / whole
                print(f"{kind} {preset}, {images} pictures: {len(spent)} looks, {share:.1%} of {whole:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--characters", metavar="REGEX")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--train-images")
    parser.add_argument("-n", type=int, default=2000)
    options = parser.parse_args()
    print(machine())
    if options.run is not None:
        timing(options.run, options.data, options.n)
    if options.train_images is not None:
        cost(options.data, options.train_images)
    orders(options.data, options.characters, min(options.n, 3 * open_dataset(options.data).counts["train"] // 4))


if __name__ == "__main__":
    main()
