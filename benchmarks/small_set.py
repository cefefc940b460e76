"""What does augmentation do for a small set? GANs on few training pictures, with it and without.

python -m benchmarks.small_set SET --minutes 8 --seeds 0 1 2 [--count 1000] [--arms none fixed adaptive] [--out FOLDER]
python -m benchmarks.small_set SET --scratch --images 120000

A set of `--count` of the training pictures is written, with all held-out ones. For every seed one VAE is trained on it
(a quarter of the minutes), from which the arms' GANs start, in turn; with --scratch there is none. All is measured by
`vaegan evaluate` on that set: coverage of held-out pictures, memorisation of the few training ones beside that of as
many real ones, whether the alarm of it rings, and the last of what `metrics.jsonl` says of the discriminator's
overfitting. Runs that are in FOLDER already are not run again: a stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import threaded
from vaegan.data.store import HELD_OUT, TRAIN, is_prepared, open_set, write_set
from vaegan.evaluation.evaluate import evaluate
from vaegan.run import Run, metrics_of
from vaegan.settings import EvaluateSettings
from vaegan.training.session import train_gan, train_vae

POLICY = "color,translation"
BASELINE = "none"
ARMS: dict[str, dict[str, Any]] = {
    BASELINE: {},
    "fixed": {"augment": POLICY},
    "cutout": {"augment": f"{POLICY},cutout"},
    "adaptive": {"augment": POLICY, "augment_target": 0.3},
}
VAE_SHARE = 0.25
SHOWN = ("coverage", "memorised", "frechet_together", "kid_together")


def subset(source: Path, place: Path, count: int) -> Path:
    """Write `count` of a set's training pictures, evenly chosen, and all of its held-out ones, as a set."""
    if not is_prepared(place):
        data = open_set(source)
        train, held_out = data.load()
        if len(train) < count:
            raise SystemExit(f"{source} has {len(train)} training pictures: give --count {len(train)} or fewer")
        chosen = torch.cat([train[torch.arange(count) * len(train) // count], held_out])
        place.mkdir(parents=True, exist_ok=True)
        splits = bytes([TRAIN]) * count + bytes([HELD_OUT]) * len(held_out)
        pictures = (picture.numpy().tobytes() for picture in chosen)
        write_set(place, pictures, splits, (data.channels, data.size, data.size), {"source": [source.name]})
    return place


def measured(data: Path, run: Path, n: int) -> dict[str, Any]:
    """What is said of a run's samples, beside real ones, and of its discriminator at the end."""
    found = evaluate(run, data, n=n)
    newest: dict[str, float] = {}
    for line in metrics_of(Run(run)):
        newest |= line
    return {
        **{name: found.columns["samples"][name] for name in SHOWN},
        "alarm": any(text.startswith("memorised") for text in found.warnings),
        **{name: newest.get(name) for name in ("overfitting", "augment_share", "images")},
        "real": {name: found.columns["real"][name] for name in SHOWN},
    }


def say(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print means and ranges over the seeds, and each arm's coverage beside the one without augmentation."""
    names = (*SHOWN, "overfitting", "augment_share", "images")
    print(f"\n{'':10s}", *(f"{name:>24s}" for name in names), f"{'alarms':>8s}")
    for arm, rows in found.items():
        cells = []
        for name in names:
            values = [row[name] for row in rows if row[name] is not None]
            many = f"{statistics.mean(values):.4g} ({min(values):.3g} to {max(values):.3g})" if values else "-"
            cells.append(f"{many:>24s}")
        print(f"{arm:10s}", *cells, f"{sum(row['alarm'] for row in rows)} of {len(rows)}")
    real = next(iter(found.values()))[0]["real"]
    print(f"{'real':10s}", *(f"{real[name]:>24.4g}" for name in SHOWN))
    for arm, rows in found.items():
        if arm != BASELINE and BASELINE in found:
            pairs = zip(rows, found[BASELINE], strict=True)
            ratios = [mine["coverage"] / max(base["coverage"], 1e-9) for mine, base in pairs]
            print(f"{arm}: coverage {statistics.median(ratios):.2f} times that without (median of {len(ratios)} seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--count", type=int, default=1000)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=8.0)
    length.add_argument("--images", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[BASELINE, "fixed", "adaptive"])
    parser.add_argument("--scratch", action="store_true", help="GANs from scratch, all of the minutes theirs")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path)
    parser.add_argument("-n", type=int, default=EvaluateSettings().n)
    options = parser.parse_args()
    print(threaded())
    asked = f"{options.images:,} pictures" if options.images else f"{options.minutes:g} minutes"
    start = "from scratch" if options.scratch else "the VAE's included"
    print(f"{options.data.name}, {options.count} training pictures, preset {options.preset}, {asked}, {start}")

    def part(share: float) -> dict[str, Any]:
        return {"images": int(share * options.images)} if options.images else {"minutes": share * options.minutes}

    name_of, start_share = ("scratch", 0.0) if options.scratch else ("gan", VAE_SHARE)
    with tempfile.TemporaryDirectory() as place:
        out = options.out or Path(place)
        data = subset(options.data, out / f"set-{options.count}", options.count)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.arms}
        for seed in options.seeds:
            common = {"seed": seed, "preset": options.preset}
            vae = train_vae(data, out / f"vae-{seed}", **common, **part(start_share)) if start_share else None
            for name in options.arms:
                gan = out / f"{name_of}-{name}-{seed}"
                train_gan(data, gan, from_vae=vae, **common, **part(1 - start_share), **ARMS[name])
                row = {"arm": name, "seed": seed, **measured(data, gan, options.n)}
                print(json.dumps(row), flush=True)
                found[name].append(row)
        say(found)


if __name__ == "__main__":
    main()
