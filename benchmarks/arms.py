"""Runs of one VAE's or no start and one GAN each, in arms that share a length: what some of the benchmarks are made of.

With --speed the clock decides nothing: every run sees as many pictures as a machine that trains VAEs and GANs at those
pictures a second sees in its minutes. So a GPU compares what a laptop's seconds are worth, many seeds and arms at once
where it has room (--at-once; set OMP_NUM_THREADS=1 then).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaegan.config.settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.feature_spaces import load_or_train_features
from vaegan.events import ignore_event
from vaegan.metrics_log import training_seconds
from vaegan.training.train import train_gan, train_vae


@dataclass(frozen=True)
class Arm:
    """One way to spend the minutes. `share`: of them, for the VAE; `vae` and `gan`: options of the two."""

    share: float = 0.25
    vae: dict[str, Any] = field(default_factory=dict)
    gan: dict[str, Any] = field(default_factory=dict)
    minutes: float = 1.0
    """Of what the others have."""


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
    return gan, vae, training_seconds(gan) + (training_seconds(vae) if vae is not None else 0.0)


Measure = Callable[[Plan, Arm, str, int, int], dict[str, Any]]
"""Plan, arm, its name, seed and number of samples -> what was found, and the name as "arm"."""


def work(
    options: argparse.Namespace, data: Path, out: Path, arms: Mapping[str, Arm], measure: Measure
) -> dict[str, list[dict[str, Any]]]:
    """Measure the arms asked for on a set with every seed: in turn, or so many at once, the VAEs first.

    Prints each row when it is there; returns an arm's rows by its name, in the order of the seeds.
    """
    opened = open_dataset(data)
    load_or_train_features(opened, opened.load()[0], ignore_event)  # kept in the set: learned once, not by every run
    speed = (options.speed[0], options.speed[1]) if options.speed else None
    plan = Plan(data, out, options.minutes, options.preset, options.device, speed)
    turns = [(name, seed) for seed in options.seeds for name in options.arms]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.arms}
    for row in _rows(plan, options, arms, turns, measure):
        print(json.dumps(row), flush=True)
        found[row["arm"]].append(row)
    return found


def _rows(
    plan: Plan, options: argparse.Namespace, arms: Mapping[str, Arm], turns: list[tuple[str, int]], measure: Measure
) -> Iterator[dict[str, Any]]:
    if options.at_once == 1:
        yield from (measure(plan, arms[name], name, seed, options.n) for name, seed in turns)
        return
    starts = {vae_run(plan, arms[name], seed): (arms[name], seed) for name, seed in turns if arms[name].share}
    with ProcessPoolExecutor(options.at_once, multiprocessing.get_context("spawn")) as pool:
        waited = [pool.submit(train_start, plan, arm, seed) for arm, seed in starts.values()]
        for start in waited:
            start.result()
        for row in [pool.submit(measure, plan, arms[name], name, seed, options.n) for name, seed in turns]:
            yield row.result()


def asking(about: str, minutes: float, arms: Mapping[str, Arm], usual: list[str]) -> argparse.ArgumentParser:
    """The options that all such benchmarks have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=arms, default=usual)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("-n", type=int, default=EvaluateSettings().n)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--speed", type=float, nargs=2, metavar=("VAE", "GAN"), help="pictures a second")
    parser.add_argument("--at-once", type=int, default=1, help="runs at a time; more than 1 needs --speed")
    return parser


def answered(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was asked for, once it is known to make sense; says it."""
    options = parser.parse_args()
    if options.at_once > 1 and options.speed is None:
        parser.error("runs beside each other take each other's time: --at-once needs --speed")
    print(f"{options.data.name}, preset {options.preset}, {options.minutes:g} minutes in all")
    if options.speed:
        print(f"at {options.speed[0]:g} pictures a second (VAE) and {options.speed[1]:g} (GAN), not by this clock")
    return options
