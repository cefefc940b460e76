"""Compare GANs that start from a VAE with GANs from scratch, in equal total time, including the VAE's.

python -m benchmarks.pretraining DATA --minutes 12 --seeds 0 1 2 [--arms scratch from-vae ...] [--out FOLDER]
python -m benchmarks.pretraining DATA --minutes 12 --speed 230 245 --seeds 0 1 2 --device cuda --parallel 15

Arms with the same VAE options share the VAE's run, and its time counts for each of them. Results come from `vaegan
evaluate`; the last row compares real images with real images. Runs in FOLDER that are finished are not repeated, so a
stopped benchmark can be continued. For --speed see `benchmarks.arms`.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm, Experiment, make_parser, measure_arms, parse_args, train_arm
from benchmarks.machine import describe_machine
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.evaluate import evaluate
from vaegan.metrics.prdc import MIN_IMAGES_FOR_NEIGHBORS
from vaegan.metrics_log import read_metrics

Result = dict[str, Any]
SHOWN_METRICS = ("frechet_mean", "frechet_fine", "frechet_coarse", "frechet_learned", "kid_mean", "coverage")
DISTANCES = tuple(name for name in SHOWN_METRICS if name.startswith("frechet"))
BASELINE = "scratch"
COLORS = ("#3465a4", "#d9822b", "#5a9e5a", "#9b59b6", "#c0392b", "#16a3a3", "#8a6d3b", "#555555")
ARMS = {
    BASELINE: Arm(vae_fraction=0.0),
    "from-vae": Arm(),
    "time-60": Arm(time_scale=0.6),
    "recon-weight-0": Arm(gan={"recon_weight": 0.0}),
    "recon-weight-4": Arm(gan={"recon_weight": 4.0}),
    "recon-weight-8": Arm(gan={"recon_weight": 8.0}),
    "recon-fraction-0.25": Arm(gan={"recon_fraction": 0.25}),
    "d-recon-weight-0": Arm(gan={"d_recon_weight": 0.0}),
    "patch-weight-0": Arm(gan={"patch_weight": 0.0}),
    "gamma-0": Arm(gan={"gamma": 0.0}),
    "gamma-0.1": Arm(gan={"gamma": 0.1}),
    "gamma-0.3": Arm(gan={"gamma": 0.3}),
    "gamma-3": Arm(gan={"gamma": 3.0}),
    "no-minibatch-std": Arm(gan={"minibatch_std": False}),
    "scratch-minibatch-std": Arm(vae_fraction=0.0, gan={"minibatch_std": True}),
    "muon": Arm(gan={"optimizer": "muon"}),
    "vae-adam": Arm(vae={"optimizer": "adam"}),
    "vae-beta-1": Arm(vae={"beta": 1.0}),
    "vae-gaussian": Arm(vae={"likelihood": "gaussian"}),
    "latents-64": Arm(vae={"latent_dim": 64}),
    "vae-time-7": Arm(vae_fraction=0.07),
    "vae-time-40": Arm(vae_fraction=0.4),
    "no-init-d-from-encoder": Arm(gan={"init_d_from_encoder": False}),
    "no-d-warmup": Arm(gan={"d_warmup_steps": 0}),
    "non-saturating": Arm(gan={"loss": "non-saturating"}),
    "augment": Arm(gan={"augment": "color,translation"}),
    "lr-g-8e-4": Arm(gan={"lr_g": 8e-4}),
    "lr-d-1e-3": Arm(gan={"lr_d": 1e-3}),
    "lr-g-8e-4-lr-d-1e-3": Arm(gan={"lr_g": 8e-4, "lr_d": 1e-3}),
    "ema-10k": Arm(gan={"ema_halflife": 10_000}),
    "decay-40k": Arm(gan={"lr_decay_start": 40_000}),
}


def read_evaluations(experiment: Experiment, gan_run: Path, vae_run: Path | None) -> list[tuple[float, float, float]]:
    """Return (minutes, KID, coverage) of every periodic evaluation; the minutes include the VAE's training."""

    def minutes(line: dict[str, float], kind: str) -> float:
        if experiment.speed is None:
            return line["train_seconds"] / 60
        return line["images_seen"] / experiment.speed[kind == "gan"] / 60

    vae_minutes = 0.0
    if vae_run is not None:
        vae_minutes = max(minutes(line, "vae") for line in read_metrics(vae_run) if "images_seen" in line)
    lines = [line for line in read_metrics(gan_run) if {"kid", "coverage"} <= set(line)]
    return [(vae_minutes + minutes(line, "gan"), line["kid"], line["coverage"]) for line in lines]


def min_retained_coverage(coverages: Iterable[float]) -> float | None:
    """Return the lowest ratio of a coverage to the best one until then; None without evaluations."""
    best, lowest = 0.0, None
    for coverage in coverages:
        best = max(best, coverage)
        lowest = min(1.0 if lowest is None else lowest, coverage / best if best else 1.0)
    return lowest


