"""Encoded training faces hold a generator that comes from a VAE to what its encoder knows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaegan.config.model_config import ModelConfig
from vaegan.config.settings import GANSettings, VAESettings
from vaegan.data.dataset import open_dataset
from vaegan.training.gan_batch import evenly_spaced_mask
from vaegan.training.gan_trainer import GANTrainer
from vaegan.training.precision import DeviceContext
from vaegan.training.vae_trainer import VAETrainer

CPU = DeviceContext(torch.device("cpu"), "fp32")
CONFIG = ModelConfig(32, 3, 8, 8)


@pytest.fixture(scope="module")
def pictures(prepared):
    return open_dataset(prepared).load()[0]


@pytest.fixture(scope="module")
def vae(pictures):
    settings = VAESettings(preset="tiny", latent_dim=8, batch_size=16, lr=4e-3, lr_warmup=0)
    trainer = VAETrainer(CONFIG, settings, CPU, pictures, pictures[:0])
    for step in range(60):
        trainer.step(pictures[:32], step)
    return trainer.inference_model()


def trainer_of(vae, pictures, **options):
    settings = GANSettings(preset="tiny", d_warmup_steps=2, batch_size=16, **options)
    return GANTrainer(CONFIG, settings, CPU, vae, train_val_images=(pictures, pictures[:32]))


def test_anchored_faces_still_decode_to_themselves(vae, pictures):
    """In the discriminator's eyes, and so in pixels more than where nothing holds the generator."""
    drift = {}
    for anchor in (0.0, 100.0):
        trainer = trainer_of(vae, pictures, recon_weight=anchor, lr_g=2e-3)
        drift[anchor] = [trainer.validate()["val_psnr"]]
        for step in range(40):
            metrics = trainer.step(pictures[:32], step)
        assert ("recon_weight" in metrics) == (anchor > 0)
        drift[anchor].append(trainer.validate()["val_psnr"])
    assert drift[0.0][0] == drift[100.0][0]
    assert drift[100.0][1] > drift[0.0][1] + 0.5


def test_anchored_rows_are_posterior_samples_of_the_pictures_beside_them(vae, pictures):
    trainer = trainer_of(vae, pictures, recon_fraction=0.25, augment="color,translation,cutout", mirror=False)
    drawn = trainer._make_batch(pictures[:16], 0)
    assert drawn.recon_rows.tolist() == [3, 7, 11, 15]
    part = drawn.select_rows(slice(6, 13))
    assert part.recon_rows.tolist() == [1, 5]
    latents, posterior = trainer._sample_latents(part), trainer.encoder(part.real)
    wanted = posterior.sample(part.noise)
    for row in range(7):
        torch.testing.assert_close(latents[row], wanted[row] if row in (1, 5) else part.noise[row])
    # both of a pair are augmented alike, so that their features can be compared
    same = trainer._augment(part.real, part.augment_rand)
    alike = [bool(torch.equal(same[row], part.real_aug[row])) for row in range(7)]
    assert alike == [row in (1, 5) for row in range(7)]


def test_a_small_share_anchors_one_row(vae, pictures):
    assert trainer_of(vae, pictures, recon_fraction=0.01)._make_batch(pictures[:16], 0).recon_rows.tolist() == [15]


@pytest.mark.parametrize("options", [{"recon_weight": 0.0}, {"recon_fraction": 0.0}])
def test_without_an_anchor_all_latents_are_drawn(vae, pictures, options):
    trainer = trainer_of(vae, pictures, **options)
    drawn = trainer._make_batch(pictures[:16], 0)
    assert not len(drawn.recon_rows) and torch.equal(trainer._sample_latents(drawn), drawn.noise)


def test_from_scratch_there_is_nothing_to_anchor_to(pictures):
    trainer = GANTrainer(
        CONFIG, GANSettings(preset="tiny", batch_size=16), CPU, None, train_val_images=(pictures, pictures[:8])
    )
    assert not len(trainer._make_batch(pictures[:16], 0).recon_rows) and "val_psnr" not in trainer.validate()
    assert "recon_weight" not in trainer.step(pictures[:16], 0)


@given(st.floats(0, 1), st.integers(1, 300), st.data())
def test_anchored_rows_are_spread_evenly(share, count, data):
    """Micro-batches and ranks take stretches: each has its share, to one row."""
    rows = evenly_spaced_mask(share, count)
    assert len(rows) == count
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    assert abs(int(rows[start:stop].sum()) - share * (stop - start)) < 1 + 1e-3
