"""What test_distributed.py starts with torchrun: several runs by several processes, in one start of Python."""

import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import torch
from pieces import collapsing

from vaegan.cli import main
from vaegan.config.settings import VAESettings
from vaegan.errors import Interrupted, PeerProcessFailed, VaeganError
from vaegan.events import SkippedStep
from vaegan.losses import vae as losses
from vaegan.training.distributed import init_distributed
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.train import train_gan, train_vae

COMMON = {"batch_size": 32, "precision": "fp32", "device": "cpu", "log_every": 5}
VAE = {**COMMON, "preset": "tiny", "latent_dim": 8, "lr_warmup": 0, "optimizer": "adam", "lr": 1e-4}
VAE |= {"kl_warmup": 0, "beta": 4.0}
"""A KL term that pulls, and a low rate: Adam makes whole steps of the rounding of a gradient next to nothing."""
GAUSSIAN = {**VAE, "likelihood": "gaussian", "optimizer": "muon", "steps": 4}
"""Few steps: orthogonalising enlarges the rounding of directions in which a gradient is next to nothing."""
GAN = {**COMMON, "d_warmup_steps": 2, "gp_interval": 2, "augment": "color,translation,cutout", "seed": 5}
GAN |= {"lr_g": 1e-4, "lr_d": 1e-4, "recon_fraction": 0.0, "d_recon_weight": 0.0}
"""Low rates: a game of two enlarges rounding from step to step, by the reconstruction losses most of all. And a seed
with which rounding moves no unit across 0, where its slope changes: one such unit changes a penalty by a thousandth.
"""
RECONSTRUCTED = {**GAN, "recon_fraction": 0.5, "d_recon_weight": 5.0, "steps": 4}
COLLAPSED = {**RECONSTRUCTED, "steps": 5, "evaluate_every": 1, "log_every": 1}


def collectives(dist_ctx):
    """Results of every collective on this rank."""
    tensors = [torch.full((2, 3), dist_ctx.rank + 1.0), torch.tensor(10.0 * dist_ctx.rank)]
    dist_ctx.all_reduce_sum_(tensors)
    received = dist_ctx.broadcast({"from": dist_ctx.rank, "message": "Zoë"})
    any_rank = [dist_ctx.any_rank(False), dist_ctx.any_rank(dist_ctx.rank == 1)]
    rows = dist_ctx.local_slice(7)
    failures = []
    for failing in (0, 1):

        def fail(failing=failing):
            if dist_ctx.rank == failing:
                raise VaeganError("the reason")

        try:
            dist_ctx.run_on_all_ranks(fail)
        except VaeganError as error:
            failures.append([isinstance(error, PeerProcessFailed), str(error)])
    return {
        "sums": [tensors[0].tolist(), float(tensors[1])],
        "broadcast": received,
        "any_rank": any_rank,
        "from_main": dist_ctx.run_on_main(lambda: {"rank": dist_ctx.rank}),
        "rows": [rows.start, rows.stop],
        "failures": failures,
    }


def interrupted(dist_ctx, data, vae, run):
    """Let the second process alone be events to stop at its sixth step; return where this one stopped."""
    step = GANTrainer.step

    def stopping(self, pictures, number, class_ids=None):
        if dist_ctx.rank == 1 and number == 5:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)  # as torchrun passes on what the terminal has already sent
        return step(self, pictures, number, class_ids)

    GANTrainer.step = stopping
    try:
        train_gan(data, run, from_vae=vae, steps=12, **GAN)
    except Interrupted as error:
        return str(error)
    finally:
        GANTrainer.step = step


def skipping(dist_ctx, data, run):
    """Let one process's loss alone be infinite in one step; every process must leave that step out."""
    events, calls, name = [], [], VAESettings().likelihood
    likelihood = losses.LIKELIHOODS[name]

    def spoiled(pictures, decoded, mean=None):
        calls.append(1)
        scale = float("inf") if dist_ctx.rank == 1 and len(calls) == 2 else 1.0
        return likelihood(pictures, decoded) * scale

    losses.LIKELIHOODS[name] = spoiled
    train_vae(data, run, steps=4, on_event=events.append, sample_every=4, **VAE)
    losses.LIKELIHOODS[name] = likelihood
    return [event.step for event in events if isinstance(event, SkippedStep)]


def one_normal():
    """Keep N(0, I) for a prior: a draw at the border of two components makes another picture of the same weights."""
    return mock.patch("vaegan.models.latent_whitening.fit_mixture", lambda latents, seed: None)


def everything(data, vae, out):
    with init_distributed() as dist_ctx, one_normal():
        results = collectives(dist_ctx)
        train_vae(data, out / "vae", steps=20, **VAE)
        train_vae(data, out / "gaussian", **GAUSSIAN)
        train_gan(data, out / "gan", from_vae=out / "vae", steps=12, **GAN)
        train_gan(data, out / "recon_fraction", from_vae=out / "vae", **RECONSTRUCTED)
        with collapsing(4, 0.5):
            train_gan(data, out / "collapsed", from_vae=out / "vae", **COLLAPSED)
        results["interrupted"] = interrupted(dist_ctx, data, out / "vae", out / "parts")
        results["skipped"] = skipping(dist_ctx, data, out / "skipped")
        results["misuse"] = main(["train-vae", str(data), "--run", str(vae), "--beta", "7"])
        results["status"] = main(["train-vae", str(data), "--run", str(vae)])
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    results["threads"] = [name for name in names if "gloo" in name]
    (out / f"rank-{dist_ctx.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    everything(*map(Path, sys.argv[1:]))
