"""Does a VAE's start pay? GANs from a VAE against one from scratch, in equal total seconds, the VAE's included.

python -m benchmarks.pretraining SET --minutes 12 --seeds 0 1 2 [--arms scratch from-vae ...] [--out FOLDER]

For every seed the arms run in turn. Those that start from a VAE of the same options share its run, and each pays for
it: `--minutes` counts the VAE's minutes and the GAN's. All is measured by `vaegan evaluate`, with 2,000 samples; the
last column is real against real. Runs that are in FOLDER already are not run again: a stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import threaded
from vaegan.evaluation.evaluate import evaluate
from vaegan.run import Run, seconds_of
from vaegan.settings import EvaluateSettings
from vaegan.training.session import train_gan, train_vae

SHOWN = ("frechet_together", "frechet_fine", "frechet_coarse", "frechet_set", "kid_together", "coverage")
DISTANCES = tuple(name for name in SHOWN if name.startswith("frechet"))
BASELINE = "scratch"


@dataclass(frozen=True)
class Arm:
    """One way to spend the minutes. `share`: of them, for the VAE; `vae` and `gan`: options of the two."""

    share: float = 0.25
    vae: dict[str, Any] = field(default_factory=dict)
    gan: dict[str, Any] = field(default_factory=dict)


ARMS = {
    BASELINE: Arm(share=0.0),
    "from-vae": Arm(),
    "no-anchor": Arm(gan={"anchor": 0.0}),
    "anchor-4": Arm(gan={"anchor": 4.0}),
    "gamma-1": Arm(gan={"gamma": 1.0}),
    "muon": Arm(gan={"optimizer": "muon"}),
    "adam-vae": Arm(vae={"optimizer": "adam"}),
    "tighter-vae": Arm(vae={"beta": 1.0}),
    "few-latents": Arm(vae={"latent_dim": 64}),
    "cold-discriminator": Arm(gan={"warm_discriminator": False}),
    "no-head-start": Arm(gan={"head_start": 0}),
    "short-vae": Arm(share=0.07),
    "long-vae": Arm(share=0.4),
    "tight-vae": Arm(vae={"likelihood": "gaussian"}),
    "no-penalty": Arm(gan={"gamma": 0.0}),
    "non-saturating": Arm(gan={"loss": "non-saturating"}),
    "diffaugment": Arm(gan={"augment": "color,translation"}),
}


def trained(
    data: Path, out: Path, arm: Arm, name: str, seed: int, minutes: float, preset: str
) -> tuple[Path, Path | None, float]:
    """The GAN of an arm, its VAE, and the seconds that both took."""
    common, spent, vae = {"seed": seed, "preset": preset, "evaluate_every": 0}, 0.0, None
    if arm.share:
        words = "-".join(f"{key}-{value}" for key, value in sorted(arm.vae.items()))
        vae = out / f"vae-{arm.share:g}-{words or 'default'}-{seed}"
        train_vae(data, vae, minutes=arm.share * minutes, **common, **arm.vae)
        spent = seconds_of(Run(vae))
    gan = out / f"gan-{name}-{seed}"
    train_gan(data, gan, from_vae=vae, minutes=(1 - arm.share) * minutes, **common, **arm.gan)
    return gan, vae, spent + seconds_of(Run(gan))


def say(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print means and ranges over the seeds, and each arm beside the baseline."""
    print(f"\n{'':20s}{'seconds':>9s}", *(f"{name:>24s}" for name in SHOWN))
    for arm, rows in found.items():
        cells = []
        for measure in SHOWN:
            values = [row["samples"][measure] for row in rows]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.3f}-{max(values):.3f})")
        seconds = statistics.mean(row["seconds"] for row in rows)
        print(f"{arm:20s}{seconds:9.0f}", *(f"{cell:>24s}" for cell in cells))
    real = next(iter(found.values()))[0]["real"]
    print(f"{'real against real':29s}", *(f"{real[name]:>24.4f}" for name in SHOWN))
    for arm, rows in found.items():
        if "vae" in rows[0]:
            ratios = [statistics.median(row["vae"][name] / row["samples"][name] for row in rows) for name in DISTANCES]
            print(f"{arm}: its VAE's samples are so many times as far:", *(f"{ratio:.2f}" for ratio in ratios))
    for arm, rows in found.items():
        if arm == BASELINE or BASELINE not in found:
            continue
        pairs = list(zip(rows, found[BASELINE], strict=False))
        print(f"{arm} beside {BASELINE}, medians over {len(pairs)} seeds:")
        for measure in DISTANCES:
            floor = real[measure]
            values = [(mine["samples"][measure], base["samples"][measure]) for mine, base in pairs]
            lower = statistics.median(1 - mine / base for mine, base in values)
            above = statistics.median(1 - (mine - floor) / (base - floor) for mine, base in values)
            print(f"  {measure}: {lower:.0%} lower; what is above real against real {above:.0%} smaller")
        gaps = [
            1 - (real["coverage"] - mine["samples"]["coverage"]) / (real["coverage"] - base["samples"]["coverage"])
            for mine, base in pairs
        ]
        print(f"  gap of coverage to real against real: {statistics.median(gaps):.0%} smaller")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[BASELINE, "from-vae"])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path)
    parser.add_argument("-n", type=int, default=EvaluateSettings().n)
    options = parser.parse_args()
    print(threaded())
    print(f"{options.data.name}, preset {options.preset}, {options.minutes:g} minutes in all")
    with tempfile.TemporaryDirectory() as place:
        out = options.out or Path(place)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.arms}
        for seed in options.seeds:
            for name in options.arms:
                arm = ARMS[name]
                run, vae, seconds = trained(options.data, out, arm, name, seed, options.minutes, options.preset)
                columns = evaluate(run, options.data, n=options.n).columns
                if vae is not None:
                    columns = {**columns, "vae": evaluate(vae, options.data, n=options.n).columns["samples"]}
                row = {
                    "arm": name,
                    "seed": seed,
                    "seconds": round(seconds, 1),
                    **{k: dict(v) for k, v in columns.items()},
                }
                print(json.dumps(row), flush=True)
                found[name].append(row)
        say(found)


if __name__ == "__main__":
    main()
