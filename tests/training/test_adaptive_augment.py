"""ADA: the augmentation probability follows the discriminator's overfitting; and the GAN's schedules."""

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
from vaegan.training.augment import ADA_IMAGES, ADA_INTERVAL, ADA_LOGIT_NAMES, MIN_LOGIT_MARGIN, AdaptiveAugment
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.train import train_gan

AUGMENT = ("--augment", "color,translation")
CPU = DeviceContext(torch.device("cpu"), "fp32")


def update(ada, logit_train, logit_val, margin, times=1, batch_size=100):
    values = {"logit_train": logit_train, "logit_val": logit_val, "d_logit_margin": margin, "loss_d": 0.5}
    for _ in range(times):
        logged = ada.update({name: torch.tensor(value) for name, value in values.items()}, batch_size)
    return logged


def test_the_probability_rises_while_validation_images_look_generated_and_falls_again():
    ada = AdaptiveAugment(0.3)
    logged = update(ada, 1.0, 0.2, 1.0)  # r_v = 0.8
    assert ada.augment_p == pytest.approx(ADA_INTERVAL * 100 / ADA_IMAGES)
    assert logged.keys() == {"d_logit_margin", "loss_d", "augment_p"}
    update(ada, 1.0, 0.2, 1.0, times=200)
    assert ada.augment_p == 1.0
    update(ada, 1.0, 0.9, 1.0, times=20)
    assert 0.5 < ada.augment_p < 1.0
    update(ada, 1.0, 0.9, 1.0, times=200)
    assert ada.augment_p == 0.0


def test_a_discriminator_that_separates_nothing_does_not_overfit():
    ada = AdaptiveAugment(0.5)
    update(ada, 0.1, 0.0, 0.1)  # r_v = 1, but from a tiny margin
    assert MIN_LOGIT_MARGIN * 0.5 > 0.1 and ada.augment_p == 0.0


def test_only_differences_of_logits_count():
    probabilities = []
    for offset in (0.0, 40.0):
        ada = AdaptiveAugment(0.3)
        update(ada, offset + 1.0, offset + 0.5, 1.0)
        probabilities.append(ada.augment_p)
    assert probabilities[0] == probabilities[1] > 0


def test_steps_without_validation_logits_log_the_unchanged_probability():
    ada = AdaptiveAugment(0.3, augment_p=0.25)
    logged = ada.update({"d_logit_margin": torch.tensor(1.0)}, 100)
    assert float(logged["augment_p"]) == ada.augment_p == 0.25


def test_its_state_is_saved_and_loaded():
    ada, other = AdaptiveAugment(0.3), AdaptiveAugment(0.3)
    update(ada, 1.0, 0.2, 1.0, times=3)
    other.load_state_dict(ada.state_dict())
    assert other == ada
    other.load_state_dict({})
    assert other == AdaptiveAugment(0.3)


def test_an_interrupted_run_is_the_same_and_logs_the_probability(prepared, vae_run, tmp_path, monkeypatch):
    adapt = AdaptiveAugment._adapt
    monkeypatch.setattr(AdaptiveAugment, "_adapt", lambda self, gap, *more: adapt(self, gap + 100, *more))  # overfits
    monkeypatch.setattr("vaegan.training.augment.ADA_IMAGES", 200)
    train = trainer_of("gan", prepared, vae_run)
    options = {"steps": 20, "checkpoint_every": 6, "ada_target": 0.3, "evaluate_every": 0}
    train(tmp_path / "whole", **options)
    for stop in (7, 9, 17):
        with interrupted_after(stop):
            train(tmp_path / "parts", **options)
    train(tmp_path / "parts", **options)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    probabilities = [line["augment_p"] for line in lines if "augment_p" in line]
    assert probabilities == [0.32] * 8 + [0.64] * 8 + [0.96] * 4
    assert not any(name in line for line in lines for name in ADA_LOGIT_NAMES)


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_micro_batches_adapt_as_the_whole_batch(probability, prepared):
    config = ModelConfig(32, 3, 8, 16)
    settings = GANSettings(batch_size=8, augment="color,translation", ada_target=0.3, gp_interval=1)
    train_val, results = open_dataset(prepared).load(), []
    for num_micro_batches in (1, 4):
        accumulator = GradientAccumulator()
        trainer = GANTrainer(config, settings, CPU, None, accumulator, train_val)
        trainer.adaptive_augment.augment_p, accumulator.num_micro_batches = probability, num_micro_batches
        metrics = trainer.step(train_val[0][:8], ADA_INTERVAL)
        ada, losses = trainer.adaptive_augment, [float(metrics[name]) for name in ("loss_d", "loss_g")]
        assert ada.total_weight == 1 and (ada.augment_p != probability or probability == 0)
        results.append((ada.train_val_gap, ada.real_fake_margin, *losses))
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-5) and results[0][0] != 0


def test_it_needs_augmentations_and_validation_images(prepared, drawn, here, capsys):
    arguments = ["train-gan", str(prepared), "--run", "gan", "--preset", "tiny", "--steps", "1", "-q"]
    assert main([*arguments, "--ada-target", "0.3"]) == 2
    assert "--ada-target 0.3 adapts augmentations, and there are none: add --augment" in capsys.readouterr().err
    assert main([*arguments, *AUGMENT, "--ada-target", "0"]) == 2
    assert "--ada-target 0" in capsys.readouterr().err
    assert main(["preprocess", str(drawn), "--out", "all", "--size", "32", "--val-fraction", "0", "-q"]) == 0
    arguments[1] = "all"
    assert main([*arguments, *AUGMENT, "--ada-target", "0.3"]) == 1
    assert "needs validation images: prepare the dataset with --val-fraction" in capsys.readouterr().err
    assert not (here / "gan").exists() or not (here / "gan" / "config.json").exists()


def test_schedules_of_the_gan_do_not_depend_on_the_length_of_the_run(prepared, tmp_path):
    options = {**COMMON, "preset": "tiny", "latent_dim": 8, "gp_interval": 1, "evaluate_every": 0}
    options |= {"lr_decay_start": 16, "gamma": 4.0, "gamma_final": 0.5, "gamma_anneal_images": 24}
    options |= {"checkpoint_every": 2, "sample_every": 2}
    train_gan(prepared, tmp_path / "whole", steps=4, **options)
    train_gan(prepared, tmp_path / "parts", steps=2, **options)
    train_gan(prepared, tmp_path / "parts", steps=4)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_gamma_and_learning_rates_follow_their_schedules(prepared):
    settings = GANSettings(
        batch_size=8, gamma=4.0, gamma_final=1.0, gamma_anneal_images=100, lr_decay_start=8, lr_g=1e-3, lr_d=2e-3
    )
    trainer = GANTrainer(ModelConfig(32, 3, 8, 16), settings, CPU, None)
    gammas = [trainer._current_gamma(images_seen) for images_seen in (0, 50, 100, 900)]
    assert gammas == pytest.approx([4.0, 2.5, 1.0, 1.0])
    trainer.step(open_dataset(prepared).load()[0][:8], 3)  # 32 images seen
    rates = [optimizer.param_groups[0]["lr"] for optimizer in (trainer.optimizer_g, trainer.optimizer_d)]
    assert rates == pytest.approx([5e-4, 1e-3])
