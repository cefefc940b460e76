"""Runs of both trainers on tiny datasets, and interrupting them at a given step."""

import os
import signal
from contextlib import contextmanager
from unittest import mock

import pytest
import torch

from comparing import assert_same_run
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
def quick_evaluation(score):
    """Replace the quick evaluations of a GAN's samples by score(step, lr_scale)."""
    usual_step = GANTrainer.step

    def step(self, images, number, *class_ids):
        self.last_step = number + 1
        return usual_step(self, images, number, *class_ids)

    def generate_samples(self, count):
        return torch.tensor([getattr(self, "last_step", 0), self.lr_scale])

    def evaluate(self, samples):
        return score(*samples.tolist())

    with (
        mock.patch.object(GANTrainer, "step", step),
        mock.patch.object(GANTrainer, "generate_samples", generate_samples),
        mock.patch.object(QuickEvaluator, "evaluate", evaluate),
    ):
        yield


def collapsing(after, until, best=2):
    """Evaluate as best at step `best`, and as collapsed from step `after` while the lr_scale is over `until`."""

    def score(step, lr_scale):
        return {
            "kid": 0.1 if step == best else 0.5,
            "kid_stderr": 0.01,
            "coverage": 0.1 if step >= after and lr_scale > until else 0.8,
            "effective_rank_ratio": 0.9,
            "duplicate_fraction": 0.01,
        }

    return quick_evaluation(score)


def trainer_of(kind, prepared, vae_run, loss="relativistic"):
    """Return train(run, **options) for a VAE, or for a GAN from that VAE."""
    if kind == "vae":
        return lambda run, **more: train_vae(prepared, run, **{**VAE, **more})
    options = {"from_vae": vae_run, "d_warmup_steps": 1, "gp_interval": 2, "augment": "color,translation", "loss": loss}
    return lambda run, **more: train_gan(prepared, run, **{**COMMON, **options, **more})


def assert_resumes_to_the_bit(train, tmp_path):
    """A run of four steps that is interrupted after the third and resumed ends as one that is not."""
    options = {"steps": 4, "checkpoint_every": 2, "sample_every": 2, "evaluate_every": 0}
    train(tmp_path / "whole", **options)
    with interrupted_after(3):
        train(tmp_path / "parts", **options)
    train(tmp_path / "parts", **options)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
