"""Runs of both trainers on tiny files, and interrupting them at a given step."""

import os
import signal
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from vaegan.errors import Interrupted
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.loop import TrainLoop
from vaegan.training.train import train_gan, train_vae
from vaegan.training.validation import QuickEvaluator

COMMON = {"batch_size": 8, "log_every": 1, "precision": "fp32", "device": "cpu"}
VAE = {**COMMON, "preset": "tiny", "latent_dim": 8}


@contextmanager
def interrupted_after(step, signum=signal.SIGINT):
    """Send a signal while step `step` is taken, and expect that the state is saved and reported."""
    original = TrainLoop._take_step

    def take_step(loop):
        original(loop)
        if loop.steps_done == step:
            os.kill(os.getpid(), signum)

    with mock.patch.object(TrainLoop, "_take_step", take_step), pytest.raises(Interrupted, match=f"step {step}; saved"):
        yield


@contextmanager
def evaluated_as(score):
    """Let the evaluation of a GAN's samples return score(step, lr_scale) instead of metrics of samples."""
    original = GANTrainer.step

    def step(self, images, step):
        self.test_steps_done = step + 1
        return original(self, images, step)

    def generate_samples(self, count):
        return torch.tensor([getattr(self, "test_steps_done", 0), self.lr_scale])

    def evaluate(self, samples):
        return score(*samples.tolist())

    with (
        mock.patch.object(GANTrainer, "step", step),
        mock.patch.object(GANTrainer, "generate_samples", generate_samples),
        mock.patch.object(QuickEvaluator, "evaluate", evaluate),
    ):
        yield


def collapsing(after, until, best=2):
    """Evaluations of a run with its best KID at `best`, and mode collapse from step `after` while lr_scale > `until`."""

    def score(step, scale):
        coverage = 0.1 if step >= after and scale > until else 0.8
        kid = 0.1 if step == best else 0.5
        return {
            "kid": kid,
            "kid_stderr": 0.01,
            "coverage": coverage,
            "effective_rank_ratio": 0.9,
            "duplicate_fraction": 0.01,
        }

    return evaluated_as(score)


def trainer_of(kind, prepared, vae_run, loss="relativistic"):
    if kind == "vae":
        return lambda run, **more: train_vae(prepared, run, **{**VAE, **more})
    options = {"from_vae": vae_run, "d_warmup_steps": 1, "gp_interval": 2, "augment": "color,translation", "loss": loss}
    return lambda run, **more: train_gan(prepared, run, **{**COMMON, **options, **more})
