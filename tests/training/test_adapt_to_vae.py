"""The learning rate of the generator and gamma follow how well the VAE reconstructs, unless they are given."""

import re
from pathlib import Path

import pytest
import torch

from vaegan import train_gan
from vaegan.checkpoint import read_weights_info
from vaegan.config.settings import GAMMA, GAMMA_FINE_VAE, LR_G, LR_G_ROUGH_VAE, GANSettings
from vaegan.errors import VaeganError
from vaegan.metrics.image_quality import psnr, psnr_of_error
from vaegan.training.gan_trainer import FINE_RECON_ERROR, ROUGH_RECON_ERROR, GANTrainer, rough_fraction
from vaegan.training.precision import DeviceContext
from vaegan.training.start import load_vae

CPU = DeviceContext(torch.device("cpu"), "fp32")


@pytest.fixture
def make_trainer(vae_run):
    """Return a function: level of gray images -> a trainer from a VAE that draws gray images of level 127.5."""

    def make(level, **options):
        vae = load_vae(read_weights_info(vae_run))
        with torch.no_grad():
            for parameter in vae.decoder.parameters():
                parameter.zero_()
        images = torch.full((32, 3, 32, 32), level, dtype=torch.uint8)
        settings = GANSettings(preset="tiny", batch_size=16, **options)
        return GANTrainer(vae.config, settings, CPU, vae, train_val_images=(images, images[:8])), images

    return make


@pytest.mark.parametrize(("error", "expected"), [(0, 0), (0.01, 0), (0.0125, 0.25), (0.02, 1), (3, 1)])
def test_the_fraction_is_linear_between_two_errors(error, expected):
    assert rough_fraction(error) == pytest.approx(expected)


def test_an_error_has_its_psnr():
    images = torch.zeros(2, 3, 8, 8)
    assert float(psnr_of_error(torch.tensor(0.1**2))) == pytest.approx(float(psnr(images, images + 0.1)[0]), abs=1e-3)
    assert float(psnr_of_error(torch.tensor(0.0))) == pytest.approx(106, abs=0.1)


def test_a_rough_vae_gets_a_faster_generator_and_a_fine_one_a_stronger_discriminator(make_trainer):
    rough, fine, between = (make_trainer(level)[0] for level in (0, 127, 112))
    assert (rough.lr_g, rough.gamma) == (LR_G_ROUGH_VAE, GAMMA)
    assert (fine.lr_g, fine.gamma) == (LR_G, GAMMA_FINE_VAE)
    fraction = (((127.5 - 112) / 127.5) ** 2 - FINE_RECON_ERROR) / (ROUGH_RECON_ERROR - FINE_RECON_ERROR)
    assert between.lr_g == pytest.approx(LR_G + fraction * (LR_G_ROUGH_VAE - LR_G), rel=1e-3)
    assert between.gamma == pytest.approx(GAMMA_FINE_VAE + fraction * (GAMMA - GAMMA_FINE_VAE), rel=1e-3)


def test_the_values_take_effect(make_trainer):
    trainer, images = make_trainer(112, d_warmup_steps=0, lr_decay_start=16)
    trainer.step(images[:16], 3)  # 64 images: the rate is a half
    assert trainer.optimizer_g.param_groups[0]["lr"] == pytest.approx(trainer.lr_g / 2)
    assert trainer._current_gamma(0) == trainer._current_gamma(10**6) == trainer.gamma


def test_given_values_stay(make_trainer):
    for level in (0, 127):
        trainer, _ = make_trainer(level, lr_g=3e-4, gamma=0.0)
        assert (trainer.lr_g, trainer.gamma) == (3e-4, 0.0)


def test_from_scratch_and_from_a_gan_the_values_are_the_plain_defaults(make_trainer, prepared, gan_run, tmp_path):
    config = make_trainer(0)[0].model_config
    scratch = GANTrainer(config, GANSettings(preset="tiny", batch_size=16), CPU, None)
    assert (scratch.lr_g, scratch.gamma) == (LR_G, GAMMA)
    told = []
    options = {"steps": 2, "on_event": told.append, "device": "cpu", "evaluate_every": 0}
    train_gan(prepared, tmp_path / "from-gan", from_gan=gan_run, **options)
    assert not any("reconstructions have" in getattr(event, "text", "") for event in told)


def test_a_resumed_run_keeps_them_without_the_vae(make_trainer):
    trainer, _ = make_trainer(112)
    resumed = GANTrainer(trainer.model_config, trainer.settings, CPU, None)
    resumed.load_state_dict(trainer.state_dict(), Path("checkpoint"))
    assert resumed.adapted() == trainer.adapted()
    for name in ("lr_g", "gamma", "d_recon_weight"):
        damaged = {key: value for key, value in trainer.state_dict().items() if key != f"adapted.{name}"}
        with pytest.raises(VaeganError, match=rf"checkpoint is damaged: 'adapted\.{name}' is missing"):
            resumed.load_state_dict(damaged, Path("checkpoint"))


def test_a_run_says_what_it_chose(prepared, vae_run, tmp_path):
    told = []
    options = {"steps": 2, "on_event": told.append, "device": "cpu", "evaluate_every": 0}
    train_gan(prepared, tmp_path / "run", from_vae=vae_run, gamma=0.5, **options)
    text = "\n".join(getattr(event, "text", "") for event in told)
    assert re.search(
        r"The VAE's reconstructions have \d+\.\d dB: --lr-g 0\.0008, --gamma 0\.5, --d-recon-weight 5", text
    )
