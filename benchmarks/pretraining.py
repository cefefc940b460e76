"""Does a VAE's start pay? GANs from a VAE against one from scratch, in equal total seconds, the VAE's included.

python -m benchmarks.pretraining SET --minutes 12 --seeds 0 1 2 [--arms scratch from-vae ...] [--out FOLDER]
python -m benchmarks.pretraining SET --minutes 12 --speed 230 245 --seeds 0 1 2 --device cuda --at-once 15

For every seed the arms run in turn. Those that start from a VAE of the same options share its run, and each pays for
it: `--minutes` counts the VAE's minutes and the GAN's. All is measured by `vaegan evaluate`, with 2,000 samples; the
last row is real against real. Runs that are in FOLDER already are not run again: a stopped benchmark goes on.

--speed counts pictures instead of seconds: see `benchmarks.arms`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm, Plan, answered, asking, trained, work
from benchmarks.machine import threaded
from vaegan.evaluation.evaluate import evaluate
from vaegan.metrics_log import read_metrics

Look = tuple[float, float, float]
SHOWN = ("frechet_mean", "frechet_fine", "frechet_coarse", "frechet_learned", "kid_mean", "coverage")
DISTANCES = tuple(name for name in SHOWN if name.startswith("frechet"))
BASELINE = "scratch"
COLORS = ("#3465a4", "#d9822b", "#5a9e5a", "#9b59b6", "#c0392b", "#16a3a3", "#8a6d3b", "#555555")


ARMS = {
    BASELINE: Arm(share=0.0),
    "from-vae": Arm(),
    "from-vae-60": Arm(minutes=0.6),
    "no-anchor": Arm(gan={"recon_weight": 0.0}),
    "anchor-4": Arm(gan={"recon_weight": 4.0}),
    "anchor-8": Arm(gan={"recon_weight": 8.0}),
    "anchored-a-quarter": Arm(gan={"recon_fraction": 0.25}),
    "gamma-0.1": Arm(gan={"gamma": 0.1}),
    "gamma-0.3": Arm(gan={"gamma": 0.3}),
    "gamma-3": Arm(gan={"gamma": 3.0}),
    "no-penalty": Arm(gan={"gamma": 0.0}),
    "no-minibatch-std": Arm(gan={"minibatch_std": False}),
    "scratch-minibatch-std": Arm(share=0.0, gan={"minibatch_std": True}),
    "muon": Arm(gan={"optimizer": "muon"}),
    "adam-vae": Arm(vae={"optimizer": "adam"}),
    "tighter-vae": Arm(vae={"beta": 1.0}),
    "few-latents": Arm(vae={"latent_dim": 64}),
    "cold-discriminator": Arm(gan={"init_d_from_encoder": False}),
    "no-head-start": Arm(gan={"d_warmup_steps": 0}),
    "short-vae": Arm(share=0.07),
    "long-vae": Arm(share=0.4),
    "tight-vae": Arm(vae={"likelihood": "gaussian"}),
    "non-saturating": Arm(gan={"loss": "non-saturating"}),
    "diffaugment": Arm(gan={"augment": "color,translation"}),
    "lr-g-8e-4": Arm(gan={"lr_g": 8e-4}),
    "lr-d-1e-3": Arm(gan={"lr_d": 1e-3}),
    "both-rates-doubled": Arm(gan={"lr_g": 8e-4, "lr_d": 1e-3}),
    "ema-10k": Arm(gan={"ema_halflife": 10_000}),
    "decay-40k": Arm(gan={"lr_decay_start": 40_000}),
}


def looks(plan: Plan, run: Path, vae: Path | None) -> list[Look]:
    """Every look at a GAN's samples: minutes until then, the VAE's included, KID and coverage."""

    def minutes(kind: str, line: dict[str, float]) -> float:
        seconds = line["train_seconds"] if plan.speed is None else line["images_seen"] / plan.speed[kind == "gan"]
        return seconds / 60

    before = 0.0 if vae is None else max(minutes("vae", line) for line in read_metrics(vae) if "images_seen" in line)
    lines = [line for line in read_metrics(run) if {"kid", "coverage"} <= set(line)]
    return [(before + minutes("gan", line), line["kid"], line["coverage"]) for line in lines]


def kept(coverages: Iterable[float]) -> float | None:
    """The least that a look found of the best coverage until then, or None without looks."""
    best, least = 0.0, None
    for coverage in coverages:
        best = max(best, coverage)
        least = min(1.0 if least is None else least, coverage / best if best else 1.0)
    return least


def measured(plan: Plan, arm: Arm, name: str, seed: int, n: int) -> dict[str, Any]:
    """Train an arm with a seed, and say what `evaluate` finds."""
    run, vae, seconds = trained(plan, arm, name, seed)
    columns = evaluate(run, plan.data, n=n, device=plan.device).metrics
    row: dict[str, Any] = {"arm": name, "seed": seed, "seconds": round(seconds, 1), "looks": looks(plan, run, vae)}
    row |= {"samples": dict(columns["samples"]), "real": dict(columns["real"])}
    return row if vae is None else {**row, "vae": dict(columns["VAE"])}


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
        shares = [kept(coverage for _, _, coverage in row["looks"]) for row in rows]
        known = [share for share in shares if share is not None]
        if known:
            print(f"{arm}: coverage never under {min(known):.0%} of its best until then, {len(known)} seeds")
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


def draw(sets: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """Plot KID and coverage over minutes, a column per dataset, a color per arm, a line per seed; PNG or SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(sets), 6.4), layout="constrained")
    axes = figure.subplots(2, len(sets), squeeze=False, sharex="col")
    for (kid_axis, coverage_axis), (title, arms) in zip(axes.T, sets.items(), strict=True):
        for index, (arm, rows) in enumerate(arms.items()):
            color = COLORS[index % len(COLORS)]
            for seed_index, evaluations in enumerate(row["looks"] for row in rows if row["looks"]):
                minutes, kids, coverages = zip(*evaluations, strict=True)
                label = None if seed_index else arm
                kid_axis.plot(minutes, kids, color=color, linewidth=1.2, label=label)
                coverage_axis.plot(minutes, coverages, color=color, linewidth=1.2)
        kid_axis.set(title=title, yscale="log", ylabel="KID")
        coverage_axis.set(ylim=(0, 1), xlabel="minutes, including the VAE's", ylabel="coverage")
        kid_axis.legend()
        kid_axis.grid(alpha=0.3)
        coverage_axis.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = asking(__doc__ or "", 12.0, ARMS, [BASELINE, "from-vae"])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="curves over the minutes; needs matplotlib")
    print(threaded())
    options = answered(parser)
    with tempfile.TemporaryDirectory() as place:
        found = work(options, options.data, options.out or Path(place), ARMS, measured)
        say(found)
        if options.plot:
            draw({options.data.name: found}, options.plot)


if __name__ == "__main__":
    main()
