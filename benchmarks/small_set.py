"""What does augmentation do for a small set? GANs on few training pictures, with it and without.

python -m benchmarks.small_set SET --minutes 8 --seeds 0 1 2 [--count 1000] [--arms none fixed adaptive] [--out FOLDER]
python -m benchmarks.small_set SET --arms scratch-none scratch-adaptive --speed 230 245

A set of `--count` of the training pictures is written, with all held-out ones. For every seed one VAE is trained on it
(a quarter of the minutes), from which the arms' GANs start, in turn; those that are called scratch-... start from
nothing. All is measured by `vaegan evaluate` on that set: coverage of held-out pictures, memorisation of the few
training ones beside that of as many real ones, whether the alarm of it rings, and the last of what `metrics.jsonl`
says of the discriminator's overfitting. Runs that are in FOLDER already are not run again: a stopped benchmark goes
on. --speed counts pictures instead of seconds: see `benchmarks.arms`.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.arms import Arm, Plan, answered, asking, trained, work
from benchmarks.machine import threaded
from vaegan.data.dataset import TRAIN, VAL, is_dataset, open_dataset, write_dataset
from vaegan.evaluation.evaluate import evaluate
from vaegan.metrics_log import read_metrics

POLICY = "color,translation"
BASELINE = "none"
WAYS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "fixed": {"augment": POLICY},
    "translation": {"augment": "translation"},
    "cutout": {"augment": f"{POLICY},cutout"},
    "adaptive": {"augment": POLICY, "ada_target": 0.3},
}
SCRATCH = "scratch-"
ARMS = {name: Arm(gan=way) for name, way in WAYS.items()}
ARMS |= {SCRATCH + name: Arm(share=0.0, gan=way) for name, way in WAYS.items()}
SHOWN = ("coverage", "memorized_fraction", "frechet_mean", "kid_mean")


def subset(source: Path, place: Path, count: int) -> Path:
    """Write `count` of a set's training pictures, evenly chosen, and all of its held-out ones, as a set."""
    if not is_dataset(place):
        data = open_dataset(source)
        train, held_out = data.load()
        if len(train) < count:
            raise SystemExit(f"{source} has {len(train)} training pictures: give --count {len(train)} or fewer")
        chosen = torch.cat([train[torch.arange(count) * len(train) // count], held_out])
        place.mkdir(parents=True, exist_ok=True)
        splits = bytes([TRAIN]) * count + bytes([VAL]) * len(held_out)
        pictures = (picture.numpy().tobytes() for picture in chosen)
        write_dataset(place, pictures, splits, (data.channels, data.size, data.size), {"sources": [source.name]})
    return place


def measured(plan: Plan, arm: Arm, name: str, seed: int, n: int) -> dict[str, Any]:
    """Train an arm with a seed: what is said of its samples, beside real ones, and of its discriminator at the end."""
    run, _, _ = trained(plan, arm, name, seed)
    found = evaluate(run, plan.data, n=n, device=plan.device)
    newest: dict[str, float] = {}
    for line in read_metrics(run):
        newest |= line
    return {
        "arm": name,
        "seed": seed,
        **{measure: found.metrics["samples"][measure] for measure in SHOWN},
        "alarm": any(text.startswith("memorized_fraction") for text in found.warnings),
        **{number: newest.get(number) for number in ("ada_rv", "augment_p", "images_seen")},
        "real": {measure: found.metrics["real"][measure] for measure in SHOWN},
    }


def say(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print means and ranges over the seeds, and each arm's coverage beside the one without augmentation."""
    names = (*SHOWN, "ada_rv", "augment_p", "images_seen")
    print(f"\n{'':20s}", *(f"{name:>24s}" for name in names), f"{'alarms':>8s}")
    for arm, rows in found.items():
        cells = []
        for name in names:
            values = [row[name] for row in rows if row[name] is not None]
            many = f"{statistics.mean(values):.4g} ({min(values):.3g} to {max(values):.3g})" if values else "-"
            cells.append(f"{many:>24s}")
        print(f"{arm:20s}", *cells, f"{sum(row['alarm'] for row in rows)} of {len(rows)}")
    real = next(iter(found.values()))[0]["real"]
    print(f"{'real':20s}", *(f"{real[name]:>24.4g}" for name in SHOWN))
    for arm, rows in found.items():
        without = SCRATCH * arm.startswith(SCRATCH) + BASELINE
        if arm != without and without in found:
            pairs = zip(rows, found[without], strict=True)
            ratios = [mine["coverage"] / max(base["coverage"], 1e-9) for mine, base in pairs]
            print(f"{arm}: coverage {statistics.median(ratios):.2f} times that without (median of {len(ratios)} seeds)")


def main() -> None:
    parser = asking(__doc__ or "", 8.0, ARMS, [BASELINE, "fixed", "adaptive"])
    parser.add_argument("--count", type=int, default=1000)
    print(threaded())
    options = answered(parser)
    print(f"{options.count:,} training pictures")
    with tempfile.TemporaryDirectory() as place:
        out = options.out or Path(place)
        data = subset(options.data, out / f"set-{options.count}", options.count)
        say(work(options, data, out, ARMS, measured))


if __name__ == "__main__":
    main()
