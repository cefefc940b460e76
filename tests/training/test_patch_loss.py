"""The patch loss in the generator's step."""

import pytest
import torch

from vaegan import train_gan
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings
from vaegan.data.dataset import open_dataset
from vaegan.losses.patches import match_by_rank
from vaegan.metrics_log import read_metrics
from vaegan.run_dir import RunDir
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.utils.files import read_json, write_json

CPU = DeviceContext(torch.device("cpu"), "fp32")
COMMON = {"preset": "tiny", "steps": 2, "batch_size": 8, "log_every": 1, "evaluate_every": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def images(prepared):
    return open_dataset(prepared).load()[0]


def gan_trainer(**options):
    settings = GANSettings(preset="tiny", batch_size=16, gamma=0.0, augment="color,translation", **options)
    return GANTrainer(ModelConfig(32, 3, 8, 8), settings, CPU, None)


def generator_gradient(trainer, batch, patch_filters):
    trainer.generator.zero_grad()
    metrics = trainer.objective.generator_backward(batch, 1.0, 0.0, patch_filters)
    return torch.cat([parameter.grad.flatten() for parameter in trainer.generator.parameters()]), metrics


def test_the_generators_gradient_has_that_of_the_distance_of_augmented_images(images):
    trainer = gan_trainer(patch_weight=3.0)
    batch = trainer.batch_maker.make(images[:16], 0, 0.0)
    patch_filters = trainer.batch_maker.draw_patch_filters(0, 3, 32)
    with_patches, metrics = generator_gradient(trainer, batch, patch_filters)
    without, other_metrics = generator_gradient(trainer, batch, None)
    assert "patch_loss" not in other_metrics

    trainer.generator.zero_grad()
    fake = trainer.generator(trainer.objective.sample_latents(batch), batch.class_weights)
    responses = patch_filters.responses(trainer.batch_maker.augment(fake, batch.rand_fake))
    distance = (responses - match_by_rank(responses, patch_filters.responses(batch.real_aug)).detach()).abs().mean()
    (3.0 * distance).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in trainer.generator.parameters()])
    torch.testing.assert_close(metrics["patch_loss"], distance.detach())
    torch.testing.assert_close(with_patches - without, expected, rtol=1e-3, atol=1e-5)


def test_filters_differ_from_step_to_step_and_are_the_same_again(images):
    maker = gan_trainer().batch_maker
    first, again, next_ = (maker.draw_patch_filters(step, 3, 32) for step in (5, 5, 6))
    assert torch.equal(first.weights, again.weights) and first.offset == again.offset
    assert not torch.equal(first.weights, next_.weights)
    assert gan_trainer(patch_weight=0.0).batch_maker.draw_patch_filters(5, 3, 32) is None


def test_the_distance_is_logged_and_falls(prepared, tmp_path):
    train_gan(prepared, tmp_path / "on", **COMMON | {"steps": 60, "lr_g": 2e-3})
    losses = [line["patch_loss"] for line in read_metrics(tmp_path / "on") if "patch_loss" in line]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    train_gan(prepared, tmp_path / "off", patch_weight=0, **COMMON)
    assert not any("patch_loss" in line for line in read_metrics(tmp_path / "off"))


def test_a_run_of_before_the_option_goes_on_without_the_loss(prepared, tmp_path):
    run = train_gan(prepared, tmp_path / "run", patch_weight=0, **COMMON)
    config = read_json(run / "config.json")
    del config["options"]["patch_weight"]
    write_json(run / "config.json", config)
    assert RunDir(run).read_config()["options"]["patch_weight"] == 0
    train_gan(prepared, run, **COMMON | {"steps": 4})
    lines = list(read_metrics(run))
    assert lines[-1]["step"] == 4 and not any("patch_loss" in line for line in lines)
