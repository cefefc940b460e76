"""Arms of training experiments: each trains a VAE (or none) and a GAN, all for the same total time.

With --speed, lengths are in images instead of wall-clock time. Every run sees as many images as a machine with that
training speed (images per second of VAE and GAN) sees in the given minutes. So a GPU can reproduce what a laptop
reaches in these minutes, with several runs at the same time (--parallel; set OMP_NUM_THREADS=1 for it).
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

from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.evaluation.feature_spaces import load_or_train_features
from vaegan.events import ignore_event
from vaegan.metrics_log import training_seconds
from vaegan.training.train import train_gan, train_vae


@dataclass(frozen=True)
class Arm:
    """One configuration.

    Args:
        vae_fraction: Fraction of the time for the VAE; 0 trains the GAN from scratch.
        vae: Options of train_vae.
        gan: Options of train_gan.
        time_scale: Total time of this arm, relative to the experiment's --minutes.
    """

    vae_fraction: float = 0.25
    vae: dict[str, Any] = field(default_factory=dict)
    gan: dict[str, Any] = field(default_factory=dict)
    time_scale: float = 1.0


@dataclass(frozen=True)
class Experiment:
    """What all runs of an experiment have in common.

    Args:
        data: The dataset.
        out: Folder of the runs.
        minutes: Total training time of an arm.
        preset: Preset of both networks.
        device: Value of --device.
        speed: Images per second of VAE and GAN that convert minutes to images; None for wall-clock time.
    """

    data: Path
    out: Path
    minutes: float
    preset: str = "small"
    device: str = "auto"
    speed: tuple[float, float] | None = None

    def duration_option(self, minutes: float, kind: str) -> dict[str, Any]:
        """Return the option of train_vae or train_gan (`kind` "vae" or "gan") for this many minutes."""
        if self.speed is None:
            return {"minutes": minutes}
        return {"images": round(60 * minutes * self.speed[kind == "gan"])}

    def common_options(self, seed: int) -> dict[str, Any]:
        return {"seed": seed, "preset": self.preset, "device": self.device}


def vae_run_path(experiment: Experiment, arm: Arm, seed: int) -> Path | None:
    """Return the run of an arm's VAE, or None if it has none. Arms with the same VAE options share the run."""
    if not arm.vae_fraction:
        return None
    options = "-".join(f"{key}-{value}" for key, value in sorted(arm.vae.items()))
    return experiment.out / f"vae-{arm.vae_fraction * arm.time_scale:g}-{options or 'default'}-{seed}"


def train_arm_vae(experiment: Experiment, arm: Arm, seed: int) -> Path | None:
    """Train the VAE of an arm, if it has one; return its run."""
    run = vae_run_path(experiment, arm, seed)
    if run is not None:
        duration = experiment.duration_option(arm.vae_fraction * arm.time_scale * experiment.minutes, "vae")
        train_vae(experiment.data, run, **duration, **experiment.common_options(seed), **arm.vae)
    return run


def train_arm(experiment: Experiment, arm: Arm, name: str, seed: int) -> tuple[Path, Path | None, float]:
    """Train an arm; return the GAN's run, the VAE's run, and the training seconds of both."""
    vae_run, gan_run = train_arm_vae(experiment, arm, seed), experiment.out / f"gan-{name}-{seed}"
    duration = experiment.duration_option((1 - arm.vae_fraction) * arm.time_scale * experiment.minutes, "gan")
    options = experiment.common_options(seed) | arm.gan
    train_gan(experiment.data, gan_run, from_vae=vae_run, **duration, **options)
    seconds = training_seconds(gan_run) + (training_seconds(vae_run) if vae_run is not None else 0.0)
    return gan_run, vae_run, seconds


MeasureArm = Callable[[Experiment, Arm, str, int, int], dict[str, Any]]
"""(experiment, arm, its name, seed, number of samples) -> a result with the key "arm", the name."""


def measure_arms(
    args: argparse.Namespace, data: Path, out: Path, arms: Mapping[str, Arm], measure: MeasureArm
) -> dict[str, list[dict[str, Any]]]:
    """Measure the requested arms with every seed, one after the other or in parallel, and print each result.

    Returns:
        The results of each arm by its name, in the order of the seeds.
    """
    dataset = open_dataset(data)
    # train the learned features once: they are saved in the dataset, and every run uses them
    load_or_train_features(dataset, dataset.load()[0], ignore_event)
    speed = (args.speed[0], args.speed[1]) if args.speed else None
    experiment = Experiment(data, out, args.minutes, args.preset, args.device, speed)
    jobs = [(name, seed) for seed in args.seeds for name in args.arms]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in args.arms}
    for result in _iter_results(experiment, args, arms, jobs, measure):
        print(json.dumps(result), flush=True)
        results[result["arm"]].append(result)
    return results


def _iter_results(
    experiment: Experiment,
    args: argparse.Namespace,
    arms: Mapping[str, Arm],
    jobs: list[tuple[str, int]],
    measure: MeasureArm,
) -> Iterator[dict[str, Any]]:
    if args.parallel == 1:
        yield from (measure(experiment, arms[name], name, seed, args.n) for name, seed in jobs)
        return
    # arms share VAE runs, so all VAEs are trained before the first GAN
    vaes = {vae_run_path(experiment, arms[name], seed): (arms[name], seed) for name, seed in jobs}
    vaes.pop(None, None)
    with ProcessPoolExecutor(args.parallel, multiprocessing.get_context("spawn")) as pool:
        vae_futures = [pool.submit(train_arm_vae, experiment, arm, seed) for arm, seed in vaes.values()]
        for vae_future in vae_futures:
            vae_future.result()
        for future in [pool.submit(measure, experiment, arms[name], name, seed, args.n) for name, seed in jobs]:
            yield future.result()


def make_parser(
    description: str, minutes: float, arms: Mapping[str, Arm], default_arms: list[str]
) -> argparse.ArgumentParser:
    """Return a parser with the options that all experiments have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared dataset")
    parser.add_argument("--minutes", type=float, default=minutes, help="total training time of an arm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=arms, default=default_arms)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the runs in FOLDER")
    parser.add_argument("-n", type=int, default=EvaluateSettings().n, help="number of samples to evaluate")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--speed", type=float, nargs=2, metavar=("VAE", "GAN"), help="images per second that convert minutes to images"
    )
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time; more than 1 needs --speed")
    return parser


def parse_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse and check the options, and print them."""
    args = parser.parse_args()
    if args.parallel > 1 and args.speed is None:
        parser.error(f"--parallel {args.parallel} needs --speed: parallel runs slow each other down")
    print(f"{args.data.name}, preset {args.preset}, {args.minutes:g} minutes in total")
    if args.speed:
        print(f"lengths in images, for {args.speed[0]:g} images/s (VAE) and {args.speed[1]:g} images/s (GAN)")
    return args
