"""The reconstruction loss of a GAN from a VAE: encoded training images keep decoding to themselves."""

import pytest
import torch

from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.vae_trainer import VAETrainer

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture(scope="module")
def images(prepared):
    return open_dataset(prepared).load()[0]


@pytest.fixture(scope="module")
def vae(images):
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=16, lr=4e-3, lr_warmup=0)
    trainer = VAETrainer(CONFIG, settings, CPU, images, images[:0])
    for step in range(60):
        trainer.step(images[:32], step)
    return trainer.inference_model()


def gan_trainer(vae, images, **options):
    settings = GANSettings(preset="tiny", d_warmup_steps=2, batch_size=16, **options)
    return GANTrainer(CONFIG, settings, CPU, vae, train_val_images=(images, images[:32]))


def make_batch(trainer, images, step):
    return trainer.batch_maker.make(images[:16], step, trainer._recon_fraction(step, 16))


def test_encoded_images_still_decode_to_themselves(vae, images):
    """The loss is on features of the discriminator, but pixels stay closer too."""
    val_psnr = {}
    for recon_weight in (0.0, 100.0):
        trainer = gan_trainer(vae, images, recon_weight=recon_weight, lr_g=2e-3)
        val_psnr[recon_weight] = [trainer.validate()["val_psnr"]]
        for step in range(40):
            metrics = trainer.step(images[:32], step)
        assert ("recon_feature_loss" in metrics) == (recon_weight > 0)
        val_psnr[recon_weight].append(trainer.validate()["val_psnr"])
    assert val_psnr[0.0][0] == val_psnr[100.0][0]
    assert val_psnr[100.0][1] > val_psnr[0.0][1] + 0.5


def test_latents_of_recon_rows_are_posterior_samples_of_the_real_images(vae, images):
    trainer = gan_trainer(vae, images, recon_fraction=0.25, augment="color,translation,cutout", mirror=False)
    batch = make_batch(trainer, images, 0)
    assert batch.recon_rows.tolist() == [3, 7, 11, 15]
    micro_batch = batch[6:13]
    assert micro_batch.recon_rows.tolist() == [1, 5]
    latents, posterior = trainer.objective.sample_latents(micro_batch), trainer.encoder(micro_batch.real)
    samples = posterior.sample(micro_batch.noise)
    for row in range(7):
        torch.testing.assert_close(latents[row], samples[row] if row in (1, 5) else micro_batch.noise[row])
    # both images of a pair are augmented alike, so that their features can be compared
    augmented = trainer.batch_maker.augment(micro_batch.real, micro_batch.rand_fake)
    is_same = [bool(torch.equal(augmented[row], micro_batch.real_aug[row])) for row in range(7)]
    assert is_same == [row in (1, 5) for row in range(7)]


def test_a_small_fraction_reconstructs_one_row(vae, images):
    trainer = gan_trainer(vae, images, recon_fraction=0.01)
    assert make_batch(trainer, images, 0).recon_rows.tolist() == [15]


def test_the_loss_fades_row_by_row(vae, images):
    trainer = gan_trainer(vae, images, recon_fade=16 * 20, recon_fraction_final=0.0)
    num_rows = [len(make_batch(trainer, images, step).recon_rows) for step in range(22)]
    assert num_rows[0] == 8 and num_rows[10] == 4 and num_rows[18:] == [1, 1, 0, 0]
    assert num_rows == sorted(num_rows, reverse=True)
    logged = ["recon_feature_loss" in trainer.step(images[:16], step) for step in (18, 19, 20, 21)]
    assert logged == [True, True, False, False]
    to_two = gan_trainer(vae, images, recon_fade=16 * 20)
    assert [len(make_batch(to_two, images, step).recon_rows) for step in (0, 10, 20, 99)] == [8, 5, 2, 2]
    off = gan_trainer(vae, images, recon_fraction=0.0)  # does not rise
    assert not len(make_batch(off, images, 10**6).recon_rows)
    constant = gan_trainer(vae, images, recon_fade=0)
    assert len(make_batch(constant, images, 10**6).recon_rows) == 8


@pytest.mark.parametrize("options", [{"recon_weight": 0.0}, {"recon_fraction": 0.0}])
def test_without_the_loss_all_latents_are_samples_of_the_prior(vae, images, options):
    trainer = gan_trainer(vae, images, **options)
    batch = make_batch(trainer, images, 0)
    assert not len(batch.recon_rows) and torch.equal(trainer.objective.sample_latents(batch), batch.noise)


def test_from_scratch_there_is_no_reconstruction_loss(images):
    settings = GANSettings(preset="tiny", batch_size=16)
    trainer = GANTrainer(CONFIG, settings, CPU, None, train_val_images=(images, images[:8]))
    assert not len(make_batch(trainer, images, 0).recon_rows) and "val_psnr" not in trainer.validate()
    assert "recon_feature_loss" not in trainer.step(images[:16], 0)
