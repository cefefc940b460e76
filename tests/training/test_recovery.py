"""Steps whose numbers are not finite are left out, counted, gone back from, and in the end given up."""

import json
from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from pieces import interrupted_after, trainer_of

from comparing import assert_same_run, contents
from vaegan.config.settings import VAESettings
from vaegan.errors import VaeganError
from vaegan.events import Rollback, SkippedStep
from vaegan.losses.gan import LOSSES, AdversarialLoss
from vaegan.losses.vae import LIKELIHOODS
from vaegan.progress.text import describe_event
from vaegan.training import gan_trainer, vae_trainer
from vaegan.training.loop import TrainLoop
from vaegan.training.recovery import MAX_CONSECUTIVE_SKIPS, RecoveryState

LIKELIHOOD = VAESettings().likelihood
PLAN = {"steps": 20, "checkpoint_every": 4, "sample_every": 20, "log_every": 4}


@contextmanager
def spoiled(kind, bad):
    """Make the loss infinite in the steps (from 0) for which bad(step, lr_scale) holds."""
    trainer, now = (vae_trainer.VAETrainer if kind == "vae" else gan_trainer.GANTrainer), {"bad": False}
    original, likelihood, loss = trainer.step, LIKELIHOODS[LIKELIHOOD], LOSSES["relativistic"]

    def step(self, images, step, class_ids=None):
        now["bad"] = bad(step, self.lr_scale)
        return original(self, images, step, class_ids)

    def worse(value):
        return value * float("inf") if now["bad"] else value

    losses = AdversarialLoss(loss.discriminator_loss, lambda *on: worse(loss.generator_loss(*on)), True, "")
    with (
        mock.patch.object(trainer, "step", step),
        mock.patch.dict(LIKELIHOODS, {LIKELIHOOD: lambda *on: worse(likelihood(*on))}),
        mock.patch.dict(LOSSES, relativistic=losses),
    ):
        yield


def weights(run, step):
    files = contents(run)
    return files[f"checkpoints/step-{step:07d}/model.safetensors"]


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_one_bad_step_is_skipped_counted_and_reported(kind, prepared, vae_run, tmp_path):
    events = []
    train = trainer_of(kind, prepared, vae_run)
    with spoiled(kind, lambda step, scale: step == 5):
        run = train(tmp_path / "run", **PLAN, on_event=events.append)
    assert [event for event in events if isinstance(event, SkippedStep)] == [SkippedStep(6, 1)]
    assert describe_event(SkippedStep(6, 1)) == "warning: step 6 skipped, its gradients are not finite (1 so far)"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counts = [line.get("skipped_steps", 0) for line in lines if "images_per_second" in line]
    assert counts == [0, 1, 1, 1, 1]
    assert all(torch.isfinite(torch.tensor(value)) for line in lines for value in line.values())


def rollback_texts(events):
    return [event.text for event in events if isinstance(event, Rollback)]


@pytest.mark.parametrize("kind", ["vae", "gan"])
def test_bad_steps_in_a_row_roll_back_with_half_the_rate_and_interrupted_it_is_the_same_run(
    kind, prepared, vae_run, tmp_path
):
    """From step 9 on nothing is finite until the learning rate is halved twice."""

    def bad(step, scale):
        return step >= 9 and scale > 0.25

    train, events = trainer_of(kind, prepared, vae_run), []
    with spoiled(kind, bad):
        train(tmp_path / "whole", **PLAN, on_event=events.append)
        (before, again) = rollback_texts(events)
        assert "rolls back to step 8 with half the previous learning rate (rollback 1 of 3)" in before
        assert "(rollback 2 of 3)" in again
        for stop in (3, 11, 16):  # the second one amid the streak
            with interrupted_after(stop):
                train(tmp_path / "parts", **PLAN)
        train(tmp_path / "parts", **PLAN)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "images_per_second" in line] == [4, 8, 12, 16, 20]
    assert [(line["step"], line["rollbacks"]) for line in lines if "alarm" in line] == [(8, 1), (8, 2)]
    measured = [line["step"] for line in lines if not line.keys() & {"images_per_second", "alarm"}]
    assert measured == [0, 0, 20, 20] if kind == "vae" else [0, 20]  # the VAE's losses and both kinds' samples


def test_a_rollback_restores_the_checkpoint(prepared, vae_run, tmp_path):
    train = trainer_of("vae", prepared, vae_run)
    seen = []

    def spy(self, path):
        seen.append(path.name)
        return restore(self, path)

    restore = TrainLoop.load_checkpoint
    with (
        mock.patch.object(TrainLoop, "load_checkpoint", spy),
        spoiled("vae", lambda step, scale: step >= 9 and scale == 1),
    ):
        train(tmp_path / "run", **PLAN, keep_checkpoints=9)
    assert seen == ["step-0000008"]
    kept = [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())]
    assert kept == [f"step-{step:07d}" for step in (4, 8, 12, 16, 20)]


def test_without_a_checkpoint_it_goes_on_with_half_the_rate(prepared, vae_run, tmp_path):
    events = []
    with spoiled("vae", lambda step, scale: scale == 1):
        plan = PLAN | {"checkpoint_every": 20}
        trainer_of("vae", prepared, vae_run)(tmp_path / "run", **plan, on_event=events.append)
    (text,) = rollback_texts(events)
    assert f"{MAX_CONSECUTIVE_SKIPS} steps in a row" in text and "continues here, as there is no checkpoint" in text


@pytest.mark.parametrize(("kind", "flag"), [("vae", "--lr"), ("gan", "--lr-g, --lr-d")])
def test_what_never_becomes_finite_stops_with_a_clear_error_and_a_valid_checkpoint(
    kind, flag, prepared, vae_run, tmp_path
):
    train = trainer_of(kind, prepared, vae_run)
    train(tmp_path / "run", **PLAN | {"steps": 4})
    good = weights(tmp_path / "run", 4)
    with (
        spoiled(kind, lambda step, scale: True),
        pytest.raises(
            VaeganError, match=rf"not finite at step \d+, and 3 rollbacks.*lower learning rate \({flag}\)"
        ) as caught,
    ):
        train(tmp_path / "run", **PLAN | {"steps": 99})
    assert "\n" not in str(caught.value)
    assert weights(tmp_path / "run", 4) == good


def test_the_guards_counts_survive_a_checkpoint():
    guard = RecoveryState()
    assert guard.state_dict() == {}
    assert [guard.record_step(True) for _ in range(MAX_CONSECUTIVE_SKIPS)] == [False] * (MAX_CONSECUTIVE_SKIPS - 1) + [
        True
    ]
    guard.record_nan_rollback()
    guard.record_step(True)
    other = RecoveryState()
    other.load_state_dict(guard.state_dict())
    assert (other.skipped_steps, other.consecutive_skips, other.nan_rollbacks, other.lr_scale) == (
        MAX_CONSECUTIVE_SKIPS + 1,
        1,
        1,
        0.5,
    )
    other.load_state_dict({})
    assert other == RecoveryState()
