"""Compare GANs on few training images with and without augmentation.

python -m benchmarks.small_dataset DATA --minutes 8 --seeds 0 1 2 [--count 1000] [--arms none fixed adaptive]
python -m benchmarks.small_dataset DATA --arms scratch-none scratch-adaptive --speed 230 245

Writes a dataset of `--count` training images and all validation images. For every seed one VAE is trained on it, for a
quarter of the minutes, and the GANs start from this VAE; the arms scratch-... start without one. Results come from
`vaegan evaluate` on that dataset: coverage, memorization compared with real images, memorization warnings, and the
last discriminator overfitting in metrics.jsonl. Finished runs in --out are not repeated, so a stopped benchmark can be
continued. For --speed see `benchmarks.arms`.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.arms import Arm, Experiment, make_parser, measure_arms, parse_args, train_arm
from benchmarks.machine import describe_machine
from vaegan.data.dataset import TRAIN, VAL, is_dataset, open_dataset, write_dataset
from vaegan.evaluation.evaluate import evaluate
from vaegan.metrics_log import read_metrics

BASELINE = "none"
SCRATCH = "scratch-"
AUGMENT_OPTIONS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "fixed": {"augment": "color,translation"},
    "translation": {"augment": "translation"},
    "cutout": {"augment": "color,translation,cutout"},
    "adaptive": {"augment": "color,translation", "ada_target": 0.3},
}
ARMS = {name: Arm(gan=options) for name, options in AUGMENT_OPTIONS.items()}
ARMS |= {SCRATCH + name: Arm(vae_fraction=0.0, gan=options) for name, options in AUGMENT_OPTIONS.items()}
EVALUATION_METRICS = ("coverage_fine", "memorized_fraction", "frechet_mean", "kid_mean")
TRAINING_METRICS = ("ada_rv", "augment_p", "images_seen")


def write_subset(source: Path, out: Path, count: int) -> Path:
    """Write a dataset of `count` evenly spaced training images and all validation images of `source`."""
    if not is_dataset(out):
        dataset = open_dataset(source)
        train, val = dataset.load()
        if len(train) < count:
            raise SystemExit(f"{source} has {len(train)} training images: use --count {len(train)} or fewer")
        images = torch.cat([train[torch.arange(count) * len(train) // count], val])
        out.mkdir(parents=True, exist_ok=True)
        splits = bytes([TRAIN]) * count + bytes([VAL]) * len(val)
        pixels = (image.numpy().tobytes() for image in images)
        shape = (dataset.channels, dataset.size, dataset.size)
        write_dataset(out, pixels, splits, shape, {"sources": [source.name]})
    return out


def measure_arm(experiment: Experiment, arm: Arm, name: str, seed: int, n: int) -> dict[str, Any]:
    """Train and evaluate an arm with one seed."""
    gan_run, _, _ = train_arm(experiment, arm, name, seed)
    evaluation = evaluate(gan_run, experiment.data, n=n, device=experiment.device)
    last_metrics: dict[str, float] = {}
    for line in read_metrics(gan_run):
        last_metrics |= line
    return {
        "arm": name,
        "seed": seed,
        **{metric: evaluation.metrics["samples"][metric] for metric in EVALUATION_METRICS},
        "memorization_warning": any(text.startswith("memorization:") for text in evaluation.warnings),
        **{metric: last_metrics.get(metric) for metric in TRAINING_METRICS},
        "real": {metric: evaluation.metrics["real"][metric] for metric in EVALUATION_METRICS},
    }


def print_summary(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print means and ranges over the seeds, and each arm's coverage relative to no augmentation."""
    metrics = (*EVALUATION_METRICS, *TRAINING_METRICS)
    print(f"\n{'':20s}", *(f"{metric:>24s}" for metric in metrics), f"{'warnings':>8s}")
    for arm, arm_results in results.items():
        cells = []
        for metric in metrics:
            values = [result[metric] for result in arm_results if result[metric] is not None]
            text = f"{statistics.mean(values):.4g} ({min(values):.3g} to {max(values):.3g})" if values else "-"
            cells.append(f"{text:>24s}")
        num_warnings = sum(result["memorization_warning"] for result in arm_results)
        print(f"{arm:20s}", *cells, f"{num_warnings} of {len(arm_results)}")
    real = next(iter(results.values()))[0]["real"]
    print(f"{'real':20s}", *(f"{real[metric]:>24.4g}" for metric in EVALUATION_METRICS))
    for arm, arm_results in results.items():
        baseline = SCRATCH + BASELINE if arm.startswith(SCRATCH) else BASELINE
        if arm != baseline and baseline in results:
            pairs = zip(arm_results, results[baseline], strict=True)
            ratios = [ours["coverage_fine"] / max(base["coverage_fine"], 1e-9) for ours, base in pairs]
            ratio = statistics.median(ratios)
            print(f"{arm}: coverage {ratio:.2f} times that without augmentation (median of {len(ratios)} seeds)")


def main() -> None:
    parser = make_parser(__doc__ or "", 8.0, ARMS, [BASELINE, "fixed", "adaptive"])
    parser.add_argument("--count", type=int, default=1000, help="number of training images")
    args = parse_args(parser)
    print(f"{describe_machine(with_threads=True)}\n{args.count:,} training images")
    with tempfile.TemporaryDirectory() as temp_dir:
        out = args.out or Path(temp_dir)
        data = write_subset(args.data, out / f"set-{args.count}", args.count)
        print_summary(measure_arms(args, data, out, ARMS, measure_arm))


if __name__ == "__main__":
    main()
