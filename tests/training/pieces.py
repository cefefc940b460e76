"""Runs of both trainers on tiny files, and interrupting them at a given step."""

import os
import signal
from contextlib import contextmanager
from unittest import mock

import pytest

from vaegan.errors import Interrupted
from vaegan.training.loop import Session
from vaegan.training.session import train_gan, train_vae

COMMON = {"batch_size": 8, "log_every": 1, "precision": "fp32", "device": "cpu"}
VAE = {**COMMON, "preset": "tiny", "latent_dim": 8}


@contextmanager
def interrupted_after(step, number=signal.SIGINT):
    """Send a signal while step `step` is taken, and expect that it is saved and said."""
    taken = Session._step

    def stopped(session, begun):
        done = taken(session, begun)
        if done == step:
            os.kill(os.getpid(), number)
        return done

    with mock.patch.object(Session, "_step", stopped), pytest.raises(Interrupted, match=f"step {step}; saved"):
        yield


def trainer_of(kind, prepared, vae_run, loss="relativistic"):
    if kind == "vae":
        return lambda run, **more: train_vae(prepared, run, **{**VAE, **more})
    options = {"from_vae": vae_run, "head_start": 1, "penalty_every": 2, "augment": "color,translation", "loss": loss}
    return lambda run, **more: train_gan(prepared, run, **{**COMMON, **options, **more})
