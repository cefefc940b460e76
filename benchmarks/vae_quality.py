"""How much better our VAE reconstructs than a tutorial's in the same time, and how well its prior fits.

python -m benchmarks.vae_quality SET --minutes 4 15 --seeds 0 1 2 [--ours likelihood=gaussian beta=1] [--json FILE]

For every seed our train_vae runs first; the tutorial's loop then has exactly as many seconds of the same machine. Both
have the same networks, batch size and pictures. Our run of the first --minutes is made longer to the next, as a user
would, so one run serves all. The tutorial is that of the PyTorch examples with a squared error: summed over pixels in
[0, 1], beta 1, Adam 1e-3, fp32, no averaged weights, no schedule, no mirrored pictures. What is measured, by either:

  PSNR    of held-out pictures decoded from their posteriors' means, dB, the mean over pictures
  KL      nats a held-out picture, before folding
  images  pictures seen

and of ours also, per space of features: the Frechet distance of prior samples to the held-out pictures, divided by that
of as many reconstructions of posterior samples of training pictures; and the largest change of a reconstruction by
folding, in [-1, 1]. Measuring is not timed.
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

from benchmarks.machine import machine
from vaegan.checkpoint import TRAINING_STATE_FILE, load_strict, load_tensors, strip_prefix
from vaegan.config.model_config import PRESETS, ModelConfig
from vaegan.config.settings import EvaluateSettings, VAESettings
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

BATCH = 64
RATE = 1e-3
CHECK_EVERY = 8

Numbers = dict[str, Any]


@torch.no_grad()
def reconstructed(vae: VAE, pictures: torch.Tensor) -> Numbers:
    """Mean PSNR in dB and KL in nats over uint8 [N, C, S, S]."""
    ratios, nats = [], []
    for part in torch.split(pictures, BATCH):
        real = to_float(part)
        posterior = vae.encoder(real)
        ratios.append(psnr(real, vae.decoder(posterior.mean)))
        nats.append(kl_per_dim(posterior.mean, posterior.log_var).sum(1))
    return {"psnr": float(torch.cat(ratios).mean()), "kl": float(torch.cat(nats).mean())}


class Tutorial:
    """A plain VAE's loop, which can be stopped and gone on with."""

    def __init__(self, config: ModelConfig, train: torch.Tensor, batch_size: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.vae = VAE(config).train()
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=RATE)
        self.batches = BatchSampler(train, batch_size, seed)
        self.step, self.seconds = 0, 0.0

    def go(self, until: float) -> None:
        """Train until `until` seconds in all."""
        began = time.perf_counter() - self.seconds
        while time.perf_counter() - began < until:
            for _ in range(CHECK_EVERY):
                pictures = self.batches[self.step].float() / 255
                posterior = self.vae.encoder(pictures * 2 - 1)
                decoded = (self.vae.decoder(posterior.sample(torch.randn_like(posterior.mean))) + 1) / 2
                loss = (decoded - pictures).square().sum() + kl_per_dim(posterior.mean, posterior.log_var).sum()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.step += 1
        self.seconds = time.perf_counter() - began

    def measure(self, held_out: torch.Tensor) -> Numbers:
        """What it has come to."""
        found = reconstructed(self.vae.eval(), held_out)
        self.vae.train()
        return {**found, "images": self.step * self.batches.batch_size, "seconds": round(self.seconds, 1)}


def unfolded(run: RunDir, config: ModelConfig) -> VAE:
    """The averaged weights of the newest checkpoint, before folding."""
    path, vae = run.checkpoints()[-1] / TRAINING_STATE_FILE, VAE(config.with_normal_prior())
    load_strict(vae, strip_prefix(load_tensors(path), "ema"), path)
    return vae.eval()


def ratios(judge: Evaluator, model: Model, seed: int) -> Numbers:
    """FD(prior samples, held-out) / FD(reconstructions of posterior samples, held-out) by space, and both."""
    reference = judge.reference
    lots = (
        reference.extract_features(model.sample(judge.num_images, seed)),
        reference.extract_features(model.reconstruct(reference.real_baseline.images, seed)),
    )
    distances = [
        {
            space: frechet_distance(reference.val.features[space], lot.features[space])
            for space in reference.feature_spaces.names
        }
        for lot in lots
    ]
    for one in distances:
        one["together"] = sum(one[level] for level in LEVELS) / len(LEVELS)
    found = {space: distances[0][space] / distances[1][space] for space in distances[0]}
    return {"ratio": found, "samples": distances[0], "reconstructions": distances[1]}


def measured(run: RunDir, held_out: torch.Tensor, judge: Evaluator, seed: int) -> Numbers:
    """What a run of ours has come to: its published weights, and what folding changed."""
    model = load(run.path, "cpu")
    before = unfolded(run, model.info.config)
    assert model.encoder is not None
    change, ratio = 0.0, []
    with torch.no_grad():
        for part in torch.split(held_out, BATCH):
            real = to_float(part)
            after = model.decoder(model.encoder(real).mean)
            change = max(change, float((before.reconstruct(real) - after).abs().max()))
            ratio.append(psnr(real, after))
    return {
        **reconstructed(before, held_out),
        "psnr": float(torch.cat(ratio).mean()),
        "images": model.info.images_seen,
        "folding": change,
        **ratios(judge, model, seed),
    }


