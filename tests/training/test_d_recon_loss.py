"""The discriminator's reconstruction loss: its features keep what is in a real image."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import avg_pool2d

from vaegan import train_gan
from vaegan.checkpoint import read_checkpoint, read_weights_info, strip_prefix
from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import D_RECON_WEIGHT, GANSettings
from vaegan.data.dataset import open_dataset
from vaegan.errors import VaeganError
from vaegan.models.discriminator import FEATURE_DECODER_PREFIX, RECONSTRUCTION_SIZE, Discriminator
from vaegan.run_dir import RunDir
from vaegan.training.gan_trainer import FINE_RECON_ERROR, ROUGH_RECON_ERROR, GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.start import load_vae
from vaegan.utils.images import to_float

CPU = DeviceContext(torch.device("cpu"), "fp32")
COMMON = {"preset": "tiny", "steps": 1, "batch_size": 8, "evaluate_every": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def images(prepared):
    return open_dataset(prepared).load()[0]


def gan_trainer(images, size=32, **options):
    settings = GANSettings(preset="tiny", batch_size=16, gamma=0.0, **options)
    return GANTrainer(ModelConfig(size, 3, 8, 8), settings, CPU, None, train_val_images=(images, images[:8]))


def discriminator_loss(trainer, images):
    batch = trainer.batch_maker.make(images[:16], 0, 0.0)
    fake = torch.zeros_like(batch.real)
    return batch, *trainer.objective.discriminator_loss(batch, fake, gamma=0.0)


@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("channels", [1, 3])
def test_features_decode_to_small_images(size, channels):
    discriminator = Discriminator(ModelConfig(size, channels, 8, 4), reconstructs=True)
    features = discriminator.trunk(torch.zeros(2, channels, size, size))
    assert discriminator.feature_decoder(features).shape == (2, channels, RECONSTRUCTION_SIZE, RECONSTRUCTION_SIZE)


@pytest.mark.parametrize("size", [32, 64])
def test_the_loss_is_the_error_of_small_augmented_real_images(images, size):
    images = torch.nn.functional.interpolate(images[:16].float(), size=size).byte()
    trainer = gan_trainer(images, size, d_recon_weight=3.0, augment="color,translation")
    output_layer = trainer.discriminator.feature_decoder.output_layer
    with torch.no_grad():
        output_layer.weight.zero_()
        output_layer.bias.copy_(torch.tensor([0.5, 0.0, -0.5]))
    batch, loss, metrics = discriminator_loss(trainer, images)
    expected = (avg_pool2d(batch.real_aug, size // 32) - output_layer.bias.view(3, 1, 1)).abs().mean()
    torch.testing.assert_close(metrics["d_recon_loss"], expected.detach())
    torch.testing.assert_close(loss, metrics["loss_d"] + 3 * expected)


def test_features_learn_to_reconstruct(images):
    """Without the loss the trunk gets other gradients, and there is no decoder."""
    trainer = gan_trainer(images, d_recon_weight=5.0, lr_d=2e-3)
    losses = [float(trainer.step(images[:16], step)["d_recon_loss"]) for step in range(40)]
    assert losses[-1] < 0.7 * losses[0]
    off = gan_trainer(images, d_recon_weight=0.0)
    assert off.discriminator.feature_decoder is None and "d_recon_loss" not in off.step(images[:16], 0)


def test_the_loss_trains_the_trunk_but_not_the_generator(images):
    gradients = {}
    for weight in (0.0, 5.0):
        trainer = gan_trainer(images, d_recon_weight=weight)
        discriminator_loss(trainer, images)[1].backward()
        gradients[weight] = trainer.discriminator.trunk.layers[0].weight.grad
        assert all(parameter.grad is None for parameter in trainer.generator.parameters())
    assert not torch.allclose(gradients[0.0], gradients[5.0])


def test_the_weight_is_less_where_the_vae_reconstructs_well(images, vae_run):
    vae = load_vae(read_weights_info(vae_run))
    config = dataclasses.replace(vae.config, prior="normal", num_components=1, local_dim=0)
    real = to_float(images[:64])
    with torch.no_grad():
        error = float((vae.reconstruct(real) - real).square().mean())

    def weight(train_images, **options):
        settings = GANSettings(preset="tiny", batch_size=16, **options)
        trainer = GANTrainer(config, settings, CPU, vae, train_val_images=(train_images, images[:8]))
        return trainer, trainer.objective.d_recon_weight

    assert error > ROUGH_RECON_ERROR  # a VAE of few steps
    assert (
        weight(images[:64])[1]
        == D_RECON_WEIGHT
        == GANSettings().with_start_defaults(True, True, True, True).d_recon_weight
    )
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.zero_()
    # the decoder draws gray images: 127.5
    trainer, half = weight(torch.full_like(images[:64], 127 - 15), d_recon_weight=3.0)
    error = ((127.5 - 112) / 127.5) ** 2
    assert half == pytest.approx(3 * (error - FINE_RECON_ERROR) / (ROUGH_RECON_ERROR - FINE_RECON_ERROR), rel=1e-3)
    off, none = weight(torch.full_like(images[:64], 127 - 6), d_recon_weight=3.0)
    assert none == 0 and "d_recon_loss" not in off.step(images[:16], 0)
    assert off.discriminator.feature_decoder is None
    resumed, _ = weight(images[:64], d_recon_weight=3.0)  # a resumed run does not have the VAE to measure
    resumed.load_state_dict(off.state_dict(), Path("checkpoint"))
    assert resumed.discriminator.feature_decoder is None and resumed.objective.d_recon_weight == 0
    assert resumed.step(images[:16], 1).keys() == off.step(images[:16], 1).keys()
    for name, tensor in off.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)
    restored, _ = weight(images[:64], d_recon_weight=3.0)
    restored.load_state_dict(trainer.state_dict(), Path("checkpoint"))
    assert restored.objective.d_recon_weight == half
    damaged = {name: tensor for name, tensor in trainer.state_dict().items() if name != "adapted.d_recon_weight"}
    with pytest.raises(VaeganError, match=r"checkpoint is damaged: 'adapted\.d_recon_weight' is missing"):
        restored.load_state_dict(damaged, Path("checkpoint"))


def test_from_scratch_there_is_no_such_loss_by_default(images):
    assert gan_trainer(images).discriminator.feature_decoder is None


def discriminator_of(run):
    return strip_prefix(read_checkpoint(RunDir(run).checkpoint_path(1)).tensors, "discriminator")


@pytest.mark.parametrize(("old", "new"), [(5.0, 5.0), (5.0, 0.0), (0.0, 5.0)])
def test_a_gan_starts_from_one_with_or_without_the_loss(prepared, tmp_path, old, new):
    train_gan(prepared, tmp_path / "old", d_recon_weight=old, latent_dim=8, **COMMON)
    still = {"lr_g": 1e-9, "lr_d": 1e-9}
    train_gan(prepared, tmp_path / "new", from_gan=tmp_path / "old", d_recon_weight=new, **still, **COMMON)
    before, after = (discriminator_of(tmp_path / name) for name in ("old", "new"))
    decoders = [{name for name in tensors if name.startswith(FEATURE_DECODER_PREFIX)} for tensors in (before, after)]
    assert [bool(names) for names in decoders] == [old > 0, new > 0]
    for name in before.keys() & after.keys():
        torch.testing.assert_close(before[name], after[name], atol=1e-6, rtol=0)
