"""Augmentation as often as the discriminator's overfitting asks for."""

import json

import pytest
import torch
from pieces import COMMON, interrupted_after, trainer_of

from comparing import assert_same_run
from vaegan.cli import main
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings
from vaegan.data.dataset import open_dataset
from vaegan.training.accumulation import GradientAccumulator
from vaegan.training.adaptive_augment import ADA_IMAGES, ADA_INTERVAL, MIN_LOGIT_MARGIN, AdaptiveAugment
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext

AUGMENT = ("--augment", "color,translation")


def heard(adaptive, on_train, on_held_out, margin, times=1, batch=100):
    values = {"on_train": on_train, "on_held_out": on_held_out, "d_logit_margin": margin, "loss_d": 0.5}
    for _ in range(times):
        logged = adaptive.update({name: torch.tensor(value) for name, value in values.items()}, batch)
    return logged


def test_the_share_rises_while_held_out_faces_look_generated_and_falls_again():
    adaptive = AdaptiveAugment(0.3)
    logged = heard(adaptive, 1.0, 0.2, 1.0)  # held-out faces 0.8 of the way
    assert adaptive.augment_p == pytest.approx(ADA_INTERVAL * 100 / ADA_IMAGES)
    assert logged.keys() == {"d_logit_margin", "loss_d", "augment_p"}
    heard(adaptive, 1.0, 0.2, 1.0, times=200)
    assert adaptive.augment_p == 1.0
    heard(adaptive, 1.0, 0.9, 1.0, times=20)
    assert 0.5 < adaptive.augment_p < 1.0
    heard(adaptive, 1.0, 0.9, 1.0, times=200)
    assert adaptive.augment_p == 0.0


def test_a_discriminator_that_tells_nothing_apart_does_not_overfit():
    adaptive = AdaptiveAugment(0.5)
    heard(adaptive, 0.1, 0.0, 0.1)  # all the way to generated ones, of a way of no length
    assert MIN_LOGIT_MARGIN * 0.5 > 0.1 and adaptive.augment_p == 0.0


def test_the_level_of_the_logits_means_nothing():
    shares = []
    for level in (0.0, 40.0):
        adaptive = AdaptiveAugment(0.3)
        heard(adaptive, level + 1.0, level + 0.5, 1.0)
        shares.append(adaptive.augment_p)
    assert shares[0] == shares[1] > 0


def test_steps_that_do_not_look_keep_the_share_and_say_it():
    adaptive = AdaptiveAugment(0.3, augment_p=0.25)
    logged = adaptive.update({"d_logit_margin": torch.tensor(1.0)}, 100)
    assert float(logged["augment_p"]) == adaptive.augment_p == 0.25


def test_what_it_follows_from_is_kept():
    adaptive, other = AdaptiveAugment(0.3), AdaptiveAugment(0.3)
    heard(adaptive, 1.0, 0.2, 1.0, times=3)
    other.load_state_dict(adaptive.state_dict())
    assert other == adaptive
    other.load_state_dict({})
    assert other == AdaptiveAugment(0.3)


def test_interrupted_it_is_the_same_run_and_the_share_is_in_the_metrics(prepared, vae_run, tmp_path, monkeypatch):
    take = AdaptiveAugment._adapt
    monkeypatch.setattr(AdaptiveAugment, "_adapt", lambda self, gap, *more: take(self, gap + 100, *more))  # it overfits
    monkeypatch.setattr("vaegan.training.adaptive_augment.ADA_IMAGES", 200)
    train = trainer_of("gan", prepared, vae_run)
    plan = {"steps": 20, "checkpoint_every": 6, "ada_target": 0.3, "evaluate_every": 0}
    train(tmp_path / "whole", **plan)
    for stop in (7, 9, 17):
        with interrupted_after(stop):
            train(tmp_path / "parts", **plan)
    train(tmp_path / "parts", **plan)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    shares = [line["augment_p"] for line in lines if "augment_p" in line]
    assert shares == [0.32] * 8 + [0.64] * 8 + [0.96] * 4
    assert not any(name.startswith("on_") for line in lines for name in line)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_parts_of_a_batch_adapt_as_the_whole(share, prepared):
    config = ModelConfig(32, 3, 8, 16)
    settings = GANSettings(batch_size=8, augment="color,translation", ada_target=0.3, gp_interval=1)
    seen, found = open_dataset(prepared).load(), []
    for parts in (1, 4):
        shares = GradientAccumulator()
        trainer = GANTrainer(config, settings, DeviceContext(torch.device("cpu"), "fp32"), None, shares, seen)
        trainer.adaptive_augment.augment_p, shares.num_micro_batches = share, parts
        metrics = trainer.step(seen[0][:8], ADA_INTERVAL)
        adaptive, losses = trainer.adaptive_augment, [float(metrics[name]) for name in ("loss_d", "loss_g")]
        assert adaptive.total_weight == 1 and (adaptive.augment_p != share or share == 0)
        found.append((adaptive.train_val_gap, adaptive.real_fake_margin, *losses))
    assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5) and found[0][0] != 0


def test_it_needs_augmentations_and_held_out_faces(prepared, drawn, here, capsys):
    arguments = ["train-gan", str(prepared), "--run", "gan", "--preset", "tiny", "--steps", "1", "-q"]
    assert main([*arguments, "--ada-target", "0.3"]) == 2
    assert "--ada-target 0.3 adapts augmentations, and there are none: add --augment" in capsys.readouterr().err
    assert main([*arguments, *AUGMENT, "--ada-target", "0"]) == 2
    assert "--ada-target 0" in capsys.readouterr().err
    assert main(["preprocess", str(drawn), "--out", "all", "--size", "32", "--val-fraction", "0", "-q"]) == 0
    arguments[1] = "all"
    assert main([*arguments, *AUGMENT, "--ada-target", "0.3"]) == 1
    assert "needs held-out pictures: prepare the set with --val-fraction" in capsys.readouterr().err
    assert not (here / "gan").exists() or not (here / "gan" / "config.json").exists()


def test_schedules_of_the_gan_do_not_depend_on_the_runs_length(prepared, tmp_path):
    from vaegan.training.train import train_gan

    options = {**COMMON, "preset": "tiny", "latent_dim": 8, "gp_interval": 1, "evaluate_every": 0}
    options |= {
        "lr_decay_start": 16,
        "gamma": 4.0,
        "gamma_final": 0.5,
        "gamma_anneal_images": 24,
        "checkpoint_every": 2,
    }
    options |= {"sample_every": 2}
    train_gan(prepared, tmp_path / "whole", steps=4, **options)
    train_gan(prepared, tmp_path / "parts", steps=2, **options)
    train_gan(prepared, tmp_path / "parts", steps=4)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_gamma_and_rates_follow_their_schedules(prepared):
    settings = GANSettings(
        batch_size=8, gamma=4.0, gamma_final=1.0, gamma_anneal_images=100, lr_decay_start=8, lr_g=1e-3, lr_d=2e-3
    )
    trainer = GANTrainer(ModelConfig(32, 3, 8, 16), settings, DeviceContext(torch.device("cpu"), "fp32"), None)
    assert [trainer._current_gamma(images) for images in (0, 50, 100, 900)] == pytest.approx([4.0, 2.5, 1.0, 1.0])
    trainer.step(open_dataset(prepared).load()[0][:8], 3)  # 32 pictures then
    rates = [optimizer.param_groups[0]["lr"] for optimizer in (trainer.optimizer_g, trainer.optimizer_d)]
    assert rates == pytest.approx([5e-4, 1e-3])