def measure_arm(experiment: Experiment, arm: Arm, name: str, seed: int, n: int) -> Result:
    """Train and evaluate an arm with one seed."""
    gan_run, vae_run, seconds = train_arm(experiment, arm, name, seed)
    metrics = evaluate(gan_run, experiment.data, n=n, device=experiment.device).metrics
    result: Result = {
        "arm": name,
        "seed": seed,
        "seconds": round(seconds, 1),
        "evaluations": read_evaluations(experiment, gan_run, vae_run),
        "samples": dict(metrics["samples"]),
        "real": dict(metrics["real"]),
    }
    return result if vae_run is None else {**result, "vae": dict(metrics["VAE"])}


def print_summary(results: dict[str, list[Result]]) -> None:
    """Print means and ranges over the seeds, and compare each arm with its VAE and with the baseline."""
    print(f"\n{'':22s}{'seconds':>9s}", *(f"{name:>24s}" for name in SHOWN_METRICS))
    for arm, arm_results in results.items():
        cells = []
        for metric in SHOWN_METRICS:
            values = [result["samples"][metric] for result in arm_results]
            cells.append(f"{statistics.mean(values):.4f} ({min(values):.3f}-{max(values):.3f})")
        seconds = statistics.mean(result["seconds"] for result in arm_results)
        print(f"{arm:22s}{seconds:9.0f}", *(f"{cell:>24s}" for cell in cells))
    real = next(iter(results.values()))[0]["real"]
    print(f"{'real against real':31s}", *(f"{real[name]:>24.4f}" for name in SHOWN_METRICS))
    for arm, arm_results in results.items():
        ratios = [min_retained_coverage(coverage for *_, coverage in result["evaluations"]) for result in arm_results]
        known = [ratio for ratio in ratios if ratio is not None]
        if known:
            print(f"{arm}: coverage stays above {min(known):.0%} of its previous best, {len(known)} seeds")
        if "vae" in arm_results[0]:
            medians = [
                statistics.median(result["vae"][name] / result["samples"][name] for result in arm_results)
                for name in DISTANCES
            ]
            print(f"{arm}: distances of the VAE's samples over the GAN's:", *(f"{ratio:.2f}" for ratio in medians))
    for arm, arm_results in results.items():
        if arm != BASELINE and BASELINE in results:
            print_comparison(arm, arm_results, results[BASELINE], real)


def print_comparison(arm: str, arm_results: list[Result], baseline: list[Result], real: dict[str, float]) -> None:
    """Print by how much an arm is closer to real images than the baseline."""
    pairs = [(ours["samples"], base["samples"]) for ours, base in zip(arm_results, baseline, strict=False)]
    print(f"{arm} against {BASELINE}, medians over {len(pairs)} seeds:")
    for name in DISTANCES:
        floor = real[name]
        lower = statistics.median(1 - ours[name] / base[name] for ours, base in pairs)
        excess = statistics.median(1 - (ours[name] - floor) / (base[name] - floor) for ours, base in pairs)
        print(f"  {name}: {lower:.0%} lower; the excess over real against real is {excess:.0%} smaller")
    gap = statistics.median(
        1 - (real["coverage"] - ours["coverage"]) / (real["coverage"] - base["coverage"]) for ours, base in pairs
    )
    print(f"  gap between the coverage and that of real images: {gap:.0%} smaller")


def plot_evaluations(datasets: dict[str, dict[str, list[Result]]], path: Path) -> None:
    """Plot KID and coverage over minutes, a column per dataset, a color per arm, a line per seed; PNG or SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(datasets), 6.4), layout="constrained")
    axes = figure.subplots(2, len(datasets), squeeze=False, sharex="col")
    for (kid_axis, coverage_axis), (title, results) in zip(axes.T, datasets.items(), strict=True):
        for arm_index, (arm, arm_results) in enumerate(results.items()):
            color = COLORS[arm_index % len(COLORS)]
            series = [result["evaluations"] for result in arm_results if result["evaluations"]]
            for seed_index, evaluations in enumerate(series):
                minutes, kids, coverages = zip(*evaluations, strict=True)
                kid_axis.plot(minutes, kids, color=color, linewidth=1.2, label=None if seed_index else arm)
                coverage_axis.plot(minutes, coverages, color=color, linewidth=1.2)
        kid_axis.set(title=title, yscale="log", ylabel="KID")
        coverage_axis.set(ylim=(0, 1), xlabel="minutes, including the VAE's", ylabel="coverage")
        kid_axis.legend()
        kid_axis.grid(alpha=0.3)
        coverage_axis.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = make_parser(__doc__ or "", 12.0, ARMS, [BASELINE, "from-vae"])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="plot KID and coverage over time (needs matplotlib)")
    args = parse_args(parser)
    counts = open_dataset(args.data).counts
    if counts["train"] + counts["val"] < MIN_IMAGES_FOR_NEIGHBORS:
        parser.error(f"{args.data} has too few images for coverage: at least {MIN_IMAGES_FOR_NEIGHBORS} are needed")
    print(describe_machine(with_threads=True))
    with tempfile.TemporaryDirectory() as temp_dir:
        results = measure_arms(args, args.data, args.out or Path(temp_dir), ARMS, measure_arm)
        print_summary(results)
        if args.plot:
            plot_evaluations({args.data.name: results}, args.plot)


if __name__ == "__main__":
    main()