def one_seed(options: argparse.Namespace, seed: int, judge: Evaluator | None, place: Path) -> list[Numbers]:
    """Both trainings of one seed, measured at every length."""
    data, row, found = open_dataset(options.data), PRESETS[options.preset], []
    train, held_out = data.load()
    given = {"preset": options.preset, **dict(options.ours)}
    config = ModelConfig(data.size, data.channels, int(given.get("latent_dim", row.latent_dim)), row.base_channels)
    batch, spent, run = int(given.get("batch_size", VAESettings.batch_size)), 0.0, RunDir(place / f"seed-{seed}")
    walls = {minutes: minutes * 60.0 for minutes in options.minutes}
    if options.only != "tutorial":
        assert judge is not None
        for minutes in options.minutes:
            began = time.perf_counter()
            train_vae(options.data, run.path, seed=seed, minutes=minutes, device="cpu", **given)
            spent += time.perf_counter() - began
            walls[minutes] = spent
            numbers = measured(run, held_out, judge, seed)
            found.append({"who": "ours", "seed": seed, "minutes": minutes, "seconds": round(spent, 1), **numbers})
            show(found[-1])
    if options.only != "ours":
        tutorial = Tutorial(config, train, batch, seed)
        for minutes in options.minutes:
            tutorial.go(walls[minutes])
            found.append({"who": "tutorial", "seed": seed, "minutes": minutes, **tutorial.measure(held_out)})
            show(found[-1])
    return found


def show(numbers: Numbers) -> None:
    """One line of the table."""
    cells = [f"{numbers['who']:9s} {numbers['minutes']:5g} min  seed {numbers['seed']}  {numbers['seconds']:6.0f} s"]
    cells.append(f"{numbers['images']:8,} pictures  PSNR {numbers['psnr']:6.2f} dB  KL {numbers['kl']:6.1f} nats")
    if "ratio" in numbers:
        cells.append("  ".join(f"{space} {value:.2f}" for space, value in numbers["ratio"].items()))
        cells.append(f"folding {numbers['folding']:.1e}")
    print("  ".join(cells), flush=True)


def summary(rows: list[Numbers], minutes: list[float]) -> Numbers:
    """Gains over the tutorial by seed, and medians of the ratios, per length."""
    found: Numbers = {}
    for length in minutes:
        lots: dict[str, dict[int, Numbers]] = {"ours": {}, "tutorial": {}}
        for row in rows:
            if row["minutes"] == length:
                lots[row["who"]][row["seed"]] = row
        both = sorted(set(lots["ours"]) & set(lots["tutorial"]))
        gains = [lots["ours"][seed]["psnr"] - lots["tutorial"][seed]["psnr"] for seed in both]
        spaces = next(iter(lots["ours"].values()))["ratio"] if lots["ours"] else {}
        found[f"{length:g} minutes"] = {
            "gain_db": [round(gain, 3) for gain in gains],
            "ratio": {
                space: round(statistics.median(row["ratio"][space] for row in lots["ours"].values()), 3)
                for space in spaces
            },
            "folding": max((row["folding"] for row in lots["ours"].values()), default=None),
        }
    return found


def pair(text: str) -> tuple[str, Any]:
    """likelihood=gaussian or beta=0.5, as an option of train_vae."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SET")
    parser.add_argument("--minutes", type=float, nargs="+", action="extend", default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="small", choices=tuple(PRESETS))
    parser.add_argument("--ours", type=pair, nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--only", choices=("ours", "tutorial"))
    parser.add_argument("-n", type=int, default=2000, help="pictures on either side of a Frechet distance")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keeps our runs; must hold none")
    options = parser.parse_args()
    options.minutes = sorted(options.minutes or [4.0, 15.0])
    kept = [options.out / f"seed-{seed}" for seed in options.seeds] if options.out else []
    if any(path.exists() for path in kept):
        parser.error(f"--out {options.out} holds runs already: going on with one would not be timed; choose another")
    print(f"{machine()}; {options.data.name}, {options.preset}, ours: {dict(options.ours) or 'defaults'}", flush=True)
    judge = None
    if options.only != "tutorial":
        judge = Evaluator(
            open_dataset(options.data), EvaluateSettings(n=options.n), torch.device("cpu"), None, ignore_event
        )
    with tempfile.TemporaryDirectory() as place:
        out = options.out or Path(place)
        rows = list(itertools.chain(*(one_seed(options, seed, judge, out) for seed in options.seeds)))
    told = {"machine": machine(), "summary": summary(rows, options.minutes), "rows": rows}
    print(json.dumps(told["summary"], indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
