"""Compare vaegan's VAE with a tutorial's VAE in the same training time, and measure how well its prior fits.

python -m benchmarks.vae_quality DATA --minutes 4 15 --seeds 0 1 2 [--options likelihood=gaussian beta=1] [--json FILE]

For every seed vaegan's train_vae runs first; the tutorial's loop then trains for the same number of seconds. Both use
the same networks, batch size and images. For several lengths, vaegan's run is resumed. The tutorial is the VAE of
PyTorch's examples with a squared error: summed over pixels in [0, 1], beta 1, Adam with learning rate 1e-3, float32,
no EMA, no schedule, no flipped images. Measured for both:

  psnr         in dB, of validation images reconstructed from the posterior mean, mean over images
  kl           in nats per validation image, before latent whitening
  images_seen  number of training images seen

Only for vaegan:

  fd_ratio          for each feature space, the Frechet distance of prior samples to validation images, divided by that
                    of reconstructions of training images from posterior samples
  whitening_change  largest change of a reconstruction by latent whitening, in [-1, 1]

Measuring is not part of the training time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import describe_machine
from vaegan.checkpoint import TRAINING_STATE_FILE, load_strict, load_tensors, strip_prefix
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.settings import VAESettings
from vaegan.config.tool_settings import EvaluateSettings
from vaegan.data.dataset import open_dataset
from vaegan.data.sampler import BatchSampler
from vaegan.evaluation.evaluate import Evaluator
from vaegan.events import ignore_event
from vaegan.inference.model import Model, load
from vaegan.losses.vae import kl_per_dim
from vaegan.metrics.distances import frechet_distance
from vaegan.metrics.image_quality import psnr
from vaegan.metrics.random_features import LEVELS
from vaegan.models.vae import VAE
from vaegan.run_dir import RunDir
from vaegan.training.train import train_vae
from vaegan.utils.images import to_float

BATCH_SIZE = 64
LEARNING_RATE = 1e-3
STEPS_PER_TIME_CHECK = 8

Result = dict[str, Any]


@torch.no_grad()
def measure_reconstruction(vae: VAE, images: Tensor) -> Result:
    """Return the mean PSNR in dB and the mean KL in nats of uint8 images [N, C, S, S]."""
    psnrs, kls = [], []
    for batch in torch.split(images, BATCH_SIZE):
        real = to_float(batch)
        posterior = vae.encoder(real)
        psnrs.append(psnr(real, vae.decoder(posterior.mean)))
        kls.append(kl_per_dim(posterior.mean, posterior.log_var).sum(1))
    return {"psnr": float(torch.cat(psnrs).mean()), "kl": float(torch.cat(kls).mean())}


class TutorialTrainer:
    """The training loop of a plain VAE; it can be continued."""

    def __init__(self, config: ModelConfig, train: Tensor, batch_size: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.vae = VAE(config).train()
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=LEARNING_RATE)
        self.sampler = BatchSampler(train, batch_size, seed)
        self.step, self.seconds = 0, 0.0

    def train_until(self, total_seconds: float) -> None:
        """Train until the training time is `total_seconds`."""
        start_time = time.perf_counter() - self.seconds
        while time.perf_counter() - start_time < total_seconds:
            for _ in range(STEPS_PER_TIME_CHECK):
                self._train_step()
        self.seconds = time.perf_counter() - start_time

    def _train_step(self) -> None:
        images = self.sampler[self.step].float() / 255
        posterior = self.vae.encoder(images * 2 - 1)
        recon = (self.vae.decoder(posterior.sample(torch.randn_like(posterior.mean))) + 1) / 2
        loss = (recon - images).square().sum() + kl_per_dim(posterior.mean, posterior.log_var).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1

    def measure(self, val: Tensor) -> Result:
        """Measure the current weights on validation images."""
        result = measure_reconstruction(self.vae.eval(), val)
        self.vae.train()
        return {**result, "images_seen": self.step * self.sampler.batch_size, "seconds": round(self.seconds, 1)}


def load_unwhitened(run: RunDir, config: ModelConfig) -> VAE:
    """Load the EMA weights of the newest checkpoint, before latent whitening."""
    path, vae = run.checkpoints()[-1] / TRAINING_STATE_FILE, VAE(config.with_normal_prior())
    load_strict(vae, strip_prefix(load_tensors(path), "ema"), path)
    return vae.eval()


def compare_samples(evaluator: Evaluator, model: Model, seed: int) -> Result:
    """Return the Frechet distances of prior samples and of reconstructions to validation images, and their ratios."""
    reference = evaluator.reference

    def distances(images: Tensor) -> dict[str, float]:
        features = reference.extract_features(images).features
        by_space = {
            space: frechet_distance(reference.val.features[space], features[space])
            for space in reference.feature_spaces.names
        }
        return by_space | {"random_mean": sum(by_space[level] for level in LEVELS) / len(LEVELS)}

    samples = distances(model.sample(evaluator.num_images, seed))
    reconstructions = distances(model.reconstruct(reference.real_baseline.images, seed))
    ratios = {space: samples[space] / reconstructions[space] for space in samples}
    return {"fd_ratio": ratios, "fd_samples": samples, "fd_reconstructions": reconstructions}


def measure_run(run: RunDir, val: Tensor, evaluator: Evaluator, seed: int) -> Result:
    """Measure the final weights of a vaegan run, and what latent whitening changed."""
    model = load(run.path, "cpu")
    unwhitened = load_unwhitened(run, model.info.config)
    assert model.encoder is not None
    largest_change, psnrs = 0.0, []
    with torch.no_grad():
        for batch in torch.split(val, BATCH_SIZE):
            real = to_float(batch)
            recon = model.decoder(model.encoder(real).mean)
            largest_change = max(largest_change, float((unwhitened.reconstruct(real) - recon).abs().max()))
            psnrs.append(psnr(real, recon))
    return {
        **measure_reconstruction(unwhitened, val),
        "psnr": float(torch.cat(psnrs).mean()),
        "images_seen": model.info.images_seen,
        "whitening_change": largest_change,
        **compare_samples(evaluator, model, seed),
    }


def run_seed(args: argparse.Namespace, seed: int, evaluator: Evaluator | None, out: Path) -> list[Result]:
    """Train vaegan and the tutorial with one seed; return the results at every length."""
    dataset, preset, results = open_dataset(args.data), PRESETS[args.preset], []
    train, val = dataset.load()
    options = {"preset": args.preset, **dict(args.options)}
    latent_dim = int(options.get("latent_dim", preset.latent_dim))
    config = preset.model_config(dataset.size, dataset.channels, latent_dim)
    batch_size = int(options.get("batch_size", VAESettings.batch_size))
    seconds_at = {minutes: minutes * 60.0 for minutes in args.minutes}

    def add_result(tool: str, minutes: float, result: Result) -> None:
        results.append({"tool": tool, "seed": seed, "minutes": minutes, **result})
        print_result(results[-1])

    if evaluator is not None:
        run, seconds = RunDir(out / f"seed-{seed}"), 0.0
        for minutes in args.minutes:
            start_time = time.perf_counter()
            train_vae(args.data, run.path, seed=seed, minutes=minutes, device="cpu", **options)
            seconds += time.perf_counter() - start_time
            seconds_at[minutes] = seconds
            add_result("vaegan", minutes, {"seconds": round(seconds, 1), **measure_run(run, val, evaluator, seed)})
    if args.only != "vaegan":
        trainer = TutorialTrainer(config, train, batch_size, seed)
        for minutes in args.minutes:
            trainer.train_until(seconds_at[minutes])
            add_result("tutorial", minutes, trainer.measure(val))
    return results


def print_result(result: Result) -> None:
    """Print a result in one line."""
    cells = [f"{result['tool']:9s} {result['minutes']:5g} min  seed {result['seed']}  {result['seconds']:6.0f} s"]
    cells.append(f"{result['images_seen']:8,} images  PSNR {result['psnr']:6.2f} dB  KL {result['kl']:6.1f} nats")
    if "fd_ratio" in result:
        cells.extend(f"{space} {ratio:.2f}" for space, ratio in result["fd_ratio"].items())
        cells.append(f"whitening {result['whitening_change']:.1e}")
    print("  ".join(cells), flush=True)


def summarize(results: list[Result], lengths: list[float]) -> Result:
    """Return, for each length, the gain over the tutorial for each seed, and medians of the ratios."""
    summary: Result = {}
    for minutes in lengths:
        by_tool: dict[str, dict[int, Result]] = {"vaegan": {}, "tutorial": {}}
        for result in results:
            if result["minutes"] == minutes:
                by_tool[result["tool"]][result["seed"]] = result
        ours, tutorial = by_tool["vaegan"], by_tool["tutorial"]
        gains = [ours[seed]["psnr"] - tutorial[seed]["psnr"] for seed in sorted(set(ours) & set(tutorial))]
        spaces = next(iter(ours.values()))["fd_ratio"] if ours else {}
        ratios = {space: statistics.median(result["fd_ratio"][space] for result in ours.values()) for space in spaces}
        summary[f"{minutes:g} minutes"] = {
            "gain_db": [round(gain, 3) for gain in gains],
            "fd_ratio": {space: round(ratio, 3) for space, ratio in ratios.items()},
            "whitening_change": max((result["whitening_change"] for result in ours.values()), default=None),
        }
    return summary


def parse_option(text: str) -> tuple[str, Any]:
    """Parse an option of train_vae such as likelihood=gaussian or beta=0.5."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="prepared dataset")
    parser.add_argument("--minutes", type=float, nargs="+", default=[4.0, 15.0], help="training times to measure at")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="small", choices=tuple(PRESETS))
    parser.add_argument(
        "--options", type=parse_option, nargs="*", default=[], metavar="NAME=VALUE", help="options of train_vae"
    )
    parser.add_argument("--only", choices=("vaegan", "tutorial"))
    parser.add_argument("-n", type=int, default=2000, help="number of images for a Frechet distance")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results to FILE")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="keep vaegan's runs in FOLDER; it must hold none yet"
    )
    args = parser.parse_args()
    args.minutes.sort()
    if args.out and any((args.out / f"seed-{seed}").exists() for seed in args.seeds):
        parser.error(f"--out {args.out} already holds runs, and the time of a resumed run is unknown: use a new folder")
    print(
        f"{describe_machine()}; {args.data.name}, {args.preset}, options: {dict(args.options) or 'defaults'}",
        flush=True,
    )
    evaluator = None
    if args.only != "tutorial":
        settings = EvaluateSettings(n=args.n)
        evaluator = Evaluator(open_dataset(args.data), settings, torch.device("cpu"), None, ignore_event)
    with tempfile.TemporaryDirectory() as temp_dir:
        out = args.out or Path(temp_dir)
        results = list(itertools.chain(*(run_seed(args, seed, evaluator, out) for seed in args.seeds)))
    summary = summarize(results, args.minutes)
    print(json.dumps(summary, indent=1))
    if args.json is not None:
        text = json.dumps({"machine": describe_machine(), "summary": summary, "results": results}, indent=1)
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
