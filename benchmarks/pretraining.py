"""Does a VAE's start pay? GANs from a VAE against one from scratch, in equal total seconds, the VAE's included.

python -m benchmarks.pretraining SET --minutes 12 --seeds 0 1 2 [--arms scratch from-vae ...] [--out FOLDER]
python -m benchmarks.pretraining SET --minutes 12 --speed 230 245 --seeds 0 1 2 --device cuda --at-once 15

For every seed the arms run in turn. Those that start from a VAE of the same options share its run, and each pays for
it: `--minutes` counts the VAE's minutes and the GAN's. All is measured by `vaegan evaluate`, with 2,000 samples; the
last row is real against real. Runs that are in FOLDER already are not run again: a stopped benchmark goes on.

With --speed the clock decides nothing: every run sees as many pictures as a machine that trains VAEs and GANs at those
pictures a second sees in its minutes. So a GPU compares what a laptop's seconds are worth, many seeds and arms at once
where it has room (--at-once; set OMP_NUM_THREADS=1 then).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import threaded
from vaegan.data.store import open_set
from vaegan.evaluation.evaluate import evaluate
from vaegan.evaluation.plots import COLOURS
from vaegan.evaluation.spaces import features_of_set
from vaegan.events import ignore
from vaegan.run import Run, metrics_of, seconds_of
from vaegan.settings import EvaluateSettings
from vaegan.training.session import train_gan, train_vae

Look = tuple[float, float, float]
SHOWN = ("frechet_together", "frechet_fine", "frechet_coarse", "frechet_set", "kid_together", "coverage")
DISTANCES = tuple(name for name in SHOWN if name.startswith("frechet"))
BASELINE = "scratch"


@dataclass(frozen=True)
class Arm:
    """One way to spend the minutes. `share`: of them, for the VAE; `vae` and `gan`: options of the two."""

    share: float = 0.25
    vae: dict[str, Any] = field(default_factory=dict)
    gan: dict[str, Any] = field(default_factory=dict)
    minutes: float = 1.0
    """Of what the others have."""


ARMS = {
    BASELINE: Arm(share=0.0),
    "from-vae": Arm(),
    "from-vae-60": Arm(minutes=0.6),
    "no-anchor": Arm(gan={"anchor": 0.0}),
    "anchor-4": Arm(gan={"anchor": 4.0}),
    "anchor-8": Arm(gan={"anchor": 8.0}),
    "anchored-a-quarter": Arm(gan={"anchored": 0.25}),
    "gamma-0.1": Arm(gan={"gamma": 0.1}),
    "gamma-0.3": Arm(gan={"gamma": 0.3}),
    "gamma-3": Arm(gan={"gamma": 3.0}),
    "no-penalty": Arm(gan={"gamma": 0.0}),
    "muon": Arm(gan={"optimizer": "muon"}),
    "adam-vae": Arm(vae={"optimizer": "adam"}),
    "tighter-vae": Arm(vae={"beta": 1.0}),
    "few-latents": Arm(vae={"latent_dim": 64}),
    "cold-discriminator": Arm(gan={"warm_discriminator": False}),
    "no-head-start": Arm(gan={"head_start": 0}),
    "short-vae": Arm(share=0.07),
    "long-vae": Arm(share=0.4),
    "tight-vae": Arm(vae={"likelihood": "gaussian"}),
    "non-saturating": Arm(gan={"loss": "non-saturating"}),
    "diffaugment": Arm(gan={"augment": "color,translation"}),
    "lr-g-8e-4": Arm(gan={"lr_g": 8e-4}),
    "lr-d-1e-3": Arm(gan={"lr_d": 1e-3}),
    "both-rates-doubled": Arm(gan={"lr_g": 8e-4, "lr_d": 1e-3}),
    "ema-10k": Arm(gan={"ema_halflife": 10_000}),
    "decay-40k": Arm(gan={"lr_decay": 40_000}),
}


@dataclass(frozen=True)
class Plan:
    """What all runs share: the set, where they go, how long they are, and where they run.

    speed: pictures a second of VAE and GAN on the machine whose minutes are meant; None for this one's clock.
    """

    data: Path
    out: Path
    minutes: float
    preset: str = "small"
    device: str = "auto"
    speed: tuple[float, float] | None = None

    def length(self, minutes: float, kind: str) -> dict[str, Any]:
        """The option of train-vae or train-gan that says so many minutes."""
        if self.speed is None:
            return {"minutes": minutes}
        return {"images": round(60 * minutes * self.speed[kind == "gan"])}

    def common(self, seed: int) -> dict[str, Any]:
        """What every run is told."""
        return {"seed": seed, "preset": self.preset, "device": self.device}


def vae_run(plan: Plan, arm: Arm, seed: int) -> Path | None:
    """Where the VAE of an arm is or will be, if it has one: arms of the same options share it."""
    if not arm.share:
        return None
    words = "-".join(f"{key}-{value}" for key, value in sorted(arm.vae.items()))
    return plan.out / f"vae-{arm.share * arm.minutes:g}-{words or 'default'}-{seed}"


def train_start(plan: Plan, arm: Arm, seed: int) -> Path | None:
    """Train the VAE of an arm, where it has one, and say where it is."""
    run = vae_run(plan, arm, seed)
    if run is not None:
        length = plan.length(arm.share * arm.minutes * plan.minutes, "vae")
        train_vae(plan.data, run, **length, **plan.common(seed), **arm.vae)
    return run


def trained(plan: Plan, arm: Arm, name: str, seed: int) -> tuple[Path, Path | None, float]:
    """The GAN of an arm, its VAE, and the seconds that both took."""
    vae, gan = train_start(plan, arm, seed), plan.out / f"gan-{name}-{seed}"
    length = plan.length((1 - arm.share) * arm.minutes * plan.minutes, "gan")
    train_gan(plan.data, gan, from_vae=vae, **length, **plan.common(seed), **arm.gan)
    return gan, vae, seconds_of(Run(gan)) + (seconds_of(Run(vae)) if vae is not None else 0.0)


def looks(plan: Plan, run: Path, vae: Path | None) -> list[Look]:
    """Every look at a GAN's samples: minutes until then, the VAE's included, KID and coverage."""

    def minutes(kind: str, line: dict[str, float]) -> float:
        seconds = line["seconds"] if plan.speed is None else line["images"] / plan.speed[kind == "gan"]
        return seconds / 60

    before = 0.0 if vae is None else max(minutes("vae", line) for line in metrics_of(Run(vae)) if "images" in line)
    lines = [line for line in metrics_of(Run(run)) if {"kid", "coverage"} <= set(line)]
    return [(before + minutes("gan", line), line["kid"], line["coverage"]) for line in lines]


def kept(coverages: Iterable[float]) -> float | None:
    """The least that a look found of the best coverage until then, or None without looks."""
    best, least = 0.0, None
    for coverage in coverages:
        best = max(best, coverage)
        least = min(1.0 if least is None else least, coverage / best if best else 1.0)
    return least


def measured(plan: Plan, name: str, seed: int, n: int) -> dict[str, Any]:
    """Train an arm with a seed, and say what `evaluate` finds."""
    run, vae, seconds = trained(plan, ARMS[name], name, seed)
    columns = evaluate(run, plan.data, n=n, device=plan.device).columns
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
    """Curves of KID and coverage over the minutes, of every arm of every set, a line each seed, into a PNG or SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(sets), 6.4), layout="constrained")
    panels = figure.subplots(2, len(sets), squeeze=False, sharex="col")
    for column, (title, found) in enumerate(sets.items()):
        for number, (arm, rows) in enumerate(found.items()):
            colour = COLOURS[number % len(COLOURS)]
            for turn, looked in enumerate(row["looks"] for row in rows if row["looks"]):
                minutes, kids, coverages = zip(*looked, strict=True)
                for panel, values in zip(panels[:, column], (kids, coverages), strict=True):
                    panel.plot(minutes, values, color=colour, linewidth=1.2, label=None if turn else arm)
        panels[0, column].set(title=title, yscale="log", ylabel="KID")
        panels[1, column].set(ylim=(0, 1), xlabel="minutes, the VAE's included", ylabel="coverage")
        for panel in panels[:, column]:
            panel.grid(alpha=0.3)
        panels[0, column].legend()
    figure.savefig(path, dpi=100)


