"""Compare GANs of few images with and without a trained run to start from, at equal numbers of images seen.

python -m benchmarks.fine_tuning DATA --start runs/gan --counts 50 100 300 1000 --images 20000 --seeds 0 1 2
python -m benchmarks.fine_tuning DATA --start runs/gan --counts 300 --arms start nothing nothing-x4 --images 12500

For every count a dataset of so many training images and all validation images of DATA is written. An arm "start" trains
a GAN with --from-gan for --images. An arm "nothing" trains a VAE for a quarter of the images and a GAN from it for the
rest; "nothing-x4" sees four times as many images. "plain" starts from the run as "start" does, but without the options
that the number of images chooses. Results come from `vaegan evaluate` on that dataset: KID, Frechet distance, and the
memorized fraction, beside those of real images. Finished runs in --out are not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.small_dataset import write_subset
from vaegan.config.settings import GANSettings
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.evaluate import evaluate
from vaegan.evaluation.feature_spaces import load_or_train_features
from vaegan.events import ignore_event
from vaegan.metrics_log import read_metrics, training_seconds
from vaegan.training.train import train_gan, train_vae

Result = dict[str, Any]
START_ARMS = ("start", "plain")
LENGTH_FACTORS = {"nothing": 1, "nothing-x4": 4}
VAE_FRACTION = 0.25
METRICS = ("kid_mean", "frechet_mean", "memorized_fraction")
PLAIN_NAMES = ("augment", "ada_target", "stop_when", "lr_g", "lr_d", "freeze_d")
"""Options that the number of images may choose; the arm "plain" has their usual defaults."""


def train_arm(arm: str, data: Path, out: Path, seed: int, args: argparse.Namespace) -> Path:
    """Train an arm with one seed; return the run of its GAN."""
    run, common = out / f"{arm}-{seed}", {"seed": seed, "on_event": ignore_event, "device": args.device}
    evaluate_every = {"evaluate_every": max(1, round(args.images / 8 / GANSettings().batch_size))}
    if arm in START_ARMS:
        defaults = {name: getattr(GANSettings(), name) for name in PLAIN_NAMES} if arm == "plain" else {}
        defaults = {name: value for name, value in defaults.items() if value is not None}
        options = {"images": args.images, **evaluate_every, **defaults}
        train_gan(data, run, from_gan=args.start, **common, **options)
        return run
    images = args.images * LENGTH_FACTORS[arm]
    sizes = {"preset": args.preset, "latent_dim": args.latent_dim}
    vae = train_vae(
        data, out / f"vae-{arm}-{seed}", images=round(VAE_FRACTION * images), evaluate_every=0, **common, **sizes
    )
    train_gan(data, run, from_vae=vae, images=round((1 - VAE_FRACTION) * images), **common, **evaluate_every)
    return run


def measure_arm(arm: str, data: Path, out: Path, seed: int, args: argparse.Namespace) -> Result:
    """Train and evaluate an arm with one seed."""
    run = train_arm(arm, data, out, seed, args)
    evaluation = evaluate(run, data, n=args.n, device=args.device, on_event=ignore_event)
    curve = [(line["images_seen"], line["kid"]) for line in read_metrics(run) if "kid" in line]
    return {
        "arm": arm,
        "seed": seed,
        "count": open_dataset(data).counts["train"],
        **{metric: evaluation.metrics["samples"].get(metric) for metric in METRICS},
        "best_kid": min((kid for images_seen, kid in curve if images_seen), default=None),
        "images_seen": curve[-1][0] if curve else None,
        "seconds": round(training_seconds(run)),
        "real": {metric: evaluation.metrics["real"].get(metric) for metric in METRICS},
        "curve": curve,
    }


def print_summary(results: list[Result]) -> None:
    """Print the mean and range over the seeds for each count and arm."""
    metrics = (*METRICS, "best_kid", "images_seen")
    print(f"\n{'images':>7s} {'arm':12s}", *(f"{metric:>26s}" for metric in metrics))
    groups: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["count"], result["arm"]), []).append(result)
    for (count, arm), members in groups.items():
        cells = []
        for metric in metrics:
            values = [member[metric] for member in members if member[metric] is not None]
            text = f"{statistics.mean(values):.4g} ({min(values):.3g} to {max(values):.3g})" if values else "-"
            cells.append(f"{text:>26s}")
        print(f"{count:7d} {arm:12s}", *cells)
        real = members[0]["real"]
    print(f"{'real':20s}", *(f"{real[metric]:>26.4g}" if real[metric] is not None else "-" for metric in METRICS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared dataset")
    parser.add_argument("--start", type=Path, required=True, metavar="RUN", help="GAN to start from")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 100, 300, 1000], help="numbers of images")
    parser.add_argument("--arms", nargs="+", choices=[*START_ARMS, *LENGTH_FACTORS], default=["start", "nothing"])
    parser.add_argument("--images", type=int, default=20_000, help="images seen by an arm, its VAE's included")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="small", help="of the arms without a start")
    parser.add_argument("--latent-dim", type=int, default=64, help="of the arms without a start")
    parser.add_argument("-n", type=int, default=1024, help="number of samples to evaluate")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the runs in FOLDER")
    args = parser.parse_args()
    print(f"{describe_machine(with_threads=True)}\n{args.data.name}, {args.images:,} images seen by an arm")
    results = []
    with tempfile.TemporaryDirectory() as temp_dir:
        for count in args.counts:
            out = (args.out or Path(temp_dir)) / str(count)
            data = write_subset(args.data, out / f"set-{count}", count)
            dataset = open_dataset(data)
            load_or_train_features(dataset, dataset.load()[0], ignore_event)
            for seed in args.seeds:
                for arm in args.arms:
                    results.append(measure_arm(arm, data, out, seed, args))
                    print(json.dumps(results[-1]), flush=True)
        print_summary(results)


if __name__ == "__main__":
    main()
