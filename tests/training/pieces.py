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
def interrupted_after(step, number=signal.SIGINT):
    """Send a signal while step `step` is taken, and expect that it is saved and said."""
    taken = TrainLoop._take_step

    def stopped(session, begun):
        done = taken(session, begun)
        if done == step:
            os.kill(os.getpid(), number)
        return done

    with mock.patch.object(TrainLoop, "_take_step", stopped), pytest.raises(Interrupted, match=f"step {step}; saved"):
        yield


@contextmanager
def judged(score):
    """Let looks at a GAN's samples find what score(step, rate_scale) says instead of looking."""
    taken = GANTrainer.step

    def step(self, pictures, number):
        self.taken = number + 1
        return taken(self, pictures, number)

    def samples(self, count):
        return torch.tensor([getattr(self, "taken", 0), self.rate_scale])

    def look(self, samples):
        return score(*samples.tolist())

    with (
        mock.patch.object(GANTrainer, "step", step),
        mock.patch.object(GANTrainer, "generate_samples", samples),
        mock.patch.object(QuickEvaluator, "evaluate", look),
    ):
        yield


def collapsing(after, until, best=2):
    """Scores of a run that is best at step `best`, and collapses from step `after` while its rates are over `until`."""

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

    return judged(score)


def trainer_of(kind, prepared, vae_run, loss="relativistic"):
    if kind == "vae":
        return lambda run, **more: train_vae(prepared, run, **{**VAE, **more})
    options = {"from_vae": vae_run, "d_warmup_steps": 1, "gp_interval": 2, "augment": "color,translation", "loss": loss}
    return lambda run, **more: train_gan(prepared, run, **{**COMMON, **options, **more})