def work(plan: Plan, arms: list[str], seeds: list[int], n: int, at_once: int, tell: Callable[[Any], None]) -> None:
    """Measure every arm with every seed, and tell each row: in turn, or so many runs at once, the VAEs first."""
    turns = [(name, seed) for seed in seeds for name in arms]
    if at_once == 1:
        for name, seed in turns:
            tell(measured(plan, name, seed, n))
        return
    starts = {vae_run(plan, ARMS[name], seed): (ARMS[name], seed) for name, seed in turns if ARMS[name].share}
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        waited = [pool.submit(train_start, plan, arm, seed) for arm, seed in starts.values()]
        for start in waited:
            start.result()
        for row in [pool.submit(measured, plan, name, seed, n) for name, seed in turns]:
            tell(row.result())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[BASELINE, "from-vae"])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path)
    parser.add_argument("-n", type=int, default=EvaluateSettings().n)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--speed", type=float, nargs=2, metavar=("VAE", "GAN"), help="pictures a second")
    parser.add_argument("--at-once", type=int, default=1, help="runs at a time; more than 1 needs --speed")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="curves over the minutes; needs vaegan[plot]")
    options = parser.parse_args()
    if options.at_once > 1 and options.speed is None:
        parser.error("runs beside each other take each other's time: --at-once needs --speed")
    print(threaded())
    print(f"{options.data.name}, preset {options.preset}, {options.minutes:g} minutes in all")
    if options.speed:
        print(f"at {options.speed[0]:g} pictures a second (VAE) and {options.speed[1]:g} (GAN), not by this clock")
    with tempfile.TemporaryDirectory() as place:
        speed = (options.speed[0], options.speed[1]) if options.speed else None
        plan = Plan(options.data, options.out or Path(place), options.minutes, options.preset, options.device, speed)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.arms}

        def tell(row: dict[str, Any]) -> None:
            print(json.dumps(row), flush=True)
            found[row["arm"]].append(row)

        data = open_set(options.data)
        features_of_set(data, data.load()[0], ignore)  # kept in the set: learned once, not by every run
        work(plan, options.arms, options.seeds, options.n, options.at_once, tell)
        say(found)
        if options.plot:
            draw({options.data.name: found}, options.plot)


if __name__ == "__main__":
    main()
